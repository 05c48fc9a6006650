/**
 * The source as receiver of changes from the target: rows are staged in temporary tables of the connection, which need
 * no lock, and then applied by SQL alone in one short write transaction.
 */
import { randomBytes } from 'node:crypto';
import type Database from 'better-sqlite3';
import type { TablePlan } from '../../contract.ts';
import { CrossfadeError, driverCode, messageOf } from '../../errors.ts';
import { quoted } from '../identifiers.ts';
import { RowStatement } from './bind.ts';
import { numberingOf, Renumbered } from './numbering.ts';
import { canonicalJsonSql } from './encode.ts';
import { rowidOf } from './rowid.ts';
import { keyText, type KeyValue } from '../key.ts';
import { CONTROL_TABLE, holdLease, type Lease, type SourceLeaseRole } from './control.ts';
import { originOf, type StagedTable } from './origin.ts';
import { writeTransaction } from './transaction.ts';

/** Names of batches that came back from the target, null before the first. */
export interface BatchTokens {
  last: string | null;
  /** The last that the target is known to have noted. */
  before: string | null;
}

/** The batches that this file has; null where its control table has no row. */
export function batchTokens(db: Database.Database): BatchTokens | null {
  const row = db
    .prepare(`SELECT reverse_token AS last, reverse_before AS before FROM ${CONTROL_TABLE} WHERE id = 1`)
    .get() as BatchTokens | undefined;
  return row ?? null;
}

/** Does the source have exactly the batches that the target noted, or one more, whose note was lost or is on its way? */
export function continues(source: BatchTokens | null, noted: string | null): boolean {
  return source !== null && (source.last === noted || source.before === noted);
}

/** Makes the file one that continues nothing, so that all of it is compared. Runs in the caller's write transaction. */
export function forgetBatches(db: Database.Database): void {
  const name = `none ${randomBytes(8).toString('hex')}`;
  db.prepare(`UPDATE ${CONTROL_TABLE} SET reverse_token = ?, reverse_before = ? WHERE id = 1`).run(
    name,
    name,
  );
}

/** A row that SQLite refused. */
export interface Refused {
  tableId: number;
  key: string;
  reason: string;
}

export class Receiver {
  private readonly db: Database.Database;
  /** Tables staged since the last apply; `all`: every row of the table is replaced. */
  private readonly staged = new Map<number, { table: TablePlan; all: boolean }>();

  constructor(db: Database.Database) {
    this.db = db;
    // The applier's rows were checked by the primary; actions here would change rows that it did not change.
    db.pragma('foreign_keys = OFF');
  }

  /** Stages keys whose rows are to be replaced by the rows staged for them. */
  stageKeys(table: TablePlan, keys: KeyValue[][]): void {
    this.prepare(table);
    const insert = this.insertInto(keysName(table));
    for (const key of keys) insert.run(key);
  }

  /** Stages that every row of the table is to be replaced. */
  stageAll(table: TablePlan): void {
    this.prepare(table);
    this.staged.set(table.id, { table, all: true });
  }

  /** A row that is staged twice, because two spellings of its key were logged (1.0 and 1.00), counts once. */
  stageRows(table: TablePlan, rows: KeyValue[][]): void {
    this.prepare(table);
    const insert = this.insertInto(rowsName(table));
    for (const row of rows) insert.run(row);
  }

  private insertInto(name: string): RowStatement {
    return new RowStatement(
      this.db,
      (marks) => `INSERT OR IGNORE INTO temp.${name} VALUES (${marks.join(', ')})`,
    );
  }

  clear(): void {
    for (const { table } of this.staged.values()) {
      this.db.exec(`DELETE FROM temp.${keysName(table)}; DELETE FROM temp.${rowsName(table)}`);
    }
    this.staged.clear();
  }

  /**
   * Applies what is staged in one write transaction, proving lease and state in it; the fence lets it pass because the
   * control row says so within this transaction only.
   * @param tokens the names of this batch and of the one that the target noted last
   * @returns rows that SQLite refused, which are left out
   * @param numbering what the staged row numbers of tables without a key mean
   * @throws CrossfadeError LeaseLost, SourceBusy; Renumbered where a VACUUM came between
   */
  async apply(
    lease: Lease<SourceLeaseRole>,
    tokens: BatchTokens,
    numbering: bigint | null,
  ): Promise<Refused[]> {
    const refused: Refused[] = [];
    const origin = originOf(this.db.name);
    const work = (): void => {
      refused.length = 0;
      holdLease(this.db, lease);
      if (numberingOf(this.db) !== numbering) throw new Renumbered(this.db.name);
      const toggled = this.db
        .prepare(`UPDATE ${CONTROL_TABLE} SET applying = 1 WHERE id = 1 AND state = 'moved' AND epoch = ?`)
        .run(lease.epoch);
      if (toggled.changes !== 1) {
        throw new CrossfadeError(
          'LeaseLost',
          `source ${this.db.name} is not secondary in epoch ${lease.epoch} any more`,
        );
      }
      for (const { table } of this.staged.values()) this.keepJsonTexts(table);
      if (origin === undefined) this.put(refused);
      else origin.putRows(this.db, this.stagedTables(), () => this.put(refused));
      this.db
        .prepare(
          `UPDATE ${CONTROL_TABLE} SET applying = 0, reverse_token = ?, reverse_before = ? WHERE id = 1`,
        )
        .run(tokens.last, tokens.before);
    };
    await (origin === undefined ? writeTransaction(this.db, work) : origin.change(this.db, work, true));
    this.clear();
    return refused;
  }

  private stagedTables(): StagedTable[] {
    return [...this.staged.values()].map(({ table, all }) => ({
      table,
      all,
      keys: `temp.${keysName(table)}`,
      rows: `temp.${rowsName(table)}`,
    }));
  }

  /** @returns row numbers of the staged rows that were refused */
  private put(refused: Refused[]): Map<TablePlan, Set<bigint>> {
    // All deletions first: unique values may have moved between rows.
    for (const { table, all } of this.staged.values()) this.db.exec(deleteSql(table, all));
    return new Map([...this.staged.values()].map(({ table }) => [table, this.insert(table, refused)]));
  }

  /** Of a jsonb value that did not change, the source keeps its own text: jsonb does not know how it was written. */
  private keepJsonTexts(table: TablePlan): void {
    const sameKey = table.key.map((name) => `m.${quoted(name)} = s.${quoted(name)}`).join(' AND ');
    for (const { name, kind } of table.columns) {
      if (kind !== 'jsonb') continue;
      const column = quoted(name);
      this.db.exec(
        `UPDATE temp.${rowsName(table)} AS s SET ${column} = m.${column} FROM main.${quoted(table.name)} AS m
           WHERE ${sameKey} AND ${canonicalJsonSql(`m.${column}`)} = ${canonicalJsonSql(`s.${column}`)}`,
      );
    }
  }

  private insert(table: TablePlan, refused: Refused[]): Set<bigint> {
    const numbers = new Set<bigint>();
    const columns = table.columns.map((column) => quoted(column.name)).join(', ');
    // OR ABORT, because a clause in the schema (UNIQUE ON CONFLICT REPLACE) would delete or drop rows silently.
    const sql = `INSERT OR ABORT INTO main.${quoted(table.name)} (${columns}) SELECT * FROM temp.${rowsName(table)}`;
    try {
      this.db.exec(sql);
      return numbers;
    } catch (error) {
      if (!driverCode(error).startsWith('SQLITE_CONSTRAINT')) throw error;
    }
    // ABORT has undone that statement alone: row by row, what is refused is set aside.
    const number = rowidOf(table);
    const one = this.db.prepare(`${sql} WHERE ${number} = ?`);
    const staged = this.db
      .prepare(
        `SELECT ${number}, ${table.key.map(quoted).join(', ')} FROM temp.${rowsName(table)} ORDER BY ${number}`,
      )
      .safeIntegers()
      .raw()
      .all() as KeyValue[][];
    for (const [rowid, ...key] of staged) {
      try {
        one.run(rowid);
      } catch (error) {
        if (!driverCode(error).startsWith('SQLITE_CONSTRAINT')) throw error;
        refused.push({ tableId: table.id, key: keyText(key), reason: messageOf(error) });
        numbers.add(rowid as bigint);
      }
    }
    return numbers;
  }

  private prepare(table: TablePlan): void {
    if (this.staged.has(table.id)) return;
    const keys = table.key.map(quoted).join(', ');
    // Columns without a type keep each value's storage class.
    this.db.exec(
      `CREATE TEMP TABLE IF NOT EXISTS ${keysName(table)} (${keys}, UNIQUE (${keys}));
       CREATE TEMP TABLE IF NOT EXISTS ${rowsName(table)} (
         ${table.columns.map((column) => quoted(column.name)).join(', ')}, UNIQUE (${keys}))`,
    );
    this.staged.set(table.id, { table, all: false });
  }
}

function keysName(table: TablePlan): string {
  return quoted(`crossfade_keys_${table.id}`);
}

function rowsName(table: TablePlan): string {
  return quoted(`crossfade_rows_${table.id}`);
}

function deleteSql(table: TablePlan, all: boolean): string {
  const main = `main.${quoted(table.name)}`;
  if (all) return `DELETE FROM ${main}`;
  const keys = table.key.map(quoted).join(', ');
  const tuple = table.key.length === 1 ? keys : `(${keys})`;
  return `DELETE FROM ${main} WHERE ${tuple} IN (SELECT ${keys} FROM temp.${keysName(table)})`;
}
