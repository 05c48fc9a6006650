/** Reads the source for the copy: chunks in key order by keyset, encoded inside SQLite. */
import type Database from 'better-sqlite3';
import type { TablePlan } from '../../contract.ts';
import { CrossfadeError } from '../../errors.ts';
import { quoted } from '../identifiers.ts';
import { InvalidText, keyText, mayBeInvalid, textOf, type KeyValue } from '../key.ts';
import { ROWS_AS_BUFFER, rowSql, toCopyText } from './encode.ts';
import { readTransaction } from './transaction.ts';

export interface Chunk {
  /** COPY text of the rows; null where none can be held by the target. */
  text: Buffer | null;
  /** Rows read, those set aside included. */
  rows: number;
  /** Key of the last row read, null where nothing was left to read. */
  last: KeyValue[] | null;
  /** Rows whose values are not what their columns hold. */
  setAside: { key: string; reason: string }[];
}

/** A chunk may not grow beyond this while SQLite builds it, whatever the row estimate said. */
const CHUNK_CEILING_BYTES = 32 * 1024 * 1024;

interface ChunkRow {
  data: Buffer | null;
  n: bigint;
  good: bigint;
  [key: `k${number}`]: KeyValue;
  /** The key's bytes; absent where the key is the rowid. */
  [key: `b${number}`]: Buffer | null;
}

/** Prepared reader of one table. */
export class ChunkReader {
  private readonly db: Database.Database;
  private readonly table: TablePlan;
  private readonly first: Database.Statement;
  /** By which values of the cursor are texts that only their bytes can name. */
  private readonly next = new Map<string, Database.Statement>();

  constructor(db: Database.Database, table: TablePlan) {
    this.db = db;
    this.table = table;
    this.first = db.prepare(chunkSql(table, null)).safeIntegers();
  }

  /** The row limit that keeps a chunk under the ceiling, given the largest row known. */
  rowLimit(wanted: number): number {
    return Math.max(
      1,
      Math.min(wanted, Math.floor(CHUNK_CEILING_BYTES / Math.max(1, this.table.largestRow))),
    );
  }

  /**
   * Reads up to `limit` rows after the key tuple `after`, from the start where it is null. Synchronous.
   * @throws CrossfadeError PlanRefused where the cursor has a NULL, after which no row would be found
   */
  read(after: KeyValue[] | null, limit: number): Chunk {
    if (after?.includes(null) === true) {
      throw new CrossfadeError(
        'PlanRefused',
        `source table ${quoted(this.table.name)} has rows whose key is NULL: give them a value, or delete them`,
      );
    }
    try {
      return readTransaction(this.db, () => this.readChunk(after, limit));
    } catch (error) {
      // SQLITE_TOOBIG: rows grew since the census.
      if ((error as { code?: string }).code === 'SQLITE_TOOBIG' && limit > 1)
        return this.read(after, limit >> 1);
      throw error;
    }
  }

  private readChunk(after: KeyValue[] | null, limit: number): Chunk {
    const row = (
      after === null ? this.first.get(limit) : this.after(after).get(...bound(after), limit)
    ) as ChunkRow;
    const rows = Number(row.n);
    if (rows === 0) return { text: null, rows: 0, last: null, setAside: [] };
    const last = this.table.key.map((_, i) => exact(row[`k${i}`]!, row[`b${i}`]));
    const good = Number(row.good);
    const text = row.data === null ? null : toCopyText(row.data, this.table.columns.length, good);
    if (row.data !== null && text === null) {
      // Some text is not valid UTF-8: halve until it stands alone.
      if (rows > 1) return this.readChunk(after, rows >> 1);
      return {
        text: null,
        rows,
        last,
        setAside: [{ key: keyText(last), reason: 'a text is not valid UTF-8' }],
      };
    }
    return { text, rows, last, setAside: good < rows ? this.misfits(after, rows) : [] };
  }

  private after(cursor: KeyValue[]): Database.Statement {
    const marks = cursor.map((value) => (value instanceof InvalidText ? 'CAST(? AS TEXT)' : '?'));
    const name = marks.join();
    let statement = this.next.get(name);
    if (statement === undefined) {
      statement = this.db.prepare(chunkSql(this.table, marks)).safeIntegers();
      this.next.set(name, statement);
    }
    return statement;
  }

  private misfits(after: KeyValue[] | null, limit: number): { key: string; reason: string }[] {
    const keys = keyList(this.table, 's');
    const where =
      after === null
        ? ''
        : `WHERE ${afterKey(
            this.table,
            after.map((value) => (value instanceof InvalidText ? 'CAST(? AS TEXT)' : '?')),
          )}`;
    const sql = `SELECT ${keys.map((_, i) => `k${i}, CAST(k${i} AS BLOB)`).join(', ')} FROM (
        SELECT ${keys.map((key, i) => `${key} AS k${i}`).join(', ')}, ${rowSql(this.table, 's')} AS r
          FROM ${quoted(this.table.name)} s ${where}
         ORDER BY ${keys.join(', ')} LIMIT ?) WHERE r IS NULL`;
    const found = this.db
      .prepare(sql)
      .safeIntegers()
      .raw()
      .all(...bound(after ?? []), limit) as (KeyValue & (Buffer | null))[][];
    return found.map((row) => {
      const key = keys.map((_, i) => exact(row[2 * i]!, row[2 * i + 1]));
      return { key: keyText(key), reason: MISFIT };
    });
  }
}

/** Why a row is set aside whose value has another storage class or form than its column's kind. */
export const MISFIT = 'a value has another storage class or format than the plan found in its column';

function keyList(table: TablePlan, alias: string): string[] {
  return table.key.map((column) => `${alias}.${quoted(column)}`);
}

/** The value as it is, given what the driver made of it and its bytes. */
function exact(value: KeyValue, bytes: Buffer | null | undefined): KeyValue {
  return mayBeInvalid(value) && Buffer.isBuffer(bytes) ? textOf(bytes) : value;
}

function bound(key: KeyValue[]): unknown[] {
  return key.map((value) => (value instanceof InvalidText ? value.bytes : value));
}

/** Condition "after the key tuple of the parameters". */
function afterKey(table: TablePlan, marks: string[]): string {
  const keys = keyList(table, 's');
  if (keys.length === 1) return `${keys[0]!} > ${marks[0]!}`;
  return `(${keys.join(', ')}) > (${marks.join(', ')})`;
}

/**
 * The cursor is the last row's tuple. Where the key is the rowid that is its maximum; elsewhere the row with the
 * highest row number gives it, by SQLite's rule for bare columns beside one max()
 * (https://sqlite.org/lang_select.html, "Bare columns in an aggregate query").
 */
function chunkSql(table: TablePlan, after: string[] | null): string {
  const keys = keyList(table, 's');
  const order = keys.join(', ');
  const where = after === null ? '' : `WHERE ${afterKey(table, after)}`;
  const from = `FROM ${quoted(table.name)} s ${where} ORDER BY ${order} LIMIT ?`;
  const columns = keys.map((key, i) => `${key} AS k${i}`).join(', ');
  const outer = `${ROWS_AS_BUFFER} AS data, count(*) AS n, count(r) AS good`;
  if (table.rowidAlias) {
    return `SELECT ${outer}, max(k0) AS k0 FROM (SELECT ${columns}, ${rowSql(table, 's')} AS r ${from})`;
  }
  return `SELECT ${outer}, max(i), ${keys.map((_, i) => `k${i}, CAST(k${i} AS BLOB) AS b${i}`).join(', ')}
    FROM (SELECT ${columns}, row_number() OVER (ORDER BY ${order}) AS i, ${rowSql(table, 's')} AS r ${from})`;
}
