// @ts-check
/**
 * Answers queries on the source in a thread of its own: SQLite's calls are synchronous, and whoever asks has other work
 * meanwhile. Plain JavaScript, because a thread cannot be started from a TypeScript file.
 *
 * workerData is { path }. A message is a list of { sql, parameters }; all of it is read on one snapshot. The answer is
 * { rows }, the first row of each or undefined, integers as bigint; or { failed: { message, code } }.
 */
import { parentPort, workerData } from 'node:worker_threads';
import Database from 'better-sqlite3';

const port = /** @type {import('node:worker_threads').MessagePort} */ (parentPort);
const db = new Database(workerData.path, { readonly: true, fileMustExist: true, timeout: 200 });
// As in `openSource`.
db.pragma('cache_size = -2000');

/** @type {Map<string, Database.Statement>} */
const statements = new Map();

/** @param {string} sql */
function prepared(sql) {
  let statement = statements.get(sql);
  if (statement === undefined) {
    statement = db.prepare(sql).safeIntegers();
    statements.set(sql, statement);
  }
  return statement;
}

/** @param {{ sql: string, parameters: unknown[] }[]} queries */
function answer(queries) {
  return db
    .transaction(() => queries.map(({ sql, parameters }) => prepared(sql).get(...parameters)))
    .deferred();
}

port.on('message', (queries) => {
  try {
    const rows = answer(queries);
    const bytes = rows
      .flatMap((row) => Object.values(/** @type {object} */ (row ?? {})))
      .filter(Buffer.isBuffer);
    // Given away, not copied: each has memory of its own.
    port.postMessage({ rows }, [...new Set(bytes.map(({ buffer }) => /** @type {ArrayBuffer} */ (buffer)))]);
  } catch (error) {
    const { message, code } = /** @type {Error & { code?: string }} */ (error);
    port.postMessage({ failed: { message, code } });
  }
});
