/**
 * Runs PRAGMA quick_check in a thread of its own: one call that reads the whole source would hold the event loop, and
 * with it the heartbeats. Plain JavaScript, because a thread cannot be started from a TypeScript file.
 */
import { parentPort, workerData } from 'node:worker_threads';
import Database from 'better-sqlite3';

/** Rows that break a constraint are for the plan to find; virtual tables are not copied. */
const NOT_DAMAGE =
  /^(NULL|TEXT|NUMERIC|non-\w+) value in |^CHECK constraint failed in |FTS\d table|^In RTree /;

/** @returns the first lines that tell of damage */
function damage(db) {
  db.pragma('cache_size = -2000');
  const found = [];
  // Without a limit of its own the hundredth broken CHECK would hide what comes after it.
  for (const line of db.prepare('PRAGMA quick_check(2147483647)').pluck().iterate()) {
    if (line === 'ok' || NOT_DAMAGE.test(line)) continue;
    found.push(line);
    if (found.length === 3) break;
  }
  return found;
}

const db = new Database(workerData.sourcePath, { readonly: true, fileMustExist: true, timeout: 5_000 });
try {
  parentPort?.postMessage({ damage: damage(db) });
} catch (error) {
  // The thread's end would strip the driver's code off the error.
  parentPort?.postMessage({ code: error.code, message: error.message });
} finally {
  db.close();
}
