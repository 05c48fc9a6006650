/**
 * Compares the two databases by a way of its own: every row read by plain drivers, every value named by its bits.
 * Shares nothing with the engine's verification; of the plan it takes the names on the target, and nothing else.
 */
import { isUtf8 } from 'node:buffer';
import type Database from 'better-sqlite3';
import type pg from 'pg';
import type { Plan, TablePlan } from '../../src/contract.ts';

const BIGINT = 20;
const INTEGER = 23;
const DOUBLE = 701;
const NUMERIC = 1700;
const BOOLEAN = 16;
const BYTEA = 17;
const VARCHAR = 1043;
const TIMESTAMP = 1114;
const TIMESTAMPTZ = 1184;

export const quote = (name: string): string => `"${name.replaceAll('"', '""')}"`;

function real(value: number): string {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(value);
  return `d${bytes.toString('hex')} (${Object.is(value, -0) ? '-0' : value})`;
}

/** Numbers that are equal are the same, where the target's column has one class only. */
function number(value: number): string {
  return Number.isInteger(value) && !Object.is(value, -0) ? `n${BigInt(value)}` : real(value);
}

function text(bytes: Buffer): string {
  return isUtf8(bytes) && !bytes.includes(0) ? `t${bytes.toString('utf8')}` : `T${bytes.toString('hex')}`;
}

/** How `fromSource` wants a column: texts and blobs as bytes, behind a letter that says which. */
function sourceSql(column: string): string {
  return (
    `CASE typeof(${column}) WHEN 'text' THEN CAST('t' || ${column} AS BLOB) ` +
    `WHEN 'blob' THEN CAST('b' || ${column} AS BLOB) ELSE ${column} END`
  );
}

/** How a column of the source treats numbers (sqlite.org/datatype3.html, 3.1). */
type Numbers = 'kept' | 'converted' | 'none';

/** @param exact are 5 and 5.0 two values? */
function fromSource(value: unknown, exact: boolean): string {
  if (value === null) return '-';
  if (typeof value === 'bigint') return `n${value}`;
  if (typeof value === 'number') return exact ? real(value) : number(value);
  const bytes = (value as Buffer).subarray(1);
  return (value as Buffer)[0] === 0x62 ? `b${bytes.toString('hex')}` : text(bytes);
}

/** PostgreSQL's text in UTC, written as a form such as YYYY-MM-DDTHH:MM:SS.SSSZ has it. */
function written(value: string, form: string): string {
  const [, day, time, fraction = ''] = /^(\S+) ([\d:]+)(?:\.(\d+))?(?:\+00)?$/.exec(value)!;
  const [, separator, digits = '', zone] = /^YYYY-MM-DD(.)HH:MM:SS(?:\.(S+))?(.*)$/.exec(form)!;
  const shown = fraction.padEnd(digits.length, '0');
  return `${day!}${separator!}${time!}${shown === '' ? '' : `.${shown}`}${zone!}`;
}

/** @param form of a date */
function fromTarget(value: string | null, field: pg.FieldDef, numbers: Numbers, form?: string): string {
  if (value === null) return '-';
  const { dataTypeID, dataTypeModifier: modifier } = field;
  switch (dataTypeID) {
    case BIGINT:
    case INTEGER:
      return `n${value}`;
    case NUMERIC:
      return /^-?\d+(\.0+)?$/.test(value) ? `n${BigInt(value.replace(/\..*/, ''))}` : number(Number(value));
    case DOUBLE:
      // -0 becomes 0 in a column that converts.
      return number(numbers === 'converted' ? Number(value) + 0 : Number(value));
    case BOOLEAN:
      return value === 't' ? 'n1' : 'n0';
    case BYTEA:
      return `b${value.slice(2)}`;
    case TIMESTAMP:
      return `t${written(value, form ?? 'YYYY-MM-DD HH:MM:SS')}`;
    case TIMESTAMPTZ:
      // Milliseconds are timestamptz(3).
      return modifier === 3
        ? `n${new Date(value.replace(' ', 'T').replace(/\+00$/, 'Z')).getTime()}`
        : `t${written(value, form ?? 'YYYY-MM-DDTHH:MM:SS.SSSZ')}`;
    case VARCHAR:
      return fromMixed(value, numbers);
    default:
      return `t${value}`;
  }
}

/** The text of a column of several storage classes, read by rules of its own. */
function fromMixed(value: string, numbers: Numbers): string {
  const core = value.replace(/^(\\s)+/, '');
  const isText = fromUnmarked(core, numbers) === `t${core}`;
  return core === value ? fromUnmarked(value, numbers) : `t${isText ? value : value.slice(2)}`;
}

function fromUnmarked(value: string, numbers: Numbers): string {
  const marked = /^\\([xt])((?:[0-9a-f]{2})*)$/.exec(value);
  if (marked?.[1] === 'x') return `b${marked[2]}`;
  const bytes = Buffer.from(marked?.[2] ?? '', 'hex');
  if (text(bytes).startsWith('T')) return text(bytes);
  if (numbers !== 'none' && /^\\r-?Inf$/.test(value)) return real(value === '\\rInf' ? Infinity : -Infinity);
  if (numbers === 'none' || !/^-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?$/.test(value)) return `t${value}`;
  if (/^-?[0-9]+$/.test(value) && BigInt.asIntN(64, BigInt(value)) === BigInt(value))
    return `n${BigInt(value)}`;
  return numbers === 'kept' ? real(Number(value)) : number(Number(value) + 0);
}

function numbersOf({ declared, strict, generated }: SourceColumn): Numbers {
  // Computed from a -0 that the source does not have.
  if (generated) return 'converted';
  if (strict && declared.toUpperCase() === 'ANY') return 'kept';
  if (/INT/i.test(declared)) return 'converted';
  if (/CHAR|CLOB|TEXT/i.test(declared)) return 'none';
  return /BLOB|^$/i.test(declared) ? 'kept' : 'converted';
}

interface SourceColumn {
  name: string;
  declared: string;
  strict: boolean;
  generated: boolean;
}

/** The application's own tables in the file, generated columns included. */
export function sourceTables(db: Database.Database): Map<string, SourceColumn[]> {
  const rows = db
    .prepare(
      `SELECT l.name AS "table", l.strict, c.name, c.type AS declared, c.hidden > 0 AS generated
         FROM pragma_table_list l JOIN pragma_table_xinfo(l.name) c
        WHERE l.schema = 'main' AND l.type = 'table' AND l.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
          AND l.name NOT LIKE '\\_crossfade\\_%' ESCAPE '\\' AND c.hidden IN (0, 2, 3) ORDER BY l.name, c.cid`,
    )
    .all() as { table: string; strict: number; name: string; declared: string; generated: number }[];
  const tables = new Map<string, SourceColumn[]>();
  for (const { table, strict, name, declared, generated } of rows) {
    tables.set(table, [
      ...(tables.get(table) ?? []),
      { name, declared, strict: strict === 1, generated: generated === 1 },
    ]);
  }
  return tables;
}

/** The name on the target; one that the plan does not tell is the same there. */
export function targetName(things: { name: string; targetName?: string }[], name: string): string {
  return things.find((thing) => thing.name === name)?.targetName ?? name;
}

/** The forms of dates that comments on the columns tell. */
async function formsOf(client: pg.Client, table: string): Promise<Map<string, string>> {
  const { rows } = await client.query<{ name: string; form: string }>(
    `SELECT attname AS name, replace(col_description(attrelid, attnum), 'crossfade: ', '') AS form
       FROM pg_attribute WHERE attrelid = $1::regclass AND col_description(attrelid, attnum) IS NOT NULL`,
    [`public.${quote(table)}`],
  );
  return new Map(rows.map(({ name, form }) => [name, form]));
}

async function targetRows(
  client: pg.Client,
  sql: string,
  numbers: Numbers[],
  forms: Map<string, string>,
): Promise<string[]> {
  const { rows, fields } = await client.query<(string | null)[]>({
    text: sql,
    rowMode: 'array',
    types: { getTypeParser: () => (value: unknown) => value },
  });
  return rows.map((row) =>
    row.map((value, i) => fromTarget(value, fields[i]!, numbers[i]!, forms.get(fields[i]!.name))).join(' | '),
  );
}

/** @returns what the first has more often than the second */
function surplus(these: string[], those: string[]): string[] {
  const left = new Map<string, number>();
  for (const row of those) left.set(row, (left.get(row) ?? 0) + 1);
  return these.filter((row) => {
    const n = left.get(row) ?? 0;
    left.set(row, n - 1);
    return n <= 0;
  });
}

async function tableDifferences(
  db: Database.Database,
  client: pg.Client,
  name: string,
  columns: SourceColumn[],
  planned: TablePlan | undefined,
): Promise<string[]> {
  const there = targetName(planned === undefined ? [] : [planned], name);
  const plannedColumns = [...(planned?.columns ?? []), ...(planned?.generated ?? [])];
  const theirs = columns.map((column) => quote(targetName(plannedColumns, column.name))).join(', ');
  const select = `SELECT ${theirs} FROM public.${quote(there)}`;
  const { fields } = await client.query({ text: `${select} LIMIT 0`, rowMode: 'array' });
  const numbers = columns.map((column) => numbersOf(column));
  const exact = numbers.map((of, i) => of === 'kept' && fields[i]!.dataTypeID === VARCHAR);
  const source = db
    .prepare(
      `SELECT ${columns.map((column) => sourceSql(quote(column.name))).join(', ')} FROM ${quote(name)}`,
    )
    .safeIntegers()
    .raw()
    .all() as unknown[][];
  const rows = source.map((row) =>
    row
      .map((value, i) => fromSource(columns[i]!.generated && value === 0 ? 0 : value, exact[i]!))
      .join(' | '),
  );
  const target = await targetRows(client, select, numbers, await formsOf(client, there));
  return [
    ...surplus(rows, target).map((row) => `${name}, source only: ${row}`),
    ...surplus(target, rows).map((row) => `${name}, target only: ${row}`),
  ];
}

/** Rows that only one of the databases has, each with its table and side; empty where they hold the same. */
export async function differences(db: Database.Database, client: pg.Client, plan: Plan): Promise<string[]> {
  await client.query(
    `SET DateStyle = 'ISO, YMD'; SET bytea_output = 'hex'; SET extra_float_digits = 3; SET TimeZone = 'UTC'`,
  );
  const found: string[] = [];
  for (const [name, columns] of sourceTables(db)) {
    const planned = plan.tables.find((table) => table.name === name);
    found.push(...(await tableDifferences(db, client, name, columns, planned)));
  }
  return found;
}

/** Every row of every table with its storage classes, and sqlite_sequence: what a way back must leave as it was. */
export function contents(db: Database.Database): string[] {
  const found: string[] = [];
  for (const [name, columns] of sourceTables(db)) {
    const rows = db
      .prepare(
        `SELECT ${columns.map((column) => sourceSql(quote(column.name))).join(', ')} FROM ${quote(name)}`,
      )
      .safeIntegers()
      .raw()
      .all() as unknown[][];
    found.push(...rows.map((row) => `${name}: ${row.map((value) => fromSource(value, true)).join(' | ')}`));
  }
  return found.sort();
}

/** The schema as the file has it, our own objects included, in an order of its own. */
export function schemaOf(db: Database.Database): string[] {
  const rows = db.prepare('SELECT type, name, tbl_name, sql FROM sqlite_master').raw().all() as unknown[][];
  return rows.map((row) => row.join(' | ')).sort();
}
