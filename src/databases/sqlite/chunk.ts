/** Reads the source for the copy: chunks in key order by keyset, encoded inside SQLite. */
import type Database from 'better-sqlite3';
import type { TablePlan } from '../../contract.ts';
import { driverCode } from '../../errors.ts';
import { quoted } from '../identifiers.ts';
import { mayBeInvalid, textOf } from '../invalid-text.ts';
import { keyText, type KeyValue } from '../key.ts';
import { copyLineKey } from '../postgres/copy-text.ts';
import { bound, marksOf } from './bind.ts';
import type { CopyBuffer } from './copy-buffer.ts';
import { misfitsSql, ROWS_AS_BUFFER, rowSql } from './encode.ts';
import { numberingOf, Renumbered } from './numbering.ts';
import { readTransaction } from './transaction.ts';

export interface Chunk {
  /** Rows read, those set aside included. */
  rows: number;
  /** Key of the last row read, null where nothing was left to read. */
  last: KeyValue[] | null;
  /** Rows whose values are not what their columns hold. */
  setAside: { key: string; reason: string }[];
}

const LINE_FEED = 0x0a;

/** A chunk may not grow beyond this while SQLite builds it, whatever the row estimate said. */
const CHUNK_CEILING_BYTES = 32 * 1024 * 1024;

export interface ChunkRow {
  data: Buffer | null;
  n: bigint;
  good: bigint;
  /** The greatest rowid, where that is the key. */
  last?: bigint;
}

/** Prepared reader of one table. */
export class ChunkReader {
  private readonly db: Database.Database;
  private readonly table: TablePlan;
  private readonly numbering: bigint | null;
  /** By WHERE clause, of which few occur. */
  private readonly statements = new Map<string, Database.Statement>();

  /** @param numbering what the numbers of a table without a key must still mean; null for any other table */
  constructor(db: Database.Database, table: TablePlan, numbering: bigint | null = null) {
    this.db = db;
    this.table = table;
    this.numbering = numbering;
  }

  rowLimit(wanted: number): number {
    return rowLimit(this.table, wanted);
  }

  /**
   * Reads up to `limit` rows after the key tuple `after`, from the start where it is null, and appends those that the
   * target can hold. Synchronous.
   * @throws CrossfadeError Renumbered
   */
  read(after: KeyValue[] | null, limit: number, into: CopyBuffer): Chunk {
    try {
      return readTransaction(this.db, () => this.readChunk(after, limit, into));
    } catch (error) {
      if (isTooBig(error) && limit > 1) return this.read(after, limit >> 1, into);
      throw error;
    }
  }

  private readChunk(after: KeyValue[] | null, limit: number, into: CopyBuffer): Chunk {
    if (this.numbering !== null && numberingOf(this.db) !== this.numbering)
      throw new Renumbered(this.db.name);
    const { where, values } = afterKey(this.table, after);
    const row = this.statement(where).get(...bound(values), limit) as ChunkRow;
    const rows = Number(row.n);
    if (rows === 0) return { rows: 0, last: null, setAside: [] };
    const good = Number(row.good);
    if (row.data !== null && !into.appendRows(row.data, this.table.columns.length, good)) {
      // Some text is not valid UTF-8: halve until it stands alone.
      if (rows > 1) return this.readChunk(after, rows >> 1, into);
      const key = this.keys(after, rows)[0]!.key;
      return { rows, last: key, setAside: [{ key: keyText(key), reason: 'a text is not valid UTF-8' }] };
    }
    if (good === rows) return { rows, last: this.lastKey(row, into.contents), setAside: [] };
    const keys = this.keys(after, rows);
    const setAside = keys.filter(({ fits }) => !fits);
    return {
      rows,
      last: keys.at(-1)!.key,
      setAside: setAside.map(({ key, misfits }) => ({ key: keyText(key), reason: misfitReason(misfits) })),
    };
  }

  /** The cursor is the last row's whole tuple; where every row could be written, its text says it. */
  private lastKey(row: ChunkRow, text: Buffer): KeyValue[] {
    if (row.last !== undefined) return [row.last];
    return copyLineKey(this.table, text.subarray(text.lastIndexOf(LINE_FEED, text.length - 2) + 1));
  }

  private statement(where: string): Database.Statement {
    let statement = this.statements.get(where);
    if (statement === undefined) {
      statement = this.db.prepare(chunkSql(this.table, where, rowSql(this.table, 's'))).safeIntegers();
      this.statements.set(where, statement);
    }
    return statement;
  }

  /** Keys of the next `limit` rows in their order, whether the target can hold the row, and because of what not. */
  private keys(
    after: KeyValue[] | null,
    limit: number,
  ): { key: KeyValue[]; fits: boolean; misfits: string }[] {
    const keys = keyList(this.table, 's');
    const { where, values } = afterKey(this.table, after);
    const sql = `SELECT ${rowSql(this.table, 's')} IS NOT NULL, ${misfitsSql(this.table, 's')}, ${keys.map((key) => `${key}, CAST(${key} AS BLOB)`).join(', ')}
        FROM ${quoted(this.table.name)} s ${where} ORDER BY ${keys.join(', ')} LIMIT ?`;
    const found = this.db
      .prepare(sql)
      .safeIntegers()
      .raw()
      .all(...bound(values), limit) as [bigint, string, ...KeyValue[]][];
    return found.map(([fits, misfits, ...row]) => ({
      key: keys.map((_, i) => exact(row[2 * i]!, row[2 * i + 1])),
      fits: fits === 1n,
      misfits,
    }));
  }
}

/** The row limit that keeps a chunk under the ceiling, given the largest row known. */
export function rowLimit({ largestRow }: TablePlan, wanted: number): number {
  return Math.max(1, Math.min(wanted, Math.floor(CHUNK_CEILING_BYTES / Math.max(1, largestRow))));
}

/** SQLITE_TOOBIG: rows grew since the census. */
export function isTooBig(error: unknown): boolean {
  return driverCode(error) === 'SQLITE_TOOBIG';
}

/** Why a row is set aside. @param misfits see `misfitsSql` */
export function misfitReason(misfits: string): string {
  return `it has another storage class or format than the plan found: ${misfits}`;
}

export function keyList(table: TablePlan, alias: string): string[] {
  return table.key.map((column) => `${alias}.${quoted(column)}`);
}

/** A key's value as it is, given what the driver made of it and its bytes. */
export function exact(value: KeyValue, bytes: KeyValue | undefined): KeyValue {
  return mayBeInvalid(value) && Buffer.isBuffer(bytes) ? textOf(bytes) : value;
}

/** WHERE clause of the rows after a key tuple, '' where it is null, and the values of its marks. */
export function afterKey(table: TablePlan, cursor: KeyValue[] | null): { where: string; values: KeyValue[] } {
  if (cursor === null) return { where: '', values: [] };
  const keys = keyList(table, 's');
  const marks = marksOf(cursor);
  if (cursor.includes(null)) return afterNull(keys, marks, cursor);
  const condition =
    keys.length === 1 ? `${keys[0]!} > ${marks[0]!}` : `(${keys.join(', ')}) > (${marks.join(', ')})`;
  return { where: `WHERE ${condition}`, values: cursor };
}

/** Column by column, because NULL sorts before every value and compares with none. */
function afterNull(
  keys: string[],
  marks: string[],
  cursor: KeyValue[],
): { where: string; values: KeyValue[] } {
  const values: KeyValue[] = [];
  const mark = (i: number): string => {
    values.push(cursor[i]!);
    return marks[i]!;
  };
  const terms = keys.map((key, i) => {
    const same = keys.slice(0, i).map((earlier, j) => `${earlier} IS ${mark(j)}`);
    const beyond = cursor[i] === null ? `${key} IS NOT NULL` : `${key} > ${mark(i)}`;
    return `(${[...same, beyond].join(' AND ')})`;
  });
  return { where: `WHERE ${terms.join(' OR ')}`, values };
}

/**
 * @param where see `afterKey`
 * @param row SQL of a row of the table as `s`: `rowSql` or `rawRowSql`
 */
export function chunkSql(table: TablePlan, where: string, row: string): string {
  const keys = keyList(table, 's');
  const [id, last] = table.rowidAlias ? [`${keys[0]!} AS id, `, ', max(id) AS last'] : ['', ''];
  return `SELECT ${ROWS_AS_BUFFER} AS data, count(*) AS n, count(r) AS good${last}
    FROM (SELECT ${id}${row} AS r FROM ${quoted(table.name)} s ${where} ORDER BY ${keys.join(', ')} LIMIT ?)`;
}
