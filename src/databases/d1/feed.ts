/** Brings a mirror up to date: control rows, schema, the change log, and the rows that the log names. */
import { quoted } from '../identifiers.ts';
import type { KeyValue } from '../key.ts';
import { RowStatement } from '../sqlite/bind.ts';
import {
  BATCH_TABLE,
  CONTROL_TABLE,
  LEASE_TABLE,
  LOG_TABLE,
  NOW_MS,
  SUSPENDED_TABLE,
} from '../sqlite/control.ts';
import { NUMBERING_TABLE } from '../sqlite/numbering.ts';
import { readSchema, type SourceTable } from '../sqlite/schema.ts';
import { Backlog, type Change, type LogPart } from './backlog.ts';
import { cellSql, cellValue, Unfetched } from './cells.ts';
import { capturedTables, type CapturedTable } from './captured.ts';
import {
  BATCH_SQL,
  CONTROL_SQL,
  DIGEST_SQL,
  isConflict,
  LEASE_SQL,
  linkOf,
  SCHEMA_SQL,
  TABLES_SQL,
  type OriginState,
} from './chain.ts';
import { D1Error, type Answer, type D1Client } from './client.ts';
import { Overtaken, type MirrorFile, type MirrorState } from './mirror-file.ts';
import { insertSql, fetchValue, TableRows } from './table-rows.ts';

const FEWEST_CHANGES = 100;
const MOST_CHANGES = 5_000;
/** Characters of a reply after which the next asks for fewer changes. */
const LARGE_REPLY = 4_000_000;

interface Poll {
  state: OriginState;
  digest: string;
  /** Of the log. */
  first: bigint | null;
  /** The token of the row at the mirror's position. */
  token: string | null;
  /** Tables that the log names after the mirror's position, by number. */
  changed: number[];
  sequences: string | null;
  suspended: string | null;
  numbering: string | null;
}

interface Part extends LogPart {
  /** Numbers of tables that the log names and that were not asked for. */
  others: number[];
  /** Sequence number of the last change. */
  end: bigint;
  /** Did the log end there in that snapshot? */
  ended: boolean;
}

interface KnownTable {
  captured: CapturedTable;
  rows: TableRows;
}

export class Feed {
  private readonly client: D1Client;
  private readonly mirror: MirrorFile;
  private limit = 500;
  /** What the last poll told besides changes. */
  private told = '';
  /** By the schema's text: reading it costs more than a poll. */
  private known: { schema: string; tables: Map<number, KnownTable> } | null = null;

  constructor(client: D1Client, mirror: MirrorFile) {
    this.client = client;
    this.mirror = mirror;
  }

  /**
   * Follows the origin until the mirror has everything that was there when this was called.
   * @param own name of a batch whose sender does to the mirror what the batch did: where it is the last one, only the state is told
   * @returns the origin's state, which the mirror's now is
   * @throws as `D1Client.read`
   */
  async sync(own?: string): Promise<OriginState> {
    // Not the end that the log has by then: under steady writes there is always one row more.
    let goal: bigint | null = null;
    for (;;) {
      try {
        const poll = await this.poll(own);
        if (poll === null) continue;
        if (own !== undefined && linkOf(poll.state.batch)?.name === own) return poll.state;
        const { head } = poll.state;
        goal ??= head;
        const behind = goal !== null && head !== null && this.mirror.position() < goal;
        if (!behind || this.mirror.state().filled === 0) return poll.state;
        await this.followLog(poll);
        if (this.mirror.position() >= goal!) return poll.state;
      } catch (error) {
        if (!(error instanceof Overtaken)) throw error;
      }
    }
  }

  /** One look at everything but rows. @returns null where the schema was another than the mirror's, which now has it */
  private async poll(own: string | undefined): Promise<Poll | null> {
    const before = this.mirror.state();
    const position = this.mirror.position();
    let poll: Poll;
    try {
      poll = await this.ask(before, position);
    } catch (error) {
      // A control table has gone.
      if (!(error instanceof D1Error) || !isConflict(error)) throw error;
      await this.readSchema(before);
      return null;
    }
    if (own !== undefined && linkOf(poll.state.batch)?.name === own) return poll;
    if (poll.state.tables !== before.tables || poll.digest !== before.digest) {
      await this.readSchema(before);
      return null;
    }
    if (position > 0n && poll.token !== this.mirror.token()) {
      // Sequence numbers recur after a restore and from one migration to the next, the random tokens do not.
      this.mirror.change(() => {
        this.mirror.prove(before, position);
        this.mirror.forget();
      });
      return null;
    }
    const told = JSON.stringify([
      poll.state.control,
      poll.state.lease,
      poll.state.batch,
      `${poll.first}`,
      poll.sequences,
    ]);
    // Every commit wakes those who follow the mirror.
    if (told === this.told && poll.state.control === before.control && poll.state.batch === before.batch)
      return poll;
    this.mirror.change(() => {
      this.mirror.prove(before, position);
      if (
        linkOf(poll.state.batch)?.rows !== linkOf(before.batch)?.rows &&
        before.batch !== null &&
        poll.state.batch !== null
      )
        this.mirror.set({ filled: 0, filler: null });
      this.mirror.setControl(poll.state);
      this.mirror.replaceRows(SUSPENDED_TABLE, ['name', 'sql'], poll.suspended);
      this.mirror.replaceRows(NUMBERING_TABLE, ['rowid'], poll.numbering);
      this.mirror.replaceRows('sqlite_sequence', ['name', 'seq'], poll.sequences);
      if (poll.first !== null && this.mirror.has(LOG_TABLE))
        this.mirror.db.prepare(`DELETE FROM ${LOG_TABLE} WHERE seq < ?`).run(poll.first);
    });
    this.told = told;
    return poll;
  }

  private async ask(before: MirrorState, position: bigint): Promise<Poll> {
    const tables = new Set(JSON.parse(before.tables) as string[]);
    const asked = (table: string, sql: string): string => (tables.has(table) ? sql : 'NULL');
    const statements = [
      `SELECT ${TABLES_SQL} AS tables, ${DIGEST_SQL} AS digest, ${asked(CONTROL_TABLE, CONTROL_SQL)} AS control, ` +
        `${asked(LEASE_TABLE, LEASE_SQL)} AS lease, ${asked(BATCH_TABLE, BATCH_SQL)} AS batch, ` +
        `${asked(LOG_TABLE, `(SELECT CAST(max(seq) AS TEXT) FROM ${LOG_TABLE})`)} AS head, ` +
        `${asked(LOG_TABLE, `(SELECT CAST(token AS TEXT) FROM ${LOG_TABLE} WHERE seq = ${position})`)} AS token, ` +
        `${asked(LOG_TABLE, `(SELECT CAST(min(seq) AS TEXT) FROM ${LOG_TABLE})`)} AS first, ` +
        `${asked(LOG_TABLE, `(SELECT json_group_array(t) FROM (SELECT DISTINCT t FROM ${LOG_TABLE} WHERE seq > ${position}))`)} AS changed, ` +
        `${asked(SUSPENDED_TABLE, `(SELECT json_group_array(json_array(name, sql)) FROM ${SUSPENDED_TABLE})`)} AS suspended, ` +
        `${asked(NUMBERING_TABLE, `(SELECT json_group_array(json_array(rowid)) FROM ${NUMBERING_TABLE})`)} AS numbering, ` +
        `${this.mirror.has('sqlite_sequence') ? '(SELECT json_group_array(json_array(name, seq)) FROM sqlite_sequence)' : 'NULL'} AS sequences, ` +
        `${NOW_MS} AS now`,
    ];
    const [answer] = await this.client.read(statements);
    const [
      all,
      digest,
      control,
      lease,
      batch,
      head,
      token,
      first,
      changed,
      suspended,
      numbering,
      sequences,
      now,
    ] = answer!.rows[0] as (string | null)[];
    return {
      state: {
        tables: all!,
        control,
        lease,
        batch,
        head: head === null ? null : BigInt(head!),
        now: Number(now),
      } as OriginState,
      digest: digest!,
      token: token!,
      first: first === null ? null : BigInt(first!),
      changed: changed === null ? [] : (JSON.parse(changed!) as number[]),
      sequences: sequences!,
      suspended: suspended!,
      numbering: numbering!,
    };
  }

  private async readSchema(before: MirrorState): Promise<void> {
    const [answer] = await this.client.read([
      `SELECT ${SCHEMA_SQL} AS "schema", ${DIGEST_SQL} AS digest, ${TABLES_SQL} AS tables`,
    ]);
    const [schema, digest, tables] = answer!.rows[0] as string[];
    this.mirror.change(() => {
      if (this.mirror.state().schema !== before.schema)
        throw new Overtaken('another process reads the schema');
      this.mirror.setSchema(schema!, digest!, tables!, this.client.name);
    });
  }

  /**
   * Takes over the log and the rows that it names. Rows are read as they are at that moment: where the log goes on after
   * what was read of it, they may have changes that it does not name yet. So the mirror is given nothing before the log was
   * read to its end, and everything in one transaction then.
   */
  private async followLog({ changed }: Poll): Promise<void> {
    const before = this.mirror.state();
    const start = this.mirror.position();
    const asked = new Set(changed);
    const backlog = new Backlog();
    try {
      for (let position = start, ended = false; !ended;) {
        const { others, end, ended: last, ...part } = await this.readPart(before.schema, asked, position);
        backlog.add(part);
        for (const id of others) asked.add(id);
        [position, ended] = [end, last];
      }
      this.mirror.change(() => {
        this.mirror.prove(before, start);
        // What a later part has of the same row is newer, and overwrites it.
        for (const part of backlog.parts()) this.take(part, before.schema);
      });
    } finally {
      backlog.close();
    }
  }

  private take({ changes, images }: LogPart, schema: string): void {
    this.insertLog(changes);
    const known = this.tables(schema);
    for (const [id, rows] of images) this.replaceRows(known.get(id)!, rows, changes);
  }

  /** A part of the log and the rows that it names, all of one snapshot. @param asked numbers of the tables whose rows to ask for */
  private async readPart(schema: string, asked: Set<number>, position: bigint): Promise<Part> {
    const known = this.tables(schema);
    const named = [...asked].flatMap((id) => known.get(id) ?? []);
    const images = named.map(({ captured, rows }) =>
      rows.statements(imageSql(captured, position, this.limit)),
    );
    const { limit } = this;
    const answers = await this.client.read([logSql(this.logWidth(), position, limit), ...images.flat()]);
    const changes = await this.changesOf(answers[0]!);
    // A table that came into the log since has no rows in the answer: its changes are taken next time.
    const isOther = ({ table }: Change): boolean => table !== 0 && !asked.has(table);
    const cut = changes.findIndex(isOther);
    const taken = cut === -1 ? changes : changes.slice(0, cut);
    const found: LogPart['images'] = [];
    let at = 1;
    for (const [i, { rows, captured }] of named.entries()) {
      const part = answers.slice(at, at + images[i]!.length);
      at += images[i]!.length;
      found.push([captured.id, await rows.rows(part)]);
    }
    this.adapt(answers, changes.length);
    return {
      changes: taken,
      images: found,
      others: changes.filter(isOther).map(({ table }) => table),
      end: taken.at(-1)?.seq ?? position,
      ended: cut === -1 && changes.length < limit,
    };
  }

  private adapt(answers: Answer[], changes: number): void {
    const size = answers.reduce((sum, { rows }) => sum + sizeOf(rows), 0);
    if (size > LARGE_REPLY) this.limit = Math.max(FEWEST_CHANGES, this.limit >> 1);
    else if (changes === this.limit) this.limit = Math.min(MOST_CHANGES, this.limit * 2);
  }

  private tables(schema: string): Map<number, KnownTable> {
    if (this.known?.schema === schema) return this.known.tables;
    const byName = new Map<string, SourceTable>(readSchema(this.mirror.db).tables.map((t) => [t.name, t]));
    const tables = new Map<number, KnownTable>();
    for (const captured of capturedTables(this.mirror.items())) {
      const table = byName.get(captured.name);
      if (table !== undefined) tables.set(captured.id, { captured, rows: new TableRows(this.client, table) });
    }
    this.known = { schema, tables };
    return tables;
  }

  /** Number of the log's key columns. */
  private logWidth(): number {
    return this.mirror.db
      .prepare(`SELECT count(*) FROM pragma_table_info('${LOG_TABLE}') WHERE name GLOB 'k[0-9]*'`)
      .pluck()
      .get() as number;
  }

  private async changesOf(answer: Answer): Promise<Change[]> {
    const changes: Change[] = [];
    for (const [seq, token, table, ...cells] of answer.rows) {
      const key: KeyValue[] = [];
      for (const [i, cell] of cells.entries()) {
        const value = cellValue(cell);
        const row = `FROM ${LOG_TABLE} l WHERE l.seq = ${seq}`;
        key.push(value instanceof Unfetched ? await fetchValue(this.client, `l.k${i}`, row) : value);
      }
      changes.push({ seq: BigInt(seq!), token: BigInt(token!), table: Number(table), key });
    }
    return changes;
  }

  private insertLog(changes: Change[]): void {
    const keys = Array.from({ length: this.logWidth() }, (_, i) => `, k${i}`).join('');
    const insert = new RowStatement(
      this.mirror.db,
      (marks) => `INSERT INTO ${LOG_TABLE} (seq, token, t${keys}) VALUES (${marks.join(', ')})`,
    );
    for (const { seq, token, table, key } of changes) insert.run([seq, token, BigInt(table), ...key]);
  }

  private replaceRows({ rows, captured }: KnownTable, images: KeyValue[][], changes: Change[]): void {
    const name = quoted(captured.name);
    const remove = new RowStatement(
      this.mirror.db,
      (marks) =>
        `DELETE FROM ${name} WHERE ${captured.key.map((column, i) => `${quoted(column)} IS ${marks[i]!}`).join(' AND ')}`,
    );
    for (const { table, key } of changes)
      if (table === captured.id) remove.run(key.slice(0, captured.key.length));
    const insert = new RowStatement(this.mirror.db, insertSql(rows));
    for (const row of images) insert.run(row);
  }
}

function logSql(width: number, position: bigint, limit: number): string {
  const keys = Array.from({ length: width }, (_, i) => `, ${cellSql(`l.k${i}`)} AS k${i}`).join('');
  return (
    `SELECT CAST(l.seq AS TEXT) AS seq, CAST(l.token AS TEXT) AS token, l.t${keys} ` +
    `FROM ${LOG_TABLE} l WHERE l.seq > ${position} ORDER BY l.seq LIMIT ${limit}`
  );
}

/** The rows that have a key which the log names, by the comparison of the columns, as the mirror deletes them. */
function imageSql({ id, name, key }: CapturedTable, position: bigint, limit: number): string {
  const keys = key.map((_, i) => `k${i}`).join(', ');
  const range = `SELECT * FROM ${LOG_TABLE} WHERE seq > ${position} ORDER BY seq LIMIT ${limit}`;
  return (
    `FROM (SELECT DISTINCT ${keys} FROM (${range}) WHERE t = ${id}) l CROSS JOIN ${quoted(name)} t ` +
    `WHERE ${key.map((column, i) => `t.${quoted(column)} IS l.k${i}`).join(' AND ')}`
  );
}

function sizeOf(rows: unknown[][]): number {
  let size = 0;
  for (const row of rows) for (const cell of row) size += typeof cell === 'string' ? cell.length : 8;
  return size;
}
