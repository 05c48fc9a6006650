/**
 * Runs VACUUM INTO in a thread of its own: one call that reads the whole source would hold the event loop, and with it
 * the heartbeats. Plain JavaScript, because a thread cannot be started from a TypeScript file.
 */
import { parentPort, workerData } from 'node:worker_threads';
import Database from 'better-sqlite3';

const { sourcePath, backupPath } = workerData;
const db = new Database(sourcePath, { readonly: true, fileMustExist: true, timeout: 5_000 });
try {
  db.prepare('VACUUM INTO ?').run(backupPath);
} finally {
  db.close();
}
parentPort?.postMessage('done');
