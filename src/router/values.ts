/** Values between JavaScript and the two drivers, so that both databases take and give the same ones. */
import { types } from 'node:util';
import type pg from 'pg';
import type { Value } from '../databases/adapter.ts';
import { InvalidText } from '../databases/invalid-text.ts';
import { mixedValue } from '../databases/mixed.ts';
import { CrossfadeError } from '../errors.ts';
import { ROW_NUMBER_COLUMN } from '../protocol.ts';

const { isUint8Array } = types;

function refuse(value: unknown, index: number): never {
  const kind =
    value === undefined ? 'undefined' : value instanceof Date ? 'a Date' : `of type ${typeof value}`;
  throw new CrossfadeError(
    'InvalidInput',
    `parameter ${index + 1} is ${kind}: pass a number, bigint, string, boolean, Buffer or null`,
  );
}

/** True where better-sqlite3 binds the value as it is. */
function bindable(value: Value): boolean {
  const type = typeof value;
  return type === 'number' || type === 'string' || type === 'bigint' || value === null;
}

/** Parameters for better-sqlite3. @throws CrossfadeError InvalidInput */
export function sqliteParams(params: readonly Value[]): readonly unknown[] {
  for (let i = 0; i < params.length; i += 1) {
    if (!bindable(params[i] as Value)) return params.map(sqliteParam);
  }
  return params;
}

function sqliteParam(value: Value, index: number): unknown {
  if (bindable(value) || isUint8Array(value)) return value;
  // As an integer: a JavaScript number would be bound as 1.0.
  if (typeof value === 'boolean') return value ? 1n : 0n;
  return refuse(value, index);
}

/** Parameters for pg, as text but for bytes. @throws CrossfadeError InvalidInput */
export function postgresParams(params: readonly Value[]): (string | Buffer | null)[] {
  return params.map(postgresParam);
}

function postgresParam(value: Value, index: number): string | Buffer | null {
  switch (typeof value) {
    case 'string':
      return value;
    case 'number':
      // SQLite stores NaN as NULL, PostgreSQL would store it.
      return Number.isNaN(value) ? null : String(value);
    case 'bigint':
      return String(value);
    case 'boolean':
      // Read alike by boolean and integer columns.
      return value ? '1' : '0';
    default:
      if (value === null) return null;
      if (isUint8Array(value)) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
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

/**
 * Result types of pg that make its values equal to better-sqlite3's: booleans as 1 and 0, json and dates as text.
 * @param safeIntegers integers as bigint, as better-sqlite3's option of that name
 */
export function resultTypes(safeIntegers: boolean): pg.CustomTypesConfig {
  const integer: Parse = safeIntegers ? BigInt : Number;
  const numeric: Parse = safeIntegers
    ? (text) => (/^-?\d+$/.test(text) ? BigInt(text) : Number(text))
    : Number;
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

function asDriver(value: ReturnType<typeof mixedValue>, safeIntegers: boolean): unknown {
  if (typeof value === 'bigint' && !safeIntegers) return Number(value);
  return value instanceof InvalidText ? value.toString() : value;
}

/**
 * Makes of a result what better-sqlite3 would have given, in place: without the row numbers of a table that has no key,
 * and with the values of mixed columns as they were. On the target varchar is the type of these columns
 * alone; what a query casts to varchar belongs to no table and stays text.
 */
export function asSqlite<T extends pg.QueryResult>(result: T, safeIntegers: boolean): T {
  if (result.fields.some(({ name }) => name === ROW_NUMBER_COLUMN)) {
    for (const row of result.rows as Record<string, unknown>[]) delete row[ROW_NUMBER_COLUMN];
  }
  for (const { name, dataTypeID, tableID } of result.fields) {
    if (dataTypeID !== OID.varchar || tableID === 0) continue;
    for (const row of result.rows as Record<string, unknown>[]) {
      const text = row[name];
      if (typeof text !== 'string') continue;
      const value = mixedValue(text);
      row[name] = asDriver(value, safeIntegers);
    }
  }
  return result;
}
