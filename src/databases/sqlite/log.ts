/** The change log in the source: its head, its anchor, the keys of a range, and its trimming. */
import type Database from 'better-sqlite3';
import type { TablePlan } from '../../contract.ts';
import { CrossfadeError } from '../../errors.ts';
import { quoted } from '../identifiers.ts';
import { mayBeInvalid, textOf } from '../invalid-text.ts';
import { keyText, type KeyValue } from '../key.ts';
import { RowStatement } from './bind.ts';
import { LOG_TABLE } from './control.ts';
import { misfitsSql, ROWS_AS_BUFFER, rowSql } from './encode.ts';

export interface LogHead {
  position: bigint;
  token: bigint;
}

/** The newest row of the log. @throws CrossfadeError LogDiscontinuity where the log is empty or gone */
export function logHead(db: Database.Database): LogHead {
  const row = db
    .prepare(`SELECT seq AS position, token FROM ${LOG_TABLE} ORDER BY seq DESC LIMIT 1`)
    .safeIntegers()
    .get() as LogHead | undefined;
  if (row === undefined) throw discontinuity(db, 'the change log is empty');
  return row;
}

/**
 * Proves that the log still holds the row at which the checkpoint stands: sequence numbers recur after a restore, the
 * random tokens do not. @throws CrossfadeError LogDiscontinuity, LogOverflow
 */
export function proveAnchor(db: Database.Database, anchor: LogHead): void {
  const token = db
    .prepare(`SELECT token FROM ${LOG_TABLE} WHERE seq = ?`)
    .safeIntegers()
    .pluck()
    .get(anchor.position);
  proveReach(db, anchor.position);
  if (token !== anchor.token)
    throw discontinuity(db, `its row ${anchor.position} is not the one that was applied`);
}

/**
 * Proves that the log still has every change after the position, which is never trimmed before it was applied and
 * verified. @throws CrossfadeError LogOverflow where the log's own cap has deleted some
 */
export function proveReach(db: Database.Database, position: bigint): void {
  if (reachesBack(db, position) || logHead(db).position <= position) return;
  throw new CrossfadeError(
    'LogOverflow',
    `source ${db.name}: the change log outgrew its cap before its row ${position} was replayed and verified, so changes ` +
      'are missing: roll back, keep a worker running, and start again, with a greater capture.maxLogRows if need be',
  );
}

function discontinuity(db: Database.Database, what: string): CrossfadeError {
  return new CrossfadeError(
    'LogDiscontinuity',
    `source ${db.name}: ${what}; the file was restored or replaced under the migration: roll back and start again`,
  );
}

/**
 * The distinct keys that a range of the log names, staged in a temporary table of this connection, by storage class
 * and bytes. Temporary tables live outside the source file and need no write lock.
 */
export class ChangedKeys {
  private readonly db: Database.Database;
  private readonly width: number;
  /** By table: the query is long, and asked again for every batch. */
  private readonly rowStatements = new Map<TablePlan, Database.Statement>();

  /** @param width number of key columns of the log */
  constructor(db: Database.Database, width: number) {
    this.db = db;
    this.width = width;
    const keys = this.columns();
    // NULLs would all be different, and a table whose key is shorter than the widest leaves columns NULL.
    const terms = keys.map((key) => `ifnull(${key}, 0)`).join(', ');
    db.exec(`CREATE TEMP TABLE IF NOT EXISTS changed (t INTEGER, ${keys.join(', ')}, classes TEXT);
      CREATE UNIQUE INDEX IF NOT EXISTS temp.changed_key ON changed (t, ${terms}, classes)`);
  }

  private columns(): string[] {
    return Array.from({ length: this.width }, (_, i) => `k${i}`);
  }

  /** Stages the keys of the tables in (from, to]; replaces what was staged. @returns their number */
  stage(from: bigint, to: bigint, tables: number[]): number {
    const keys = this.columns();
    const classes = keys.map((key) => `typeof(${key})`).join(' || ');
    this.db.exec('DELETE FROM temp.changed');
    return this.db
      .prepare(
        `INSERT OR IGNORE INTO temp.changed (t, ${keys.join(', ')}, classes)
         SELECT t, ${keys.join(', ')}, ${classes} FROM ${LOG_TABLE}
          WHERE seq > ? AND seq <= ? AND t IN (${tables.map(() => '?').join(', ')})`,
      )
      .run(from, to, ...tables).changes;
  }

  /** Stages the given keys of one table; replaces what was staged. */
  stageKeys(table: TablePlan, keys: KeyValue[][]): void {
    this.db.exec('DELETE FROM temp.changed');
    const columns = table.key.map((_, i) => `k${i}`);
    const insert = new RowStatement(
      this.db,
      (marks) =>
        `INSERT OR IGNORE INTO temp.changed (t, ${columns.join(', ')}, classes)
         SELECT ${table.id}, ${columns.join(', ')}, ${columns.map((column) => `typeof(${column})`).join(' || ')}
           FROM (SELECT ${columns.map((column, i) => `${marks[i]!} AS ${column}`).join(', ')})`,
    );
    for (const key of keys) insert.run(key);
  }

  /** Of the staged keys of the table, as `keyText`, those that the log names after the position. */
  touchedAfter(table: TablePlan, position: bigint): Set<string> {
    if (!hasLog(this.db)) return new Set();
    const same = this.columns().map((key) => `ifnull(c.${key}, 0) = ifnull(l.${key}, 0)`);
    const classes = table.key.map((_, i) => `typeof(l.k${i})`).join(' || ');
    const numbers = this.db
      .prepare(
        `SELECT DISTINCT c.rowid FROM ${LOG_TABLE} l CROSS JOIN temp.changed c
          WHERE l.seq > ? AND l.t = ? AND c.t = l.t AND ${same.join(' AND ')} AND c.classes = ${classes}`,
      )
      .pluck()
      .all(position, table.id) as number[];
    if (numbers.length === 0) return new Set();
    const touched = new Set(numbers);
    return new Set(
      this.numbered(table, 0, this.highest())
        .filter(({ number }) => touched.has(number))
        .map(({ key }) => keyText(key)),
    );
  }

  /** Highest staging number; slices are ranges of it. */
  highest(): number {
    return this.db.prepare('SELECT coalesce(max(rowid), 0) FROM temp.changed').pluck().get() as number;
  }

  /** Tables among the staged keys. */
  tables(): number[] {
    return this.db.prepare('SELECT DISTINCT t FROM temp.changed ORDER BY t').pluck().all() as number[];
  }

  /** Keys of a table in the slice (from, to], with their staging numbers. */
  numbered(table: TablePlan, from: number, to: number): { number: number; key: KeyValue[] }[] {
    const rows = this.db
      .prepare(
        `SELECT rowid, ${table.key.map((_, i) => `k${i}`).join(', ')} FROM temp.changed
          WHERE t = ? AND rowid > ? AND rowid <= ?`,
      )
      .safeIntegers()
      .raw()
      .all(table.id, from, to) as [bigint, ...KeyValue[]][];
    return rows.map(([rowid, ...key]) => {
      const number = Number(rowid);
      return { number, key: key.some(mayBeInvalid) ? this.exactKey(key, number) : key };
    });
  }

  /** Keys of a table in the slice (from, to]. */
  keys(table: TablePlan, from: number, to: number): KeyValue[][] {
    return this.numbered(table, from, to).map(({ key }) => key);
  }

  private exactKey(key: KeyValue[], number: number): KeyValue[] {
    const bytes = this.db
      .prepare(
        `SELECT ${key.map((_, i) => `CAST(k${i} AS BLOB)`).join(', ')} FROM temp.changed WHERE rowid = ?`,
      )
      .raw()
      .get(number) as Buffer[];
    return key.map((value, i) => (mayBeInvalid(value) ? textOf(bytes[i]!) : value));
  }

  /** The current rows of a slice as one buffer, their number, and how many of them fit their columns' kinds. */
  rows(table: TablePlan, from: number, to: number): { data: Buffer | null; rows: number; good: number } {
    let statement = this.rowStatements.get(table);
    if (statement === undefined) {
      statement = this.db.prepare(
        `SELECT ${ROWS_AS_BUFFER} AS data, count(*) AS "rows", count(r) AS good FROM (
           SELECT ${rowSql(table, 's')} AS r FROM temp.changed c CROSS JOIN ${quoted(table.name)} s
            WHERE c.t = ? AND c.rowid > ? AND c.rowid <= ? AND ${sameKey(table)})`,
      );
      this.rowStatements.set(table, statement);
    }
    return statement.get(table.id, from, to) as { data: Buffer | null; rows: number; good: number };
  }

  /** Which columns of a row do not fit, see `misfitsSql`. */
  misfits(table: TablePlan, number: number): string {
    return this.db
      .prepare(
        `SELECT ${misfitsSql(table, 's')} FROM temp.changed c CROSS JOIN ${quoted(table.name)} s
          WHERE c.t = ? AND c.rowid = ? AND ${sameKey(table)}`,
      )
      .pluck()
      .get(table.id, number) as string;
  }

  /** Does a row have this key? For keys with a NULL, which equals nothing. */
  exists(table: TablePlan, number: number): boolean {
    const same = table.key
      .map(
        (name, i) =>
          `s.${quoted(name)} IS c.k${i} COLLATE BINARY AND typeof(s.${quoted(name)}) = typeof(c.k${i})`,
      )
      .join(' AND ');
    return (
      this.db
        .prepare(
          `SELECT 1 FROM temp.changed c CROSS JOIN ${quoted(table.name)} s WHERE c.rowid = ? AND ${same} LIMIT 1`,
        )
        .get(number) !== undefined
    );
  }
}

/** The column's own comparison, which its index serves, and then class and bytes. */
function sameKey(table: TablePlan): string {
  return table.key
    .map((name, i) => {
      const column = `s.${quoted(name)}`;
      if (table.rowidAlias) return `${column} = c.k${i}`;
      return `${column} = c.k${i} AND ${column} IS c.k${i} COLLATE BINARY AND typeof(${column}) = typeof(c.k${i})`;
    })
    .join(' AND ');
}

/** Is there a change log? None before capture and after the end. */
export function hasLog(db: Database.Database): boolean {
  return db.prepare('SELECT 1 FROM sqlite_master WHERE name = ?').get(LOG_TABLE) !== undefined;
}

/** Position of the log's newest row, 0 where there is no log. */
export function endOfLog(db: Database.Database): bigint {
  return hasLog(db) ? logHead(db).position : 0n;
}

/** Logs the keys as if their rows had changed. Runs inside the caller's write transaction. */
export function logKeys(db: Database.Database, table: TablePlan, keys: KeyValue[][]): void {
  const columns = table.key.map((_, i) => `k${i}`).join(', ');
  const insert = new RowStatement(
    db,
    (marks) => `INSERT INTO ${LOG_TABLE} (t, ${columns}) VALUES (${table.id}, ${marks.join(', ')})`,
  );
  for (const key of keys) insert.run(key);
}

/** Does the log still have every change after the position? False once it has been trimmed beyond it. */
export function reachesBack(db: Database.Database, position: bigint): boolean {
  if (!hasLog(db)) return true;
  return db.prepare(`SELECT 1 FROM ${LOG_TABLE} WHERE seq <= ? LIMIT 1`).get(position) !== undefined;
}

/** End of the batch after `from`: at most `limit` log rows on, or the head. */
export function batchEnd(db: Database.Database, from: bigint, limit: number | null): LogHead {
  if (limit === null) return logHead(db);
  const row = db
    .prepare(
      `SELECT seq AS position, token FROM (SELECT seq, token FROM ${LOG_TABLE} WHERE seq > ? ORDER BY seq LIMIT ?)
        ORDER BY seq DESC LIMIT 1`,
    )
    .safeIntegers()
    .get(from, limit) as LogHead | undefined;
  return row ?? logHead(db);
}

/**
 * Deletes up to `limit` rows before `before`, oldest first; never the newest row, whose number must not recur.
 * Runs inside the caller's write transaction. @returns rows deleted
 */
export function trimLog(db: Database.Database, before: bigint, limit: number): number {
  return db
    .prepare(
      `DELETE FROM ${LOG_TABLE} WHERE seq IN (SELECT seq FROM ${LOG_TABLE} WHERE seq < ? ORDER BY seq LIMIT ?)
         AND seq < (SELECT max(seq) FROM ${LOG_TABLE})`,
    )
    .run(before, limit).changes;
}
