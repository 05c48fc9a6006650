/** PostgreSQL for the benchmark: databases of its own on a server that is there, or on an embedded one. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import pg from 'pg';
import { driverCode } from '../src/errors.ts';
import { connectionConfig } from '../src/databases/postgres/connection.ts';
import { startPostgres } from '../src/embedded/postgres.ts';
import type { Cleanup } from './cleanup.ts';

const LOCAL = 'postgres://postgres@127.0.0.1:5432/postgres';

export interface TargetServer {
  /** Which one it is, for people. */
  name: string;
  /** URL of a database from which others are created. */
  url: string;
}

/** @param directory where an embedded server keeps its data */
export async function findServer(
  directory: string,
  cleanup: Cleanup,
  onLine: (line: string) => void,
): Promise<TargetServer> {
  const named = process.env['TARGET_URL'];
  if (named !== undefined && named !== '') return { name: 'server of TARGET_URL', url: named };
  if (await answers(LOCAL)) return { name: 'server on 127.0.0.1:5432', url: LOCAL };
  const server = await startPostgres({ dataDir: join(directory, 'postgres'), temporary: true, onLine });
  cleanup.add('stop PostgreSQL', () => server.stop());
  return { name: 'embedded server', url: server.url };
}

async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2_000 });
  try {
    await client.connect();
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Runs `work` on a connection of its own. */
export async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(connectionConfig(url));
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

export interface TargetDatabase {
  url: string;
  drop(): Promise<void>;
}

/** Creates an empty database; `drop` removes it, open connections included. */
export async function createDatabase(server: TargetServer): Promise<TargetDatabase> {
  const name = `crossfade_bench_${randomBytes(6).toString('hex')}`;
  await withClient(server.url, (client) => client.query(`CREATE DATABASE ${name}`));
  const url = new URL(server.url);
  url.pathname = `/${name}`;
  return {
    url: url.toString(),
    drop: async () => {
      await withClient(server.url, (client) => client.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`));
    },
  };
}

/**
 * Writes out what earlier runs left dirty, so that a run does not pay for the one before it.
 * @returns false where the role may not
 */
export async function settle(url: string): Promise<boolean> {
  try {
    await withClient(url, (client) => client.query('CHECKPOINT'));
    return true;
  } catch (error) {
    // 42501 insufficient_privilege
    if (driverCode(error) === '42501') return false;
    throw error;
  }
}
