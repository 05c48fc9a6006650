/** Values between JavaScript and the two drivers, so that both databases take and give the same ones. */
import { types } from 'node:util';
import type pg from 'pg';
import type { Value } from '../databases/adapter.ts';
import { instantMs } from '../databases/instant.ts';
import { InvalidText } from '../databases/invalid-text.ts';
import { DIGITS_ARE_TEXT_MODIFIER, mixedValue } from '../databases/mixed.ts';
import { momentText, USUAL_MOMENTS, type HeldMoments } from '../databases/moment.ts';
import { CrossfadeError } from '../errors.ts';
import { ROW_NUMBER_COLUMN } from '../protocol.ts';

const { isUint8Array } = types;

/** @throws CrossfadeError InvalidInput */
export function refuse(value: unknown, index: number): never {
  const kind =
    value === undefined ? 'undefined' : value instanceof Date ? 'a Date' : `of type ${typeof value}`;
  throw new CrossfadeError(
    'InvalidInput',
    `parameter ${index + 1} is ${kind}: pass a number, bigint, string, boolean, Buffer or null`,
  );
}

/** @throws CrossfadeError InvalidInput */
export function assertArray(params: readonly Value[]): void {
  if (Array.isArray(params)) return;
  throw new CrossfadeError(
    'InvalidInput',
    'the parameters are no array: write ? or ?1 in the statement, as names (:name, @name) are not taken',
  );
}

/** True where better-sqlite3 binds the value as it is. */
function bindable(value: Value): boolean {
  const type = typeof value;
  if (type === 'string') return (value as string).isWellFormed();
  return type === 'number' || type === 'bigint' || value === null;
}

/** Parameters for better-sqlite3. @throws CrossfadeError InvalidInput */
export function sqliteParams(params: readonly Value[]): readonly unknown[] {
  assertArray(params);
  for (let i = 0; i < params.length; i += 1) {
    if (!bindable(params[i] as Value)) return params.map(sqliteParam);
  }
  return params;
}

function sqliteParam(value: Value, index: number): unknown {
  // A lone surrogate has no UTF-8: better-sqlite3 would store bytes that are none, pg sends U+FFFD.
  if (typeof value === 'string') return value.toWellFormed();
  if (bindable(value) || isUint8Array(value)) return value;
  // As an integer: a JavaScript number would be bound as 1.0.
  if (typeof value === 'boolean') return value ? 1n : 0n;
  return refuse(value, index);
}

/** Parameters for pg, as text. @throws CrossfadeError InvalidInput */
export function postgresParams(params: readonly Value[]): (string | null)[] {
  assertArray(params);
  return params.map(postgresParam);
}

function postgresParam(value: Value, index: number): string | null {
  switch (typeof value) {
    case 'string':
      return value;
    case 'number':
      // SQLite stores NaN as NULL, PostgreSQL would store it.
      if (Number.isNaN(value)) return null;
      // SQLite makes an integer of it, with the digits that String() leaves out beyond 2^53.
      return Number.isInteger(value) && Math.abs(value) > 2 ** 53 && Math.abs(value) < 2 ** 63
        ? String(BigInt(value))
        : String(value);
    case 'bigint':
      return String(value);
    case 'boolean':
      // Read alike by boolean and integer columns.
      return value ? '1' : '0';
    default:
      if (value === null) return null;
      // Read alike by bytea and by a column of several storage classes; as bytes, the latter would take them for text.
      if (isUint8Array(value)) {
        return `\\x${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}`;
      }
      return refuse(value, index);
  }
}

/** Type numbers of PostgreSQL's catalogue, https://github.com/postgres/postgres/blob/REL_18_STABLE/src/include/catalog/pg_type.dat */
const OID = {
  bool: 16,
  bytea: 17,
  int8: 20,
  int2: 21,
  int4: 23,
  oid: 26,
  float4: 700,
  float8: 701,
  varchar: 1043,
  numeric: 1700,
  timestamp: 1114,
  timestamptz: 1184,
};

type Parse = (text: string) => unknown;

const asIs: Parse = (text) => text;

function bytes(text: string): Buffer {
  if (text.startsWith('\\x')) return Buffer.from(text.slice(2), 'hex');
  throw new CrossfadeError(
    'BadConnection',
    "the target sends bytea in another form than hex: set bytea_output = 'hex'",
  );
}

/** An integer as the application gets it: a number where one holds it exactly. */
export function narrowed(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** SQLite's integers have 64 bits. */
export const LEAST_INTEGER = -(2n ** 63n);
export const GREATEST_INTEGER = 2n ** 63n - 1n;

/** Beyond its integers SQLite goes on with reals. */
function isSqliteInteger(value: bigint): boolean {
  return value >= LEAST_INTEGER && value <= GREATEST_INTEGER;
}

/** Might the driver have rounded a number of this row, which came from an integer? */
export function mayBeRounded(row: Record<string, unknown>): boolean {
  for (const name in row) {
    const value = row[name];
    if (typeof value !== 'number' || Number.isSafeInteger(value) || !Number.isInteger(value)) continue;
    if (Math.abs(value) <= 2 ** 63) return true;
  }
  return false;
}

/** Every bigint of a row that a number holds becomes one, in place. */
export function narrowRow<T extends Record<string, unknown>>(row: T): T {
  for (const name in row) {
    const value: unknown = row[name];
    if (typeof value === 'bigint') (row as Record<string, unknown>)[name] = narrowed(value);
  }
  return row;
}

/**
 * Result types of pg that make its values equal to better-sqlite3's: booleans as 1 and 0, json and dates as text.
 * @param safeIntegers every integer as bigint, not only those that no number holds
 */
export function resultTypes(safeIntegers: boolean): pg.CustomTypesConfig {
  const integer: Parse = safeIntegers
    ? BigInt
    : (text) => {
        const number = Number(text);
        return Number.isSafeInteger(number) ? number : BigInt(text);
      };
  const numeric: Parse = (text) => {
    const number = Number(text);
    if (!/^-?\d+$/.test(text) || (!safeIntegers && Number.isSafeInteger(number))) return number;
    const whole = BigInt(text);
    return isSqliteInteger(whole) ? whole : number;
  };
  const yes = integer('1');
  const no = integer('0');
  const parsers = new Map<number, Parse>([
    [OID.bool, (text) => (text === 't' ? yes : no)],
    [OID.bytea, bytes],
    [OID.int2, integer],
    [OID.int4, integer],
    [OID.int8, integer],
    [OID.oid, integer],
    [OID.float4, Number],
    [OID.float8, Number],
    [OID.numeric, numeric],
  ]);
  return { getTypeParser: (oid: number) => parsers.get(oid) ?? asIs };
}

/** Type modifier of timestamptz(3). */
const MILLISECONDS = 3;
const NO_MODIFIER = -1;

type Decode = (text: string) => ReturnType<typeof mixedValue>;
const milliseconds: Decode = (text) => instantMs(text) ?? text;
const withoutNumbers: Decode = (text) => mixedValue(text, false);

/** See `asSqlite`. */
function decodeOf(
  { dataTypeID, dataTypeModifier, tableID }: pg.FieldDef,
  moments: HeldMoments,
): Decode | null {
  if (dataTypeID === OID.timestamp && dataTypeModifier === NO_MODIFIER) {
    return (text) => momentText(moments.timestamp, text) ?? text;
  }
  if (dataTypeID === OID.timestamptz && dataTypeModifier === NO_MODIFIER) {
    return (text) => momentText(moments.timestamptz, text) ?? text;
  }
  if (tableID === 0) return null;
  if (dataTypeID === OID.varchar)
    return dataTypeModifier === DIGITS_ARE_TEXT_MODIFIER ? withoutNumbers : mixedValue;
  return dataTypeID === OID.timestamptz && dataTypeModifier === MILLISECONDS ? milliseconds : null;
}

function asDriver(value: ReturnType<typeof mixedValue>, safeIntegers: boolean): unknown {
  if (typeof value === 'bigint' && !safeIntegers) return narrowed(value);
  return value instanceof InvalidText ? value.toString() : value;
}

/**
 * Makes of a result what better-sqlite3 would have given, in place: without the row numbers of a table that has no key,
 * and with the values of mixed columns and of milliseconds as they were. On the target varchar and timestamptz(3) are the types of
 * these columns alone; what a query casts to them belongs to no table and stays text. A timestamp or timestamptz becomes a
 * text of the form that the source has in such columns, and so do the results of functions over it.
 */
export function asSqlite<T extends pg.QueryResult>(
  result: T,
  safeIntegers: boolean,
  moments: HeldMoments = USUAL_MOMENTS,
): T {
  if (result.fields.some(({ name }) => name === ROW_NUMBER_COLUMN)) {
    for (const row of result.rows as Record<string, unknown>[]) delete row[ROW_NUMBER_COLUMN];
  }
  for (const field of result.fields) {
    const { name } = field;
    const decode = decodeOf(field, moments);
    if (decode === null) continue;
    for (const row of result.rows as Record<string, unknown>[]) {
      const text = row[name];
      if (typeof text !== 'string') continue;
      row[name] = asDriver(decode(text), safeIntegers);
    }
  }
  return result;
}
