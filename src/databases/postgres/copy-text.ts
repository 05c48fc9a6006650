/** Reads PostgreSQL's COPY text format, where a batch must be looked at row by row. */
import { isUtf8 } from 'node:buffer';
import type { ColumnPlan, TablePlan } from '../../contract.ts';
import { instantMs } from '../instant.ts';
import { DIGITS_ARE_TEXT, mixedValue } from '../mixed.ts';
import { InvalidText } from '../invalid-text.ts';
import { isMomentKind, momentText } from '../moment.ts';
import type { KeyValue } from '../key.ts';
import { affinityOf, makesIntegers } from '../sqlite/affinity.ts';

const LINE_FEED = 0x0a;
const UNESCAPED: Record<string, string> = { b: '\b', t: '\t', n: '\n', v: '\v', f: '\f', r: '\r' };

/** Lines with their line feeds. A line feed inside a value is escaped, so every LF byte ends a row. */
export function splitLines(text: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  let start = 0;
  for (let end = text.indexOf(LINE_FEED); end >= 0; end = text.indexOf(LINE_FEED, start)) {
    lines.push(text.subarray(start, end + 1));
    start = end + 1;
  }
  return lines;
}

/** Cells of a line as they stand, escaped. */
export function splitCells(line: Buffer): string[] {
  return line
    .toString('utf8', 0, line[line.length - 1] === LINE_FEED ? line.length - 1 : line.length)
    .split('\t');
}

/** The value of a cell, null for \N. */
export function unescapeCell(cell: string): string | null {
  if (cell === '\\N') return null;
  return cell.replace(/\\(.)/gs, (_, letter: string) => UNESCAPED[letter] ?? letter);
}

/** A cell's text as the SQLite value it stands for. */
export function cellValue(cell: string, column: Held): KeyValue {
  const text = unescapeCell(cell);
  return text === null ? null : sqliteValue(text, column);
}

/** What says how a column holds its values on the target, and what the source makes of them. */
type Held = Pick<ColumnPlan, 'kind' | 'declared' | 'targetType'>;

/**
 * The SQLite value of a text that PostgreSQL wrote for a column of this kind; bound into the source's column it gives
 * back the storage class that the census admitted.
 */
export function sqliteValue(text: string, column: Held): KeyValue {
  if (isMomentKind(column.kind)) return momentText(column.kind, text) ?? text;
  switch (column.kind) {
    case 'bigint':
    case 'integer':
      return BigInt(text);
    case 'boolean':
      // The output function writes t, a cast to text writes true.
      return text === 't' || text === 'true' ? 1n : 0n;
    case 'double':
      return stored(doubleValue(text), column);
    case 'numeric':
      return numericValue(text);
    case 'bytea':
      return Buffer.from(text.slice(2), 'hex');
    case 'mixed':
      return stored(mixedColumnValue(text, column), column);
    case 'instant':
      return instantMs(text) ?? text;
    case 'text':
    case 'uuid':
    case 'json':
    case 'jsonb':
    case 'date':
      return text;
  }
}

function mixedColumnValue(text: string, column: Held): Exclude<KeyValue, null> {
  const value = mixedValue(text, column.targetType !== DIGITS_ARE_TEXT);
  // SQLite would make a text of the number, in a spelling of its own.
  const isNumber = typeof value === 'number' || typeof value === 'bigint';
  return isNumber && affinityOf(column.declared) === 'TEXT' ? text : value;
}

function doubleValue(text: string): number {
  return Number(text.replace(/^(-?)Inf$/, '$1Infinity'));
}

/** A NUMERIC column stores an integral real as an integer, -0 as 0. */
function stored<T>(value: T | number, column: Held): T | number | bigint {
  if (typeof value !== 'number' || !Number.isInteger(value) || !makesIntegers(column)) return value;
  const whole = BigInt(value);
  return BigInt.asIntN(64, whole) === whole ? whole : value;
}

function numericValue(text: string): bigint | number {
  // A whole number may carry a scale: 7.00.
  if (/^-?\d+(\.0+)?$/.test(text)) {
    const whole = BigInt(text.split('.')[0]!);
    if (BigInt.asIntN(64, whole) === whole) return whole;
  }
  return Number(text);
}

/** Key of a row in COPY text. */
export function copyLineKey(table: TablePlan, line: Buffer): KeyValue[] {
  if (!isUtf8(line)) return invalidLineKey(table, line);
  const cells = splitCells(line);
  return table.key.map((name) => {
    const index = table.columns.findIndex((column) => column.name === name);
    return cellValue(cells[index]!, table.columns[index]!);
  });
}

/** As `copyLineKey`, for a line that PostgreSQL will refuse: its key has to be named byte by byte. */
function invalidLineKey(table: TablePlan, line: Buffer): KeyValue[] {
  const cells = line
    .subarray(0, line.length - 1)
    .toString('latin1')
    .split('\t');
  return table.key.map((name) => {
    const index = table.columns.findIndex((column) => column.name === name);
    const bytes = Buffer.from(cells[index]!, 'latin1');
    if (isUtf8(bytes)) return cellValue(bytes.toString('utf8'), table.columns[index]!);
    return new InvalidText(Buffer.from(unescapeCell(cells[index]!)!, 'latin1'));
  });
}

/** A key as the reverse log holds it, each value as PostgreSQL's text. */
export function loggedKey(table: TablePlan, key: string[]): KeyValue[] {
  return table.key.map((name, i) => {
    const column = table.columns.find((candidate) => candidate.name === name)!;
    return sqliteValue(key[i]!, column);
  });
}
