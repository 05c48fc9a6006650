/** A foreign program whose source is the SQLite file of SOURCE_URL. */
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { ApplicationRefusal } from '../../demo/application/outcome.ts';
import { runForeign } from './foreign.ts';
import type { Statement } from './operations.ts';

const BUSY_MS = 2_000;

const path = (process.env['SOURCE_URL'] ?? '').replace(/^sqlite:/, '');
/** Not in use: each lane's transactions need a connection for themselves. */
const idle: Database.Database[] = [];

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

await runForeign({
  apply: applyToSource,
  close: () => {
    for (const db of idle) db.close();
  },
});
