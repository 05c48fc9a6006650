/** Compares rows of both databases in COPY text; looks at single cells only where bytes differ. */
import type { ColumnPlan, Mismatch, TablePlan } from '../contract.ts';
import { keyText, type KeyValue } from '../databases/key.ts';
import { affinityOf } from '../databases/sqlite/affinity.ts';
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
function sameRows(table: TablePlan, a: Buffer, b: Buffer): boolean {
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
function sameCell(column: ColumnPlan, a: string, b: string): boolean {
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
  return Object.is(a, b) || (a === 0 && b === 0 && affinityOf(column.declared) !== 'BLOB');
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
  return Number(text.replace(/^(-?)Inf(inity)?$/, '$1Infinity'));
}

/** Tells a difference as the verdict reports it; the source is named primary where `sourceIsPrimary`. */
export function describe(table: TablePlan, difference: Difference, sourceIsPrimary: boolean): Mismatch {
  const { key, source, target } = difference;
  const base = { table: table.name, key: readableKey(key) };
  if (source === undefined || target === undefined) {
    const missingOnSource = source === undefined;
    return {
      ...base,
      kind: missingOnSource === sourceIsPrimary ? 'missing-on-primary' : 'missing-on-secondary',
    };
  }
  const [cellsS, cellsT] = [splitCells(source), splitCells(target)];
  const index = table.columns.findIndex((column, i) => !sameCell(column, cellsS[i]!, cellsT[i]!));
  const [s, t] = [shown(cellsS[index] ?? ''), shown(cellsT[index] ?? '')];
  return {
    ...base,
    kind: 'different',
    column: table.columns[index]?.name ?? '?',
    primary: sourceIsPrimary ? s : t,
    secondary: sourceIsPrimary ? t : s,
  };
}

function shown(cell: string): string {
  return shortened(unescapeCell(cell) ?? 'NULL');
}

/** A value as a mismatch shows it. */
export function shortened(value: string): string {
  return value.length > SHOWN_CHARACTERS ? `${value.slice(0, SHOWN_CHARACTERS - 1)}…` : value;
}

/** A key as a person reads it: values without their class letters. */
export function readableKey(key: string): string {
  return (JSON.parse(key) as string[]).map((value) => value.slice(2)).join(', ');
}
