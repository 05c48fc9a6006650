/** Generates the source: the same rows for the same number of rows, whatever the machine. */
import { statSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { Random } from './random.ts';
import { account, event, rating } from './rows.ts';
import { INDEXES, SCHEMA, sharesOf } from './schema.ts';

const ROWS_PER_TRANSACTION = 50_000;

/** Creates the database in WAL mode, its WAL empty. @returns its size in bytes */
export async function generateSource(path: string, rows: number, signal: AbortSignal): Promise<number> {
  const db = new Database(path);
  try {
    db.pragma('synchronous = OFF');
    // Every reference is made to an account that is there.
    db.pragma('foreign_keys = OFF');
    db.exec(SCHEMA);
    const random = new Random(rows);
    const { accounts, events, ratings } = sharesOf(rows);
    await fill(db, 'account', accounts, signal, (i) => account(random, i + 1));
    await fill(db, 'event', events, signal, (i) => event(random, i + 1, accounts));
    // By key, because a WITHOUT ROWID table is kept in that order.
    const perAccount = Math.ceil(ratings / accounts);
    await fill(db, 'rating', ratings, signal, (i) =>
      rating(random, (i % perAccount) * accounts + Math.floor(i / perAccount), accounts),
    );
    db.exec(INDEXES);
    db.exec('ANALYZE');
    db.pragma('journal_mode = WAL');
    db.pragma('wal_checkpoint(TRUNCATE)');
  } finally {
    db.close();
  }
  return statSync(path).size;
}

async function fill(
  db: Database.Database,
  table: string,
  rows: number,
  signal: AbortSignal,
  row: (i: number) => unknown[],
): Promise<void> {
  const columns = db.prepare(`SELECT count(*) FROM pragma_table_info(?)`).pluck().get(table) as number;
  const insert = db.prepare(`INSERT INTO ${table} VALUES (${Array(columns).fill('?').join(', ')})`);
  for (let from = 0; from < rows; from += ROWS_PER_TRANSACTION) {
    const to = Math.min(rows, from + ROWS_PER_TRANSACTION);
    db.transaction(() => {
      for (let i = from; i < to; i++) insert.run(...row(i));
    })();
    await nextTurn();
    signal.throwIfAborted();
  }
}
