/** Databases of unusual shapes: values of a megabyte and more, and a thousand tables. */
import { randomUUID } from 'node:crypto';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { planOf, type Bench, type Source } from '../bench.ts';

const MIB = 2 ** 20;

/** @param rows with a value of one megabyte each, half of them blobs; one more has a blob of `largest` bytes */
export function wideSource(bench: Bench, rows: number, largest: number): Promise<Source> {
  return sourceOf(bench, rows + 1, (db) => {
    db.exec('CREATE TABLE wide (id INTEGER PRIMARY KEY, text TEXT, blob BLOB)');
    const insert = db.prepare('INSERT INTO wide (text, blob) VALUES (?, ?)');
    // Line feeds, tabs and backslashes are what COPY's text form has to escape.
    const text = 'a line of words\n\tand\\or\tmore of them, ü é ß\r\n'.repeat(MIB).slice(0, MIB);
    const bytes = Buffer.alloc(MIB).map((_, i) => (i * 31) & 0xff);
    for (let i = 0; i < rows; i++) insert.run(i % 2 === 0 ? text : null, i % 2 === 0 ? null : bytes);
    db.prepare('INSERT INTO wide (blob) VALUES (zeroblob(?))').run(largest);
  });
}

/** @param tables of so many rows each */
export function manySource(bench: Bench, tables: number, rows: number): Promise<Source> {
  return sourceOf(bench, tables * rows, (db) => {
    for (let i = 0; i < tables; i++) {
      db.exec(`CREATE TABLE many_${i} (id INTEGER PRIMARY KEY, name TEXT NOT NULL, n INTEGER);
        CREATE INDEX many_${i}_name ON many_${i} (name);
        WITH RECURSIVE i(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM i WHERE id < ${rows})
        INSERT INTO many_${i} SELECT id, 'name ' || id, id % 7 FROM i`);
    }
  });
}

async function sourceOf(bench: Bench, rows: number, fill: (db: Database.Database) => void): Promise<Source> {
  const path = join(bench.directory, `shape-${randomUUID().slice(0, 8)}.sqlite`);
  const db = new Database(path);
  try {
    db.pragma('journal_mode = WAL');
    db.pragma('synchronous = OFF');
    db.transaction(() => fill(db))();
    db.pragma('wal_checkpoint(TRUNCATE)');
  } finally {
    db.close();
  }
  return { path, rows, bytes: statSync(path).size, plan: await planOf(path) };
}
