/**
 * A program that knows nothing of crossfade and writes with its own drivers: to the SQLite file until a fence refuses it,
 * then to PostgreSQL until that refuses it, as a program whose configuration names both. Now and then it tries the other one
 * first, which must not let it in.
 * Arguments as those of router-process. SOURCE_URL and TARGET_URL name the databases.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import pg from 'pg';
import { ApplicationRefusal } from '../../demo/application/outcome.ts';
import { Random } from '../../demo/database/random.ts';
import { runClient } from './client.ts';
import type { Connection } from './lane.ts';
import type { Statement } from './operations.ts';

const FENCED = 'crossfade: fenced';
const BUSY_MS = 2_000;
const WRONG_SIDE = 0.1;

const path = (process.env['SOURCE_URL'] ?? '').replace(/^sqlite:/, '');
/** Not in use: each lane's transactions need a connection for themselves. */
const idle: Database.Database[] = [];
const pool = new pg.Pool({ connectionString: process.env['TARGET_URL'], connectionTimeoutMillis: 2_000 });
pool.on('error', () => undefined);
// Of a connection that breaks between two statements.
pool.on('connect', (client) => client.on('error', () => undefined));
let side: 'source' | 'target' = 'source';

function connect(): Database.Database {
  // Waited for by short steps instead: a lock that another lane of this process holds is released by this thread.
  const db = new Database(path, { timeout: 0 });
  db.pragma('synchronous = FULL');
  return db;
}

async function begin(db: Database.Database): Promise<void> {
  const giveUpAt = performance.now() + BUSY_MS;
  for (;;) {
    try {
      db.exec('BEGIN IMMEDIATE');
      return;
    } catch (error) {
      if (!String((error as { code?: unknown }).code).startsWith('SQLITE_BUSY')) throw error;
      if (performance.now() > giveUpAt) throw error;
      await sleep(2);
    }
  }
}

async function applyToSource(statements: Statement[], pauseMs: number): Promise<void> {
  const db = idle.pop() ?? connect();
  try {
    await begin(db);
    for (const { sql, params, mayChangeNothing } of statements) {
      const { changes } = db.prepare(typeof sql === 'string' ? sql : sql.sqlite).run(...params);
      // SQLite's triggers see rows: the fence cannot refuse a statement that matches none, and the client has to look.
      if (changes === 0 && mayChangeNothing !== true) throw new ApplicationRefusal('no such row');
      if (pauseMs > 0) await sleep(pauseMs);
    }
    db.exec('COMMIT');
  } finally {
    if (db.inTransaction) db.exec('ROLLBACK');
    idle.push(db);
  }
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
      if (pauseMs > 0) await sleep(pauseMs);
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

const random = new Random(process.pid);

const connection: Connection = {
  async apply(statements, _key, pauseMs) {
    const other = side === 'source' ? 'target' : 'source';
    const chosen = random.chance(WRONG_SIDE) ? other : side;
    try {
      if (chosen === 'source') await applyToSource(statements, pauseMs);
      else await applyToTarget(statements, pauseMs);
    } catch (error) {
      if (chosen === side && String(error).includes(FENCED)) side = other;
      throw error;
    }
    return chosen;
  },
};

await runClient(connection, async () => {
  for (const db of idle) db.close();
  await pool.end();
});
