/**
 * Reads rows for a comparison that never writes them: in the encoding of `encode.ts`, but with conditions on the values
 * only as far as the target's own text does not imply them.
 */
import type Database from 'better-sqlite3';
import type { ColumnPlan, TablePlan } from '../../contract.ts';
import { quoted } from '../identifiers.ts';
import type { KeyValue } from '../key.ts';
import { keepsNegativeZero } from './affinity.ts';
import { bound, marksOf } from './bind.ts';
import { afterKey, chunkSql, exact, isTooBig, keyList, rowLimit, type ChunkRow } from './chunk.ts';
import { balanced, cellSql, NULL_SQL, type CellSql } from './encode.ts';
import { numberingOf, Renumbered } from './numbering.ts';
import { readTransaction } from './transaction.ts';

export interface RawChunk {
  /** The rows as SQLite's encoding returns them; empty where there are none. */
  data: Buffer;
  rows: number;
  /** False where a row is left out because of a value that its column does not hold. */
  whole: boolean;
  /** Key of the last row read, null where the table ends with it. */
  last: KeyValue[] | null;
}

/** Has every column a form that can be compared without a look at its meaning? Of JSON values and mixed classes it has none. */
export function hasRawRows({ columns }: TablePlan): boolean {
  return columns.every(({ kind }) => kind !== 'jsonb' && kind !== 'mixed');
}

/**
 * A cell for comparison. Where PostgreSQL writes the same bytes, `cellSql` would have admitted the value and written
 * them: what PostgreSQL writes is a canonical integer, UUID, date or timestamp by itself.
 */
function rawCell(column: ColumnPlan, name: string, inKey: boolean): CellSql {
  const cell = cellSql(column, name, inKey);
  switch (column.kind) {
    case 'integer':
      return { ...cell, admits: `typeof(${name}) = 'integer'` };
    case 'uuid':
      return { ...cell, admits: `typeof(${name}) = 'text'` };
    case 'date':
      return { ...cell, admits: `(typeof(${name}) = 'text' AND octet_length(${name}) = 10)` };
    case 'timestamp':
      // Neither infinity nor a year before 1 or after 9999 has this length.
      return { ...cell, admits: `(typeof(${name}) = 'text' AND octet_length(${name}) = 19)` };
    case 'double':
      return keepsNegativeZero(column) ? cell : { ...cell, text: `format('%!.17g', ${name})` };
    default:
      return cell;
  }
}

function rawRowSql(table: TablePlan, alias: string): string {
  const cells = table.columns.map((column) => {
    const name = `${alias}.${quoted(column.name)}`;
    const inKey = table.key.includes(column.name);
    // An integer that is never NULL.
    if (inKey && table.rowidAlias) return name;
    const cell = rawCell(column, name, inKey);
    return `CASE WHEN ${cell.admits} THEN ${cell.text} WHEN ${name} IS NULL THEN ${NULL_SQL} END`;
  });
  return balanced(cells, "|| x'ff' ||");
}

/** Prepared reader of one table whose rows have a raw form. */
export class RawReader {
  private readonly db: Database.Database;
  private readonly table: TablePlan;
  private readonly numbering: bigint | null;
  private readonly row: string;
  private readonly statements = new Map<string, Database.Statement>();

  /** @param numbering what the numbers of a table without a key must still mean; null for any other table */
  constructor(db: Database.Database, table: TablePlan, numbering: bigint | null = null) {
    this.db = db;
    this.table = table;
    this.numbering = numbering;
    this.row = rawRowSql(table, 's');
  }

  /**
   * Reads up to `limit` rows after the key tuple `after`, which has no NULL; from the start where it is null. Synchronous.
   * @throws CrossfadeError Renumbered
   */
  read(after: KeyValue[] | null, wanted: number): RawChunk {
    const limit = rowLimit(this.table, wanted);
    try {
      return readTransaction(this.db, () => this.readChunk(after, limit));
    } catch (error) {
      if (isTooBig(error) && limit > 1) return this.read(after, limit >> 1);
      throw error;
    }
  }

  private readChunk(after: KeyValue[] | null, limit: number): RawChunk {
    if (this.numbering !== null && numberingOf(this.db) !== this.numbering)
      throw new Renumbered(this.db.name);
    const found = this.statement('rows', after).get(...bound(after ?? []), limit) as ChunkRow;
    const rows = Number(found.n);
    return {
      data: found.data ?? Buffer.alloc(0),
      rows,
      whole: Number(found.good) === rows,
      last: rows < limit ? null : found.last === undefined ? this.keyAt(after, limit) : [found.last],
    };
  }

  /** Key of the nth row after the key tuple. Not from the encoded row: a text that is not valid UTF-8 could hide where it begins. */
  private keyAt(after: KeyValue[] | null, nth: number): KeyValue[] {
    const values = this.statement('key', after)
      .raw()
      .get(...bound(after ?? []), nth - 1) as KeyValue[];
    return this.table.key.map((_, i) => exact(values[2 * i]!, values[2 * i + 1]));
  }

  private statement(what: 'rows' | 'key', after: KeyValue[] | null): Database.Statement {
    const marks = after === null ? null : marksOf(after);
    const name = `${what} ${marks?.join() ?? ''}`;
    let statement = this.statements.get(name);
    if (statement === undefined) {
      const sql = what === 'rows' ? chunkSql(this.table, marks, this.row) : nthKeySql(this.table, marks);
      statement = this.db.prepare(sql).safeIntegers();
      this.statements.set(name, statement);
    }
    return statement;
  }
}

function nthKeySql(table: TablePlan, after: string[] | null): string {
  const keys = keyList(table, 's');
  const where = after === null ? '' : `WHERE ${afterKey(table, after)}`;
  return `SELECT ${keys.map((key) => `${key}, CAST(${key} AS BLOB)`).join(', ')}
    FROM ${quoted(table.name)} s ${where} ORDER BY ${keys.join(', ')} LIMIT 1 OFFSET ?`;
}
