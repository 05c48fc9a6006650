/**
 * Reads rows for a comparison that never writes them: in the encoding of `encode.ts`, but with conditions on the values
 * only as far as the target's own text does not imply them.
 */
import type { ColumnPlan, TablePlan } from '../../contract.ts';
import { quoted } from '../identifiers.ts';
import type { KeyValue } from '../key.ts';
import { keepsNegativeZero } from './affinity.ts';
import { bound } from './bind.ts';
import { afterKey, chunkSql, exact, isTooBig, keyList, rowLimit, type ChunkRow } from './chunk.ts';
import { balanced, cellSql, NULL_SQL, type CellSql } from './encode.ts';
import { NUMBERING_SQL, Renumbered } from './numbering.ts';
import type { Query, ReadingThread, Row } from './reading-thread.ts';

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

/** Reads one table whose rows have a raw form. */
export class RawReader {
  private readonly thread: ReadingThread;
  private readonly table: TablePlan;
  private readonly numbering: bigint | null;
  private readonly row: string;

  /** @param numbering what the numbers of a table without a key must still mean; null for any other table */
  constructor(thread: ReadingThread, table: TablePlan, numbering: bigint | null = null) {
    this.thread = thread;
    this.table = table;
    this.numbering = numbering;
    this.row = rawRowSql(table, 's');
  }

  /**
   * Reads up to `wanted` rows after the key tuple `after`, from the start where it is null.
   * @throws Error SQLite's; CrossfadeError Renumbered
   */
  async read(after: KeyValue[] | null, wanted: number): Promise<RawChunk> {
    const limit = rowLimit(this.table, wanted);
    try {
      return await this.readChunk(after, limit);
    } catch (error) {
      if (isTooBig(error) && limit > 1) return await this.read(after, limit >> 1);
      throw error;
    }
  }

  private async readChunk(after: KeyValue[] | null, limit: number): Promise<RawChunk> {
    const { table, numbering } = this;
    const { where, values } = afterKey(table, after);
    const cursor = bound(values);
    const queries: Query[] = [{ sql: chunkSql(table, where, this.row), parameters: [...cursor, limit] }];
    if (!table.rowidAlias) queries.push({ sql: nthKeySql(table, where), parameters: [...cursor, limit - 1] });
    if (numbering !== null) queries.push({ sql: NUMBERING_SQL, parameters: [] });
    const answers = await this.thread.read(queries);
    const { n, good, data, last } = answers.shift() as unknown as ChunkRow;
    const key = table.rowidAlias ? { v0: last } : answers.shift();
    if (numbering !== null && answers.shift()?.['number'] !== numbering)
      throw new Renumbered(this.thread.path);
    return {
      data: data === null ? Buffer.alloc(0) : asBuffer(data),
      rows: Number(n),
      whole: n === good,
      last: Number(n) < limit || key === undefined ? null : keyOf(table, key),
    };
  }
}

/** Not from the encoded row: a text that is not valid UTF-8 could hide where that begins. */
function keyOf(table: TablePlan, row: Row): KeyValue[] {
  return table.key.map((_, i) => {
    const [value, bytes] = [row[`v${i}`], row[`b${i}`]].map((one) =>
      one instanceof Uint8Array ? asBuffer(one) : one,
    );
    return exact(value as KeyValue, bytes as KeyValue | undefined);
  });
}

/** What a thread hands over is no Buffer. */
function asBuffer({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

/** The nth row's key, each value with its bytes. */
function nthKeySql(table: TablePlan, where: string): string {
  const keys = keyList(table, 's');
  return `SELECT ${keys.map((key, i) => `${key} AS v${i}, CAST(${key} AS BLOB) AS b${i}`).join(', ')}
    FROM ${quoted(table.name)} s ${where} ORDER BY ${keys.join(', ')} LIMIT 1 OFFSET ?`;
}
