import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import Database from 'better-sqlite3';
import { d1Access, d1Address } from '../src/databases/d1/address.ts';
import { D1Client } from '../src/databases/d1/client.ts';
import { openD1 } from '../src/databases/d1/open.ts';
import { PAGE_BYTES } from '../src/databases/d1/table-reader.ts';
import { startFaultyProxy } from '../cloudflare/faults.ts';
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

test('a table takes no more requests than its bytes demand, however many are under way at once', async () => {
  await d1.exec(
    'CREATE TABLE wide (id INTEGER PRIMARY KEY, t TEXT)',
    `WITH RECURSIVE n (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 40000)
       INSERT INTO wide SELECT value * 3, replace(hex(zeroblob(200)), '0', 'x') FROM n`,
  );
  const proxy = await startFaultyProxy(d1.env['CLOUDFLARE_API_BASE_URL']!);
  const requests = async (concurrency: number): Promise<number> => {
    let asked = 0;
    proxy.meant = (body) => {
      if (body.includes('FROM \\"wide\\"')) asked++;
      return false;
    };
    const client = await D1Client.open(
      d1Address(d1.url, 'SOURCE_URL'),
      d1Access({
        ...d1.env,
        CLOUDFLARE_API_BASE_URL: proxy.baseUrl,
        CROSSFADE_D1_CONCURRENCY: String(concurrency),
      }),
    );
    const { live, close } = openD1(client, join(folder, `wide-${concurrency}.db`));
    await live.ready();
    close();
    return asked;
  };
  // 400 bytes of text and 4 of the number in a row, in a table whose first request does not know them yet.
  const pages = Math.ceil((40_000 * 404) / PAGE_BYTES);
  try {
    const one = await requests(1);
    expect(one).toBeGreaterThanOrEqual(pages);
    expect(one).toBeLessThanOrEqual(pages + 2);
    // Each part ends with a page that is not full.
    expect(await requests(4)).toBeLessThanOrEqual(pages + 2 + 4);
  } finally {
    await proxy.stop();
  }
});

test('a row whose parent comes or goes while the tables are read does not look like an orphan', async () => {
  await d1.exec(
    'CREATE TABLE f_child (id INTEGER PRIMARY KEY, parent REFERENCES f_parent (name))',
    'CREATE TABLE f_parent (name TEXT PRIMARY KEY, above REFERENCES g_above (id))',
    'CREATE TABLE g_above (id INTEGER PRIMARY KEY)',
    'CREATE TABLE h_child (id INTEGER, parent INTEGER REFERENCES g_above (id), PRIMARY KEY (id, parent)) WITHOUT ROWID',
    'INSERT INTO g_above VALUES (1), (2)',
    `INSERT INTO f_parent VALUES ('a', 1), ('b', 2)`,
    `INSERT INTO f_child VALUES (1, 'a'), (2, 'b')`,
    // Together longer than a statement may be.
    `INSERT INTO f_parent SELECT n.value || hex(zeroblob(2000)), 1 FROM json_each('[10,11,12,13,14,15,16,17,18,19,20,21,22,23]') n`,
    'INSERT INTO f_child SELECT row_number() OVER () + 10, name FROM f_parent WHERE length(name) > 1',
  );
  const proxy = await startFaultyProxy(d1.env['CLOUDFLARE_API_BASE_URL']!);
  try {
    const changes: [string, ...string[]][] = [
      // Read after its child: both are gone.
      [
        'f_parent',
        `DELETE FROM f_child WHERE id = 1 OR id > 10`,
        `DELETE FROM f_parent WHERE name = 'a' OR length(name) > 1`,
      ],
      // Read after the one that refers to it.
      ['g_above', `UPDATE f_parent SET above = 1 WHERE name = 'b'`, `DELETE FROM g_above WHERE id = 2`],
      // Read before: it has come since, and a row that refers to it.
      ['h_child', 'INSERT INTO g_above VALUES (3)', 'INSERT INTO h_child VALUES (1, 3)'],
    ];
    proxy.meant = (body) => {
      const [table, ...statements] = changes[0] ?? [];
      if (table === undefined || !body.includes(`FROM \\"${table}\\"`)) return false;
      changes.shift();
      proxy.next.push({ before: () => d1.exec(...statements) });
      return true;
    };
    await expectEqual('references.db', {
      CLOUDFLARE_API_BASE_URL: proxy.baseUrl,
      CROSSFADE_D1_CONCURRENCY: '1',
    });
    expect(changes).toEqual([]);
  } finally {
    await proxy.stop();
  }
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
async function expectEqual(name: string, env: NodeJS.ProcessEnv = {}): Promise<void> {
  const path = join(folder, name);
  const { live, close } = openD1(
    await D1Client.open(d1Address(d1.url, 'SOURCE_URL'), d1Access({ ...d1.env, ...env })),
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
