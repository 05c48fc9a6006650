// @ts-check
/**
 * Reads the rows of views from the source in a process of its own: a view may take minutes before its first row, which
 * nothing but a kill can stop. Plain JavaScript, so that it runs from sources and from dist. It ends with its parent.
 *
 * argv[2] is the source's path. Messages from the parent: { sql, changedSql } begins a read on one snapshot, 'next' asks
 * for more. To the parent: { changed: true } where changedSql finds a row in that snapshot, { rows }, none of them at the
 * end, or { failed: message }.
 */
import Database from 'better-sqlite3';
import { onParentGone } from '../parent.js';

const ROWS = 500;

const db = new Database(process.argv[2] ?? '', { readonly: true, fileMustExist: true, timeout: 5_000 });

/** @type {IterableIterator<unknown> | undefined} */
let reading;

/** @param {{ sql: string, changedSql: string }} order */
function begin({ sql, changedSql }) {
  db.exec('BEGIN');
  if (db.prepare(changedSql).get() === undefined) {
    reading = db.prepare(sql).raw().safeIntegers().iterate();
    return more();
  }
  db.exec('ROLLBACK');
  return { changed: true };
}

function more() {
  const rows = [];
  while (rows.length < ROWS) {
    const next = reading?.next();
    if (next === undefined || next.done === true) break;
    rows.push(next.value);
  }
  if (rows.length === 0) {
    reading = undefined;
    db.exec('ROLLBACK');
  }
  return { rows };
}

process.on('message', (message) => {
  let answer;
  try {
    answer =
      message === 'next' ? more() : begin(/** @type {{ sql: string, changedSql: string }} */ (message));
  } catch (error) {
    answer = { failed: error instanceof Error ? error.message : String(error) };
  }
  process.send?.(answer);
});
onParentGone(() => process.exit());
