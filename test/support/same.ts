/**
 * Compares the two databases by a way of its own: every row read by plain drivers, every value named by its bits.
 * Shares nothing with the engine's verification.
 */
import type Database from 'better-sqlite3';
import type pg from 'pg';
import type { Plan } from '../../src/contract.ts';

const BIGINT = 20;
const DOUBLE = 701;
const NUMERIC = 1700;
const BOOLEAN = 16;
const BYTEA = 17;
const VARCHAR = 1043;

const quote = (name: string): string => `"${name.replaceAll('"', '""')}"`;

function double(value: number): string {
  if (Number.isInteger(value) && !Object.is(value, -0)) return `n${BigInt(value)}`;
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(value);
  return `d${bytes.toString('hex')}`;
}

/** A source value; numbers that are equal are the same, because the target's column has one class only. */
function fromSource(value: unknown): string {
  if (value === null) return '-';
  if (typeof value === 'bigint') return `n${value}`;
  if (typeof value === 'number') return double(value);
  if (Buffer.isBuffer(value)) return `b${value.toString('hex')}`;
  return `t${String(value)}`;
}

function fromTarget(text: string | null, type: number): string {
  if (text === null) return '-';
  switch (type) {
    case BIGINT:
      return `n${text}`;
    case NUMERIC:
      return /^-?\d+$/.test(text) ? `n${text}` : double(Number(text));
    case DOUBLE:
      return double(Number(text.replace('Infinity', 'Infinity')));
    case BOOLEAN:
      return text === 't' ? 'n1' : 'n0';
    case BYTEA:
      return `b${text.slice(2)}`;
    case VARCHAR:
      return fromMixed(text);
    default:
      return `t${text}`;
  }
}

/** The text of a column of several storage classes, read by rules of its own. */
function fromMixed(text: string): string {
  if (text.startsWith('\\x')) return `b${text.slice(2)}`;
  if (text.startsWith('\\s')) return `t${text.slice(2)}`;
  if (text.startsWith('\\r')) return double(text === '\\rInf' ? Infinity : -Infinity);
  if (/^-?[0-9]+$/.test(text)) return `n${BigInt(text)}`;
  return /^-?[0-9][0-9.]*(e[+-]?[0-9]+)?$/.test(text) ? double(Number(text)) : `t${text}`;
}

async function targetRows(client: pg.Client, sql: string): Promise<string[]> {
  const { rows, fields } = await client.query<(string | null)[]>({
    text: sql,
    rowMode: 'array',
    types: { getTypeParser: () => (value: unknown) => value },
  });
  return rows.map((row) => row.map((text, i) => fromTarget(text, fields[i]!.dataTypeID)).join(' | '));
}

/** Rows that only one of the databases has, each with its table and side; empty where they hold the same. */
export async function differences(db: Database.Database, client: pg.Client, plan: Plan): Promise<string[]> {
  await client.query(
    `SET DateStyle = 'ISO, YMD'; SET bytea_output = 'hex'; SET extra_float_digits = 3; SET TimeZone = 'UTC'`,
  );
  const found: string[] = [];
  for (const table of plan.tables) {
    const columns = [...table.columns, ...(table.generated ?? [])]
      .map((column) => quote(column.name))
      .join(', ');
    const source = db
      .prepare(`SELECT ${columns} FROM ${quote(table.name)}`)
      .safeIntegers()
      .raw()
      .all() as unknown[][];
    const rows = source.map((row) => row.map(fromSource).join(' | '));
    const there = [...table.columns, ...(table.generated ?? [])]
      .map((column) => quote(column.targetName ?? column.name))
      .join(', ');
    const target = await targetRows(
      client,
      `SELECT ${there} FROM public.${quote(table.targetName ?? table.name)}`,
    );
    const [inSource, inTarget] = [new Set(rows), new Set(target)];
    found.push(
      ...rows.filter((row) => !inTarget.has(row)).map((row) => `${table.name}, source only: ${row}`),
    );
    found.push(
      ...target.filter((row) => !inSource.has(row)).map((row) => `${table.name}, target only: ${row}`),
    );
    if (rows.length !== target.length)
      found.push(`${table.name}: ${rows.length} rows, ${target.length} on the target`);
  }
  return found;
}
