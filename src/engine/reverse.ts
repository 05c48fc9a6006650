/**
 * Reverse replication: after the cutover every change on the target goes back into the source, so that a way back
 * without loss exists. PostgreSQL commits in no order that numbers tell, so the log is consumed by deleting exactly
 * what was applied, never by a high-water mark.
 */
import { randomBytes } from 'node:crypto';
import type pg from 'pg';
import type Database from 'better-sqlite3';
import type { Plan, TablePlan } from '../contract.ts';
import { keysAsRows, keyText, type KeyValue } from '../databases/key.ts';
import { connectTarget } from '../databases/postgres/connection.ts';
import { loggedKey, sqliteValue } from '../databases/postgres/copy-text.ts';
import { sameKeyAs, targetColumns, targetTable } from '../databases/postgres/names.ts';
import {
  applicationName,
  holdLeaseSql,
  leaseError,
  takeLease as takeTargetLease,
  type TargetLease,
} from '../databases/postgres/lease.ts';
import { openSource } from '../databases/sqlite/connection.ts';
import { installFence, unfencedTables } from '../databases/sqlite/fence.ts';
import { holdLease, takeLease } from '../databases/sqlite/control.ts';
import {
  batchTokens,
  continues,
  forgetBatches,
  Receiver,
  type Refused,
} from '../databases/sqlite/receive.ts';
import { writeTransaction } from '../databases/sqlite/transaction.ts';
import type { Endpoints } from './endpoints.ts';
import { quarantineFigures, type QuarantineFigures } from './quarantine.ts';
import type { SourceLease } from './source-control.ts';
import { namedNumbering } from './renumbered.ts';
import { readCopied, readPlan, tablesById } from './store.ts';
import { mendCapture } from './target-watch.ts';

const ROWS_PER_FETCH = 2_000;
/** A step that took no longer leaves so little behind that a pause can wait for it. */
const SHORT_STEP_MS = 250;
/** Steps that get shorter have a backlog before them. */
const SHORTER = 0.8;

/** What a snapshot of the reverse log asks for. */
interface LogSnapshot {
  /** Every log row of the snapshot, to be deleted once it is applied. */
  sequences: string[];
  /** Distinct keys per table as the target's texts; `all` after a TRUNCATE. */
  tables: Map<number, { keys: string[][]; all: boolean }>;
  /** The last batch that the target noted, and whether it has rows in quarantine. */
  noted: string | null;
  quarantined: boolean;
  /** The source's numbering of rows without a key, which the staged ones are meant for. */
  numbering: bigint | null;
}

export class ReverseReplayer {
  readonly plan: Plan;
  readonly db: Database.Database;
  readonly client: pg.Client;
  /** Log rows consumed since this replayer began. */
  applied = 0;

  /** In the source, for what is applied; and in the target, for what is consumed. */
  readonly lease: SourceLease;
  readonly targetLease: TargetLease;
  private readonly receiver: Receiver;
  private readonly tables: Map<number, TablePlan>;
  /** The source's schema version for which its fence is known to be whole. */
  private fencedAt: unknown;

  private constructor(
    db: Database.Database,
    client: pg.Client,
    plan: Plan,
    leases: { source: SourceLease; target: TargetLease },
  ) {
    this.db = db;
    this.client = client;
    this.plan = plan;
    this.lease = leases.source;
    this.targetLease = leases.target;
    this.receiver = new Receiver(db);
    this.tables = tablesById(plan);
  }

  /** Opens both databases and takes the source's `reverse` and the target's `replay` lease. The caller closes it. */
  static async open(endpoints: Endpoints, lease: SourceLease): Promise<ReverseReplayer> {
    const db = openSource(endpoints.sourcePath, 'write');
    try {
      await writeTransaction(db, () => takeLease(db, lease));
      const target: TargetLease = { ...lease, role: 'replay' };
      const client = await connectTarget(endpoints.targetUrl, { applicationName: applicationName(target) });
      try {
        await takeTargetLease(client, target);
        return new ReverseReplayer(db, client, await readPlan(client), { source: lease, target });
      } catch (error) {
        await client.end().catch(() => undefined);
        throw error;
      }
    } catch (error) {
      db.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    this.db.close();
    await this.client.end().catch(() => undefined);
  }

  /**
   * Applies everything that one snapshot of the log names: a part of it could hold two rows with one unique value.
   * @returns log rows consumed, 0 where the source has everything
   */
  async step(): Promise<number> {
    const snapshot = await this.readSnapshot();
    if (snapshot === null) return 0;
    const token = randomBytes(8).toString('hex');
    const refused = await this.receiver.apply(
      this.lease,
      { last: token, before: snapshot.noted },
      snapshot.numbering,
    );
    await this.consume(snapshot, refused, token);
    this.applied += snapshot.sequences.length;
    return Math.max(1, snapshot.sequences.length);
  }

  /**
   * Applies until a step is short, or as short as steps get: while the target takes writes there may always be one more, and
   * a source that is reached by requests takes its time for each, however little there is.
   * @param longestMs that a step may take of those that do not get shorter
   * @returns false where it does not come so far until `giveUpAt`, by performance.now()
   */
  async catchUp(giveUpAt: number, longestMs: number): Promise<boolean> {
    for (let before = Number.POSITIVE_INFINITY; ;) {
      const started = performance.now();
      const applied = await this.step();
      const now = performance.now();
      const ms = now - started;
      if (applied === 0 || ms < SHORT_STEP_MS) return true;
      if (ms <= longestMs && ms >= before * SHORTER) return true;
      if (now > giveUpAt) return false;
      before = ms;
    }
  }

  /** Rows that the source refuses; each of them stands against the way back. */
  refused(): Promise<QuarantineFigures> {
    return quarantineFigures(this.client, this.plan.tables);
  }

  /** Has tables compared in full that lost their capture, or their fence. @returns the names of the former */
  async mend(): Promise<string[]> {
    await this.mendFence();
    return mendCapture(this.client, this.targetLease, this.plan);
  }

  /**
   * DDL cannot be fenced: a table that was rebuilt on the source takes writes, although it is not primary. It is
   * fenced again, and a batch that neither side knows has everything compared.
   */
  private async mendFence(): Promise<void> {
    const version = this.db.pragma('schema_version', { simple: true });
    if (version === this.fencedAt) return;
    if (unfencedTables(this.db, this.plan.tables).length > 0) {
      await writeTransaction(this.db, () => {
        holdLease(this.db, this.lease);
        installFence(this.db, unfencedTables(this.db, this.plan.tables));
        forgetBatches(this.db);
      });
    }
    this.fencedAt = this.db.pragma('schema_version', { simple: true });
  }

  /** Changes not yet applied, and the age of the oldest in ms is not known to the log; this is their number. */
  async backlog(): Promise<number> {
    const { rows } = await this.client.query<{ n: string }>('SELECT count(*) AS n FROM crossfade.log');
    return Number(rows[0]?.n ?? 0);
  }

  /** Reads log and rows on one snapshot and stages them. */
  private async readSnapshot(): Promise<LogSnapshot | null> {
    const { client } = this;
    const numbering = await namedNumbering(this.db, this.db.name);
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    try {
      const notes = await client.query<{ noted: string | null; quarantined: boolean }>(
        `SELECT reverse_token AS noted, EXISTS (SELECT 1 FROM crossfade.quarantine) AS quarantined
           FROM crossfade.checkpoint WHERE id = 1`,
      );
      const { noted, quarantined } = notes.rows[0] ?? { noted: null, quarantined: false };
      const { rows } = await client.query<[string, number, string[] | null]>({
        text: 'SELECT seq::text, table_id, key FROM crossfade.log ORDER BY seq',
        rowMode: 'array',
      });
      const trusted = continues(batchTokens(this.db), noted);
      if (rows.length === 0 && trusted) return null;
      const snapshot: LogSnapshot = { ...collect(rows), noted, quarantined, numbering };
      if (!trusted) {
        // One of the two was restored, or failed over: nothing of what it seems to have can be relied on.
        for (const id of this.tables.keys()) snapshot.tables.set(id, { keys: [], all: true });
      }
      if (numbering !== null) await this.stageRenumbered(snapshot);
      this.receiver.clear();
      for (const [id, changed] of snapshot.tables) {
        const table = this.tables.get(id);
        if (table !== undefined) await this.stage(table, changed);
      }
      return snapshot;
    } finally {
      await client.query('COMMIT').catch(() => undefined);
    }
  }

  /** Where a VACUUM has numbered the source's rows anew, the changed tables without a key go back whole. */
  private async stageRenumbered(snapshot: LogSnapshot): Promise<void> {
    const copied = await readCopied(this.client);
    for (const [id, changed] of snapshot.tables) {
      const renumbered = copied.get(id)?.numbering !== snapshot.numbering;
      if (this.tables.get(id)?.rowNumbered && renumbered) changed.all = true;
    }
  }

  private async stage(table: TablePlan, changed: { keys: string[][]; all: boolean }): Promise<void> {
    if (changed.all) {
      this.receiver.stageAll(table);
      await this.stageWholeTable(table);
      return;
    }
    const columns = textColumns(table);
    for (let i = 0; i < changed.keys.length; i += ROWS_PER_FETCH) {
      const keys = changed.keys.slice(i, i + ROWS_PER_FETCH);
      this.receiver.stageKeys(
        table,
        keys.map((key) => loggedKey(table, key)),
      );
      const { rows } = await this.client.query<(string | null)[]>({
        text: `SELECT ${columns} FROM ${keysAsRows(table, keys)} JOIN ${targetTable(table)} t ON ${sameKeyAs(table)}`,
        rowMode: 'array',
      });
      this.receiver.stageRows(
        table,
        rows.map((row) => sourceRow(table, row)),
      );
    }
  }

  private async stageWholeTable(table: TablePlan): Promise<void> {
    await this.client.query(
      `DECLARE crossfade_table NO SCROLL CURSOR FOR SELECT ${textColumns(table)} FROM ${targetTable(table)} t`,
    );
    for (;;) {
      const { rows } = await this.client.query<(string | null)[]>({
        text: `FETCH ${ROWS_PER_FETCH} FROM crossfade_table`,
        rowMode: 'array',
      });
      if (rows.length === 0) break;
      this.receiver.stageRows(
        table,
        rows.map((row) => sourceRow(table, row)),
      );
    }
    await this.client.query('CLOSE crossfade_table');
  }

  /** Deletes exactly what was applied. A crash before this repeats the batch, which is idempotent. */
  private async consume(snapshot: LogSnapshot, refused: Refused[], token: string): Promise<void> {
    const { client } = this;
    await client.query('BEGIN');
    try {
      if (snapshot.quarantined) await this.heal(snapshot);
      for (const row of refused) {
        await client.query(
          `INSERT INTO crossfade.quarantine (table_id, key, reason) VALUES ($1, $2, $3)
             ON CONFLICT (table_id, key) DO UPDATE SET reason = excluded.reason, at = now()`,
          [row.tableId, row.key, row.reason],
        );
      }
      await client.query('DELETE FROM crossfade.log WHERE seq = ANY($1::bigint[])', [snapshot.sequences]);
      await client.query('UPDATE crossfade.checkpoint SET reverse_token = $1 WHERE id = 1', [token]);
      const whole = [...snapshot.tables].filter(([id, { all }]) => all && this.tables.get(id)?.rowNumbered);
      await client.query('UPDATE crossfade.copied SET numbering = $1 WHERE table_id = ANY($2::int[])', [
        snapshot.numbering,
        whole.map(([id]) => id),
      ]);
      await client.query(holdLeaseSql(this.targetLease));
      await client.query('COMMIT');
    } catch (error) {
      await client.query('ROLLBACK').catch(() => undefined);
      throw leaseError(error);
    }
  }

  /** Keys of the batch leave the quarantine; those that are refused again come back. */
  private async heal(snapshot: LogSnapshot): Promise<void> {
    for (const [id, changed] of snapshot.tables) {
      const table = this.tables.get(id);
      if (table === undefined) continue;
      const keys = changed.all ? null : changed.keys.map((key) => keyText(loggedKey(table, key)));
      await this.client.query(
        'DELETE FROM crossfade.quarantine WHERE table_id = $1 AND ($2::text[] IS NULL OR key = ANY($2::text[]))',
        [id, keys],
      );
    }
  }
}

function collect(rows: [string, number, string[] | null][]): Pick<LogSnapshot, 'sequences' | 'tables'> {
  const snapshot: Pick<LogSnapshot, 'sequences' | 'tables'> = { sequences: [], tables: new Map() };
  const seen = new Set<string>();
  for (const [sequence, tableId, key] of rows) {
    snapshot.sequences.push(sequence);
    const changed = snapshot.tables.get(tableId) ?? { keys: [], all: false };
    snapshot.tables.set(tableId, changed);
    if (key === null) {
      changed.all = true;
      continue;
    }
    const name = `${tableId} ${JSON.stringify(key)}`;
    if (seen.has(name)) continue;
    seen.add(name);
    changed.keys.push(key);
  }
  return snapshot;
}

/** The columns of the row `t`, each as PostgreSQL's text. */
function textColumns(table: TablePlan): string {
  return targetColumns(table, 't')
    .map((name) => `${name}::text`)
    .join(', ');
}

function sourceRow(table: TablePlan, row: (string | null)[]): KeyValue[] {
  return row.map((text, i) => (text === null ? null : sqliteValue(text, table.columns[i]!)));
}
