/** A PostgreSQL server for tests: TEST_POSTGRES_URL, else one on 127.0.0.1:5432 that trusts `postgres`, else an embedded one. */
import { randomBytes } from 'node:crypto';
import pg from 'pg';

const LOCAL = 'postgres://postgres@127.0.0.1:5432/postgres';

let server: Promise<{ url: string }> | undefined;

async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2_000 });
  try {
    await client.connect();
    await client.query('SELECT 1');
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function findServer(): Promise<{ url: string }> {
  const named = process.env['TEST_POSTGRES_URL'];
  if (named !== undefined) return { url: named };
  if (await answers(LOCAL)) return { url: LOCAL };
  throw new Error('no PostgreSQL for tests: the global set-up of jest starts an embedded one');
}

export interface TestDatabase {
  url: string;
  drop(): Promise<void>;
}

/** Creates an empty database of its own; `drop` removes it, open connections included. */
export async function createTestDatabase(): Promise<TestDatabase> {
  server ??= findServer();
  const { url } = await server;
  const name = `crossfade_test_${randomBytes(6).toString('hex')}`;
  const admin = async (sql: string): Promise<void> => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    try {
      await client.query(sql);
    } finally {
      await client.end();
    }
  };
  await admin(`CREATE DATABASE ${name}`);
  const own = new URL(url);
  own.pathname = `/${name}`;
  return { url: own.toString(), drop: () => admin(`DROP DATABASE ${name} WITH (FORCE)`) };
}
