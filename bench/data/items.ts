/** A small table with as many unique indexes as a measurement asks for, in a file of its own. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';
import Database from 'better-sqlite3';
import { planOf, type Bench, type Source } from '../bench.ts';

const UNIQUE = ['a', 'b', 'c'] as const;

/** @param uniques how many of the columns a, b and c are unique */
export async function itemSource(bench: Bench, rows: number, uniques: number): Promise<Source> {
  const path = join(bench.directory, `items-${randomUUID().slice(0, 8)}.sqlite`);
  const db = new Database(path);
  try {
    db.pragma('journal_mode = WAL');
    db.pragma('synchronous = OFF');
    db.exec('CREATE TABLE item (id INTEGER PRIMARY KEY, a TEXT, b TEXT, c TEXT, n INTEGER NOT NULL)');
    for (const name of UNIQUE.slice(0, uniques))
      db.exec(`CREATE UNIQUE INDEX item_${name} ON item (${name})`);
    db.exec(`WITH RECURSIVE i(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM i WHERE id < ${rows})
      INSERT INTO item SELECT id, 'a' || id, 'b' || id, 'c' || id, 0 FROM i`);
    db.pragma('wal_checkpoint(TRUNCATE)');
  } finally {
    db.close();
  }
  return { path, rows, bytes: statSync(path).size, plan: await planOf(path) };
}
