/** Tells whether a target holds what the source holds, by code that shares nothing with the engine's encoding. */
import Database from 'better-sqlite3';
import type { ColumnPlan, Plan, TablePlan } from '../src/contract.ts';
import { quoted } from '../src/databases/identifiers.ts';
import { isMomentKind } from '../src/databases/moment.ts';
import { withClient } from './target.ts';

/** Sums in floating point depend on their order. */
const TOLERANCE = 1e-9;

/** A checksum of one column that both databases can compute: a sum of values or lengths. */
function sumSql(column: ColumnPlan): { sqlite: string; postgres: string } {
  const c = quoted(column.name);
  if (column.kind === 'date' || isMomentKind(column.kind)) {
    return { sqlite: `sum(unixepoch(${c}))`, postgres: `sum(floor(extract(epoch FROM ${c})))` };
  }
  switch (column.kind) {
    case 'bigint':
    case 'integer':
    case 'double':
    case 'numeric':
      return { sqlite: `sum(${c})`, postgres: `sum(${c})` };
    case 'boolean':
      return { sqlite: `sum(${c})`, postgres: `sum(${c}::int)` };
    case 'text':
    case 'uuid':
    case 'json':
    case 'jsonb':
    case 'mixed':
      return { sqlite: `sum(octet_length(${c}))`, postgres: `sum(octet_length(${c}::text))` };
    case 'bytea':
      return { sqlite: `sum(length(${c}))`, postgres: `sum(length(${c}))` };
    case 'instant':
      return { sqlite: `sum(${c})`, postgres: `sum(extract(epoch FROM ${c}) * 1000)` };
  }
}

/** Number of rows, and of values and their sum in each column, by table. */
export type Sums = Map<string, number[]>;

function sumsSql(table: TablePlan, dialect: 'sqlite' | 'postgres', from: string): string {
  const columns = table.columns.flatMap((column) => [
    `count(${quoted(column.name)})`,
    `coalesce(${sumSql(column)[dialect]}, 0)`,
  ]);
  return `SELECT count(*), ${columns.join(', ')} FROM ${from}`;
}

/** @throws Error naming table and column where the target's counts or sums are not the source's */
export async function requireSums(source: Sums, url: string, plan: Plan): Promise<void> {
  const target = await targetSums(url, plan);
  for (const table of plan.tables) {
    const [expected, found] = [source.get(table.name)!, target.get(table.name)!];
    expected.forEach((value, i) => {
      const other = found[i]!;
      if (Math.abs(value - other) <= Math.abs(value) * TOLERANCE) return;
      const column = i === 0 ? 'rows' : table.columns[(i - 1) >> 1]!.name;
      throw new Error(`${table.name}.${column}: the source gives ${value}, the target ${other}`);
    });
  }
}

export function sourceSums(path: string, plan: Plan): Sums {
  const db = new Database(path, { readonly: true });
  try {
    return new Map(
      plan.tables.map((table) => {
        const row = db
          .prepare(sumsSql(table, 'sqlite', quoted(table.name)))
          .raw()
          .get() as unknown[];
        return [table.name, row.map(Number)];
      }),
    );
  } finally {
    db.close();
  }
}

function targetSums(url: string, plan: Plan): Promise<Sums> {
  return withClient(url, async (client) => {
    const sums: Sums = new Map();
    for (const table of plan.tables) {
      const text = sumsSql(table, 'postgres', `public.${quoted(table.name)}`);
      const { rows } = await client.query<unknown[]>({ text, rowMode: 'array' });
      sums.set(table.name, rows[0]!.map(Number));
    }
    return sums;
  });
}

/** Rows of all tables of the target, whatever their columns. */
export function countRows(url: string, plan: Plan): Promise<number> {
  return withClient(url, async (client) => {
    let total = 0;
    for (const { name } of plan.tables) {
      const { rows } = await client.query<{ n: string }>(`SELECT count(*) AS n FROM public.${quoted(name)}`);
      total += Number(rows[0]!.n);
    }
    return total;
  });
}

/** What a target holds, for comparing targets with one another. */
export interface Fingerprint {
  /** Rows and hashes of everything but doubles. */
  text: string;
  /** Hashes of the doubles, which some programs round on their way. */
  doubles: string;
}

/** Hash of one value, mixed with `seed`, so that it belongs to its row. */
function hashSql(column: ColumnPlan, seed: string): string {
  const c = quoted(column.name);
  if (column.kind === 'date' || isMomentKind(column.kind)) {
    return `timestamp_hash_extended(${c}::timestamp, ${seed})`;
  }
  switch (column.kind) {
    case 'bigint':
    case 'integer':
      return `hashint8extended(${c}, ${seed})`;
    case 'double':
      return `hashfloat8extended(${c}, ${seed})`;
    case 'numeric':
      return `hash_numeric_extended(${c}, ${seed})`;
    case 'boolean':
      return `hashint4extended(${c}::int, ${seed})`;
    case 'text':
    case 'mixed':
      return `hashtextextended(${c}, ${seed})`;
    case 'json':
    case 'jsonb':
      return `hashtextextended(${c}::text, ${seed})`;
    case 'bytea':
      return `hashtextextended(encode(${c}, 'hex'), ${seed})`;
    case 'uuid':
      return `uuid_hash_extended(${c}, ${seed})`;
    case 'instant':
      return `timestamp_hash_extended(${c} AT TIME ZONE 'UTC', ${seed})`;
  }
}

/** Reads every table once. */
export function fingerprint(url: string, plan: Plan): Promise<Fingerprint> {
  return withClient(url, async (client) => {
    const found: Fingerprint = { text: '', doubles: '' };
    for (const table of plan.tables) {
      const key = table.key.reduce(
        (seed, name) =>
          hashSql(
            table.columns.find((column) => column.name === name)!,
            seed,
          ),
        '0',
      );
      const hashes = table.columns.map((column) => `sum(${hashSql(column, 'k')})`);
      const { rows } = await client.query<string[]>({
        text: `SELECT count(*), ${hashes.join(', ')} FROM (SELECT *, ${key} AS k FROM public.${quoted(table.name)}) AS t`,
        rowMode: 'array',
      });
      const [total, ...sums] = rows[0]!;
      found.text += `${table.name}: ${total} rows`;
      table.columns.forEach((column, i) => {
        if (column.kind === 'double') found.doubles += ` ${sums[i]}`;
        else found.text += ` ${sums[i]}`;
      });
      found.text += '; ';
    }
    return found;
  });
}
