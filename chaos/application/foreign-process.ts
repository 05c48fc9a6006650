/**
 * A program that knows nothing of crossfade and writes with its own drivers: to the SQLite file until a fence refuses it,
 * then to PostgreSQL until that refuses it, as a program whose configuration names both.
 * Arguments as those of router-process. SOURCE_URL and TARGET_URL name the databases.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import pg from 'pg';
import { runClient } from './client.ts';
import type { Connection } from './lane.ts';
import type { Statement } from './operations.ts';

const FENCED = 'crossfade: fenced';

const db = new Database((process.env['SOURCE_URL'] ?? '').replace(/^sqlite:/, ''), { timeout: 2_000 });
db.pragma('synchronous = FULL');
const pool = new pg.Pool({ connectionString: process.env['TARGET_URL'], connectionTimeoutMillis: 2_000 });
pool.on('error', () => undefined);
let side: 'source' | 'target' = 'source';

function applyToSource(statements: Statement[]): void {
  const run = db.transaction(() => {
    for (const { sql, params } of statements) {
      db.prepare(typeof sql === 'string' ? sql : sql.sqlite).run(...params);
    }
  });
  run.immediate();
}

async function applyToTarget(statements: Statement[], pauseMs: number): Promise<void> {
  const client = await pool.connect();
  let failure: Error | undefined;
  try {
    await client.query('BEGIN');
    for (const { sql, params } of statements) {
      let n = 0;
      const text = (typeof sql === 'string' ? sql : sql.postgres).replaceAll('?', () => `$${++n}`);
      await client.query(text, params);
      await sleep(pauseMs);
    }
    await client.query('COMMIT');
  } catch (error) {
    failure = error as Error;
    throw error;
  } finally {
    // Not used again after a failure: its transaction may be open.
    client.release(failure);
  }
}

const connection: Connection = {
  async apply(statements, _key, pauseMs) {
    try {
      if (side === 'source') applyToSource(statements);
      else await applyToTarget(statements, pauseMs);
    } catch (error) {
      if (String(error).includes(FENCED)) side = side === 'source' ? 'target' : 'source';
      throw error;
    }
  },
};

await runClient(connection, async () => {
  db.close();
  await pool.end();
});
