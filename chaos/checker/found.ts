/** What a database holds after a run, read with plain queries. */
import { createHash } from 'node:crypto';
import Database from 'better-sqlite3';
import pg from 'pg';
import type { Entry, Holdings } from '../application/holdings.ts';

export interface Found {
  /** Entries with their items, by client. */
  holdings: Map<number, Holdings>;
  /** Items whose entry is missing. */
  orphans: number;
  accounts: Map<number, number>;
  counters: Map<number, number>;
  /** How often each operation on shared rows is noted: `client.number`. */
  operations: Map<string, number>;
  /** The rows that nobody changes: how many, and a hash of all their values. */
  ballast: { rows: number; hash: string };
}

type Query = (sql: string) => Promise<Record<string, unknown>[]>;

export async function readSource(path: string): Promise<Found> {
  const db = new Database(path, { readonly: true, timeout: 10_000 });
  try {
    return await read(async (sql) => db.prepare(sql).all() as Record<string, unknown>[]);
  } finally {
    db.close();
  }
}

export async function readTarget(url: string): Promise<Found> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    return await read(async (sql) => (await client.query<Record<string, unknown>>(sql)).rows);
  } finally {
    await client.end();
  }
}

async function read(query: Query): Promise<Found> {
  const holdings = new Map<number, Holdings>();
  for (const row of await query('SELECT client, k, slot, n, v FROM entry')) {
    const client = Number(row['client']);
    const own = holdings.get(client) ?? new Map<number, Entry>();
    holdings.set(client, own);
    const slot = row['slot'] === null ? null : Number(row['slot']);
    own.set(Number(row['k']), { slot, n: Number(row['n']), v: String(row['v']), notes: [] });
  }
  let orphans = 0;
  for (const row of await query('SELECT client, k, note FROM item ORDER BY id')) {
    const entry = holdings.get(Number(row['client']))?.get(Number(row['k']));
    if (entry === undefined) orphans++;
    else entry.notes.push(String(row['note']));
  }
  const operations = new Map<string, number>();
  for (const row of await query('SELECT client, number FROM operation')) {
    const name = `${String(row['client'])}.${String(row['number'])}`;
    operations.set(name, (operations.get(name) ?? 0) + 1);
  }
  const numbers = (rows: Record<string, unknown>[], column: string): Map<number, number> =>
    new Map(rows.map((row) => [Number(row['id']), Number(row[column])]));
  const ballast = await query('SELECT id, code, amount, note FROM ballast ORDER BY id');
  const hash = createHash('sha256');
  for (const { id, code, amount, note } of ballast)
    hash.update(JSON.stringify([Number(id), code, amount, note]));
  return {
    holdings,
    orphans,
    accounts: numbers(await query('SELECT id, balance FROM account'), 'balance'),
    counters: numbers(await query('SELECT id, n FROM counter'), 'n'),
    operations,
    ballast: { rows: ballast.length, hash: hash.digest('hex') },
  };
}
