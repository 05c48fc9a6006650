import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import Database from 'better-sqlite3';
import { d1Access, d1Address } from '../src/databases/d1/address.ts';
import { D1Client } from '../src/databases/d1/client.ts';
import { openD1 } from '../src/databases/d1/open.ts';
import { startD1, type D1Server } from '../cloudflare/server.ts';

let d1: D1Server;
let folder: string;
beforeAll(async () => {
  d1 = await startD1();
  folder = mkdtempSync(join(tmpdir(), 'crossfade-d1-'));
});
afterAll(async () => {
  await d1.stop();
  rmSync(folder, { recursive: true });
});

test('every value of a D1 database is in the mirror with its storage class and its bytes', async () => {
  await d1.exec(
    'CREATE TABLE v (id INTEGER PRIMARY KEY, a, r REAL, t TEXT, b BLOB, g AS (a || t))',
    `INSERT INTO v (id, a, r, t, b) VALUES
       (-9223372036854775808, 9007199254740993, 0.1, 'é', x'00ff'),
       (1, -0.0, 9e999, 'a' || char(0) || 'b', x''),
       (2, 5e-324, 1.7976931348623157e308, CAST(x'ff41' AS TEXT), zeroblob(3)),
       (3, '5', -9e999, '', NULL), (9223372036854775807, x'31', NULL, 'i5', 1.5)`,
    'CREATE TABLE "no key" ("a""b" TEXT)',
    `INSERT INTO "no key" (rowid, "a""b") VALUES (7, 'x'), (9, NULL)`,
    'CREATE TABLE w (k TEXT, n REAL, x, PRIMARY KEY (k COLLATE NOCASE, n)) WITHOUT ROWID',
    `INSERT INTO w VALUES ('a', 0.1, 1), ('A', 1e-310, 2), (char(0), 2.5, 3)`,
    'CREATE TABLE q (id INTEGER PRIMARY KEY AUTOINCREMENT)',
    'INSERT INTO q VALUES (100)',
    'DELETE FROM q',
    'CREATE UNIQUE INDEX ix ON v (t) WHERE id > 5',
    'CREATE TRIGGER tr AFTER INSERT ON v BEGIN DELETE FROM v; END',
    'CREATE VIEW vw AS SELECT * FROM v',
  );
  await expectEqual('values.db');
});

test('a table of many pages, with values longer than D1 gives in one piece, arrives whole', async () => {
  await d1.exec(
    'CREATE TABLE big (id INTEGER PRIMARY KEY, t TEXT, b BLOB)',
    `WITH RECURSIVE n (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 30000)
       INSERT INTO big SELECT value, 'row ' || value || replace(hex(zeroblob(100)), '0', 'x'), zeroblob(value % 300) FROM n`,
    `INSERT INTO big VALUES (50000, replace(hex(zeroblob(700000)), '00', 'é'), NULL), (50001, 'last', zeroblob(1900000))`,
  );
  await expectEqual('big.db');
});

test('a mirror from before is read anew where no log tells what has changed since', async () => {
  await d1.exec(
    'CREATE TABLE again (id INTEGER PRIMARY KEY, v)',
    `INSERT INTO again VALUES (1, 'a'), (2, 'b')`,
  );
  await expectEqual('again.db');
  await d1.exec(`UPDATE again SET v = 'c' WHERE id = 1`, 'DELETE FROM again WHERE id = 2');
  await expectEqual('again.db');
});

/** Compares the mirror with the file in which workerd keeps the database, by storage class and bytes. */
async function expectEqual(name: string): Promise<void> {
  const path = join(folder, name);
  const { live, close } = openD1(
    await D1Client.open(d1Address(d1.url, 'SOURCE_URL'), d1Access(d1.env)),
    path,
  );
  await live.ready();
  close();
  const [mirror, original] = [contents(path), contents(d1.file)];
  expect([...mirror.keys()]).toEqual([...original.keys()]);
  for (const [table, rows] of original) expect([table, mirror.get(table)]).toEqual([table, rows]);
}

/** Every object of the application with its SQL, and the rows of the tables, by name; a mirror has no triggers. */
function contents(path: string): Map<string, unknown[]> {
  const db = new Database(path, { readonly: true, fileMustExist: true });
  const items = db
    .prepare<[], { type: string; name: string; sql: string }>(
      `SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE '\\_c%' ESCAPE '\\' AND type <> 'trigger' AND sql IS NOT NULL ORDER BY name`,
    )
    .all();
  const found = items.map(({ type, name, sql }): [string, unknown[]] => [
    `${type} ${name}`,
    type === 'table' ? [sql, digest(db, name)] : [sql],
  ]);
  db.close();
  return new Map(found);
}

/** SHA-256 over the rows in order of everything that identifies a value, and their number. */
function digest(db: Database.Database, table: string): string {
  const columns = db.pragma(`table_xinfo("${table.replaceAll('"', '""')}")`) as { name: string }[];
  const rowid = db.prepare(`SELECT wr FROM pragma_table_list(?)`).pluck().get(table) === 1 ? '0' : 'rowid';
  const cells = columns
    .map(({ name }) => `"${name.replaceAll('"', '""')}"`)
    .map((c) => `typeof(${c}), iif(typeof(${c}) = 'text', CAST(${c} AS BLOB), ${c})`);
  const hash = createHash('sha256');
  let rows = 0;
  for (const row of db
    .prepare(
      `SELECT ${rowid}, ${cells.join(', ')} FROM "${table.replaceAll('"', '""')}" ORDER BY ${rowid === '0' ? '2, 3, 4' : '1'}`,
    )
    .raw()
    .safeIntegers()
    .iterate() as Iterable<unknown[]>) {
    rows++;
    for (const value of row) {
      hash.update(
        typeof value === 'number'
          ? Buffer.from(new Float64Array([value]).buffer)
          : Buffer.isBuffer(value)
            ? value
            : String(value),
      );
      hash.update('|');
    }
  }
  return `${rows} rows ${hash.digest('hex')}`;
}
