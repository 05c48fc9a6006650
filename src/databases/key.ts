/**
 * Keys as they travel between the databases: each value with its SQLite storage class, because keys match by class
 * and bytes (1, 1.0 and '1' can be three rows of one table).
 */
import type { ColumnPlan, TablePlan } from '../contract.ts';
import { literal } from './identifiers.ts';
import { instantText } from './instant.ts';
import { InvalidText } from './invalid-text.ts';
import { DIGITS_ARE_TEXT, mixedText } from './mixed.ts';
import { isMomentKind, isMomentText, momentInput } from './moment.ts';

export type KeyValue = bigint | number | string | Buffer | InvalidText | null;

/** One line of JSON with a letter for the class of each value: ["i:5","t:abc"]. Stable, so that it identifies the key. */
export function keyText(values: KeyValue[]): string {
  return JSON.stringify(values.map(taggedText));
}

function taggedText(value: KeyValue): string {
  if (value === null) return 'n:';
  if (typeof value === 'bigint') return `i:${value}`;
  if (typeof value === 'number') return `r:${Object.is(value, -0) ? '-0' : String(value)}`;
  if (typeof value === 'string') return `t:${value}`;
  if (value instanceof InvalidText) return `u:${value.bytes.toString('hex')}`;
  return `b:${value.toString('hex')}`;
}

/** Reverse of `keyText`. */
export function parseKeyText(text: string): KeyValue[] {
  return (JSON.parse(text) as string[]).map((tagged) => {
    const body = tagged.slice(2);
    switch (tagged[0]) {
      case 'i':
        return BigInt(body);
      case 'r':
        return Number(body);
      case 't':
        return body;
      case 'b':
        return Buffer.from(body, 'hex');
      case 'u':
        return new InvalidText(Buffer.from(body, 'hex'));
      default:
        return null;
    }
  });
}

/** How the target holds a value. */
type Held = Pick<ColumnPlan, 'kind'> & Partial<Pick<ColumnPlan, 'targetType'>>;

/** The value as text that PostgreSQL's input function of the column's type reads; null where the column cannot hold it. */
export function keyInput(value: KeyValue, { kind, targetType }: Held): string | null {
  if (isMomentKind(kind)) {
    return typeof value === 'string' && isMomentText(kind, value) ? momentInput(kind, value) : null;
  }
  switch (kind) {
    case 'bigint':
      return typeof value === 'bigint' ? String(value) : null;
    case 'integer':
      return typeof value === 'bigint' && BigInt.asIntN(32, value) === value ? String(value) : null;
    case 'boolean':
      return value === 0n ? 'f' : value === 1n ? 't' : null;
    case 'double':
      if (typeof value === 'number') return Object.is(value, -0) ? '-0' : String(value);
      // A NUMERIC column stores 5.0 as 5.
      return typeof value === 'bigint' && BigInt(Number(value)) === value ? String(value) : null;
    case 'numeric':
      return typeof value === 'bigint' || Number.isFinite(value) ? String(value) : null;
    case 'bytea':
      return Buffer.isBuffer(value) ? `\\x${value.toString('hex')}` : null;
    case 'mixed':
      // The two databases spell a real differently, and keys are found by their text.
      return value === null || typeof value === 'number'
        ? null
        : mixedText(value, targetType !== DIGITS_ARE_TEXT);
    case 'instant':
      return typeof value === 'bigint' ? instantText(value) : null;
    case 'uuid':
      return typeof value === 'string' && UUID.test(value) ? value : null;
    case 'date':
      return typeof value === 'string' && isDate(value) ? value : null;
    case 'text':
    case 'json':
    case 'jsonb':
      return typeof value === 'string' && !value.includes('\0') ? value : null;
  }
}

/** As PostgreSQL writes it, which is the one spelling that comes back. */
export const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Is it a day of the calendar from the year 1 on? PostgreSQL fails on 0000-00-00 and 2024-02-30. */
function isDate(text: string): boolean {
  if (!/^\d{4}-\d\d-\d\d$/.test(text) || text < '0001') return false;
  const day = new Date(`${text}T00:00:00Z`);
  return !Number.isNaN(day.getTime()) && day.toISOString().startsWith(text);
}

/** A table's key columns, in key order. */
export function keyColumns(table: TablePlan): ColumnPlan[] {
  return table.key.map((name) => table.columns.find((column) => column.name === name)!);
}

/** Types of a table's key columns on the target, in key order. */
export function keyTypes(table: TablePlan): string[] {
  return keyColumns(table).map(({ targetType }) => targetType);
}

/** A key that the target can hold, as SQL values of its columns' types. */
export function keyLiterals(table: TablePlan, key: KeyValue[]): string {
  return keyColumns(table)
    .map((column, i) => `${literal(keyInput(key[i]!, column)!)}::${column.targetType}`)
    .join(', ');
}

/** SQL literal of a one-dimensional PostgreSQL array, to be cast to its type. */
export function arrayLiteral(values: string[]): string {
  const elements = values.map((value) => `"${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`);
  return literal(`{${elements.join(',')}}`);
}

/**
 * FROM item with one row per key, columns k0, k1, …
 * @param keys each as `keyInput` texts, in key order
 */
export function keysAsRows(table: TablePlan, keys: string[][]): string {
  const types = keyTypes(table);
  const arrays = types.map(
    (type, i) => `${arrayLiteral(keys.map((key) => key[i]!))}::${type.replace(/ COLLATE .*$/, '')}[]`,
  );
  return `unnest(${arrays.join(', ')}) AS d(${types.map((_, i) => `k${i}`).join(', ')})`;
}
