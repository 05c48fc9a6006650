/** Compares rows of both databases in COPY text; looks at single cells only where bytes differ. */
import type { ColumnPlan, Mismatch, TablePlan } from '../contract.ts';
import { keyText, parseKeyText, type KeyValue } from '../databases/key.ts';
import { keepsNegativeZero } from '../databases/sqlite/affinity.ts';
import { canonicalJsonBytes } from '../databases/json-value.ts';
import {
  cellValue,
  copyLineKey,
  splitCells,
  splitLines,
  unescapeCell,
} from '../databases/postgres/copy-text.ts';

/** One key whose rows differ; the lines are COPY text, undefined where the row is absent. */
export interface Difference {
  key: string;
  source: Buffer | undefined;
  target: Buffer | undefined;
}

const SHOWN_CHARACTERS = 80;
/** Shown before the first difference of two long values. */
const CONTEXT_CHARACTERS = 20;

/** Rows that are not the same on both sides, by key. Both texts hold the rows of the same key range. */
export function differences(table: TablePlan, source: Buffer, target: Buffer): Difference[] {
  if (sameRows(table, source, target)) return [];
  const found: Difference[] = [];
  const byKey = new Map(splitLines(target).map((line) => [keyText(copyLineKey(table, line)), line]));
  for (const line of splitLines(source)) {
    const key = keyText(copyLineKey(table, line));
    const other = byKey.get(key);
    byKey.delete(key);
    if (other === undefined || !sameRows(table, line, other)) {
      found.push({ key, source: line, target: other });
    }
  }
  for (const [key, line] of byKey) found.push({ key, source: undefined, target: line });
  return found;
}

const TAB = 0x09;
const LINE_FEED = 0x0a;

/** Are these the same rows in the same order? One pass over the bytes; cells are only looked at where bytes differ. */
export function sameRows(table: TablePlan, a: Buffer, b: Buffer): boolean {
  // Most tables hold no doubles, and are then equal byte by byte.
  if (a.equals(b)) return true;
  const { columns } = table;
  let [i, j, column] = [0, 0, 0];
  /** Where the cell began. */
  let [startA, startB] = [0, 0];
  while (i < a.length && j < b.length) {
    const byte = a[i]!;
    if (byte === b[j]) {
      i++;
      j++;
      if (byte === TAB || byte === LINE_FEED) {
        column = byte === TAB ? column + 1 : 0;
        [startA, startB] = [i, j];
      }
    } else {
      [i, j] = [cellEnd(a, i), cellEnd(b, j)];
      const [cellA, cellB] = [a.toString('latin1', startA, i), b.toString('latin1', startB, j)];
      if (a[i] !== b[j] || !sameCell(columns[column]!, cellA, cellB)) return false;
    }
  }
  return i === a.length && j === b.length;
}

function cellEnd(text: Buffer, from: number): number {
  let end = from;
  while (end < text.length && text[end] !== TAB && text[end] !== LINE_FEED) end++;
  return end;
}

/** The two databases print the same double with different digits; the bits decide. */
export function sameCell(column: ColumnPlan, a: string, b: string): boolean {
  const { kind } = column;
  if (a === b) return true;
  if (a === '\\N' || b === '\\N') return false;
  if (kind === 'double') return sameDouble(column, double(a), double(b));
  if (kind === 'numeric') return sameNumeric(a.replace(/\.0+$/, ''), b.replace(/\.0+$/, ''));
  if (kind === 'jsonb') return sameJson(a, b);
  if (kind === 'mixed') return sameValue(cellValue(a, column), cellValue(b, column));
  return false;
}

function sameDouble(column: ColumnPlan, a: number, b: number): boolean {
  // -0 becomes 0 in a column that converts numbers.
  return Object.is(a, b) || (a === 0 && b === 0 && !keepsNegativeZero(column));
}

/** Cells are handed over byte by byte, whatever their characters. */
function sameJson(a: string, b: string): boolean {
  const [left, right] = [a, b].map((cell) => canonicalJsonBytes(Buffer.from(unescapeCell(cell)!, 'latin1')));
  return left !== null && left === right;
}

/** One number or text in two spellings. */
function sameValue(a: KeyValue, b: KeyValue): boolean {
  return ['number', 'bigint', 'string'].includes(typeof a) && Object.is(a, b);
}

/** Whole numbers are compared as written: beyond 2^53 a double would confuse them. */
function sameNumeric(a: string, b: string): boolean {
  return /^-?\d+$/.test(a) && /^-?\d+$/.test(b) ? a === b : Number(a) === Number(b);
}

function double(text: string): number {
  const number = Number(text);
  return Number.isNaN(number) ? Number(text.replace(/^(-?)Inf$/, '$1Infinity')) : number;
}

/** Tells a difference as the verdict reports it; the source is named primary where the target is not. */
export function describe(table: TablePlan, difference: Difference, targetIsPrimary: boolean): Mismatch {
  const { key, source, target } = difference;
  const base = { table: table.name, key: readableKey(key, table) };
  if (source === undefined || target === undefined) {
    const onPrimary = (source === undefined) === targetIsPrimary;
    const row = shortened(rowText(table, splitCells((source ?? target)!)));
    return onPrimary
      ? { ...base, kind: 'missing-on-secondary', primary: row }
      : { ...base, kind: 'missing-on-primary', secondary: row };
  }
  const [cellsS, cellsT] = [splitCells(source), splitCells(target)];
  const index = table.columns.findIndex((column, i) => !sameCell(column, cellsS[i]!, cellsT[i]!));
  const column = table.columns[index]!;
  return {
    ...base,
    ...valuesOf(column.name, shown(column, cellsS[index]!), shown(column, cellsT[index]!), targetIsPrimary),
  };
}

/** The part of a mismatch that tells the two values of a column, shortened where they are long. */
export function valuesOf(
  column: string,
  source: string,
  target: string,
  targetIsPrimary: boolean,
): Pick<Mismatch, 'kind' | 'column' | 'primary' | 'secondary'> {
  const [s, t] = shortenedPair(source, target);
  const [primary, secondary] = targetIsPrimary ? [t, s] : [s, t];
  return { kind: 'different', column, primary, secondary };
}

function rowText(table: TablePlan, cells: string[]): string {
  return table.columns.map((column, i) => `${column.name} = ${shown(column, cells[i]!)}`).join(', ');
}

/** As it is, but for columns whose classes only their marks tell apart, and doubles, which the two databases spell differently. */
function shown(column: ColumnPlan, cell: string): string {
  const text = unescapeCell(cell);
  if (text === null) return 'NULL';
  if (column.kind === 'double') return literalText(double(text));
  return column.kind === 'mixed' ? literalText(cellValue(cell, column)) : text;
}

/** A value of a column that mixes classes, as SQLite's own literals write it. */
export function literalText(value: KeyValue): string {
  if (value === null) return 'NULL';
  if (typeof value === 'string') return `'${value.replaceAll("'", "''")}'`;
  if (Buffer.isBuffer(value)) return `x'${value.toString('hex')}'`;
  if (typeof value === 'number')
    return Object.is(value, -0) ? '-0.0' : Number.isInteger(value) ? `${value}.0` : String(value);
  return typeof value === 'bigint' ? String(value) : `CAST(x'${value.bytes.toString('hex')}' AS TEXT)`;
}

/** A value as a mismatch shows it. */
export function shortened(value: string): string {
  return cut(value, 0);
}

/** Two values so that where they begin to differ can be seen. */
export function shortenedPair(a: string, b: string): [string, string] {
  let same = 0;
  while (same < a.length && a[same] === b[same]) same++;
  const from =
    a.length > SHOWN_CHARACTERS || b.length > SHOWN_CHARACTERS ? Math.max(0, same - CONTEXT_CHARACTERS) : 0;
  return [cut(a, from), cut(b, from)];
}

/** At most SHOWN_CHARACTERS of the value from there on, with … where something was left out. */
function cut(value: string, from: number): string {
  // No half of a surrogate pair.
  const start = isLowSurrogate(value, from) ? from + 1 : from;
  const before = start > 0 ? '…' : '';
  if (value.length - start + before.length <= SHOWN_CHARACTERS) return before + value.slice(start);
  let end = start + SHOWN_CHARACTERS - 1 - before.length;
  if (isLowSurrogate(value, end)) end--;
  return `${before}${value.slice(start, end)}…`;
}

function isLowSurrogate(text: string, at: number): boolean {
  return at > 0 && (text.charCodeAt(at) & 0xfc00) === 0xdc00;
}

/** A key as a person reads it: its values without their classes, but where the column mixes them. */
export function readableKey(key: string, table?: TablePlan): string {
  const values = parseKeyText(key).map((value, i) => {
    const kind = table?.columns.find(({ name }) => name === table.key[i])?.kind;
    return kind === 'mixed' ? literalText(value) : plainValue(value);
  });
  return cut(values.join(', '), 0);
}

function plainValue(value: KeyValue): string {
  if (value === null) return 'NULL';
  return Buffer.isBuffer(value) ? value.toString('hex') : String(value);
}
