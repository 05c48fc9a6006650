/** The first sight of verification: what it takes for equal is, whatever the source's texts are made of. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import pg from 'pg';
import type { ColumnPlan, TablePlan } from '../src/contract.ts';
import type { KeyValue } from '../src/databases/key.ts';
import { copyRows } from '../src/databases/postgres/copy-stream.ts';
import { defineFunctions, NONCE } from '../src/databases/sqlite/encode.ts';
import { hasRawRows, RawReader } from '../src/databases/sqlite/raw-rows.ts';
import { ReadingThread } from '../src/databases/sqlite/reading-thread.ts';
import { InvalidText } from '../src/databases/invalid-text.ts';
import { MATCHED_FORMAT, RowMatcher } from '../src/engine/match-rows.ts';
import { planMigration } from '../src/engine/plan.ts';
import { DEFAULT_INPUT } from '../src/contract.ts';
import { verifyDatabases } from '../src/engine/verify.ts';
import { createTestDatabase, type TestDatabase } from './support/postgres.ts';
import { TestMigration } from './support/migration.ts';
import { seeded, type Random } from './support/random.ts';
import { tamper } from './support/tamper.ts';

let server: TestDatabase;
let client: pg.Client;
let folder: string;
let db: Database.Database;
let thread: ReadingThread;

beforeAll(async () => {
  server = await createTestDatabase();
  client = new pg.Client({ connectionString: server.url });
  await client.connect();
});

afterAll(async () => {
  await client.end();
  await server.drop();
});

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'crossfade-match-'));
  const path = join(folder, 'source.db');
  db = new Database(path);
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = OFF');
  defineFunctions(db);
  thread = new ReadingThread(path);
});

afterEach(async () => {
  await thread.close();
  db.close();
  rmSync(folder, { recursive: true });
});

/** What separates or marks in either form, what CSV quotes or text format escapes, and nothing at all. */
const PIECES = ['', '', 'a', 'b', '\t', '\n', '\r', '\x02', '\\', '\\N', '"', '0', '1.0', 'é'];
/** Of texts that are not valid UTF-8: the structure of our own encoding. */
const FORGED = [
  Buffer.from([0xff]),
  Buffer.from([0xfe]),
  Buffer.from([0xfd]),
  Buffer.concat([Buffer.from([0xfd]), NONCE]),
];

type Cell = Buffer | null;

function text(random: Random, forged: boolean): Cell {
  if (random.chance(0.15)) return null;
  const pieces = Array.from({ length: random.below(4) }, () =>
    forged && random.chance(0.2) ? random.pick(FORGED) : Buffer.from(random.pick(PIECES)),
  );
  return Buffer.concat(pieces);
}

const columns = (names: string[]): ColumnPlan[] =>
  names.map((name) => ({ name, declared: 'TEXT', kind: 'text' }) as ColumnPlan);

/** Every row of the source, as the rows of the target are when they arrive. */
async function sameAs(source: Cell[][], target: Cell[][]): Promise<boolean> {
  const names = source[0]!.map((_, i) => `c${i}`);
  db.exec(
    `DROP TABLE IF EXISTS t; CREATE TABLE t (id INTEGER PRIMARY KEY, ${names.map((name) => `${name} TEXT`).join()})`,
  );
  const marks = names.map(() => 'CAST(? AS TEXT)').join();
  for (const row of source) db.prepare(`INSERT INTO t (${names.join()}) VALUES (${marks})`).run(...row);
  const table = {
    name: 't',
    key: ['id'],
    rowidAlias: true,
    largestRow: 10,
    columns: columns(names),
  } as unknown as TablePlan;
  const chunk = await new RawReader(thread, table).read(null, 1_000);
  expect(chunk).toMatchObject({ rows: source.length, whole: true, last: null });
  const matcher = new RowMatcher(table.columns, chunk.data, chunk.rows);
  const values = target.map(
    (row, i) =>
      `(${i}, ${row.map((cell) => (cell === null ? 'NULL' : pg.escapeLiteral(cell.toString()))).join()})`,
  );
  await copyRows(
    client,
    `COPY (SELECT ${names.join()} FROM (VALUES ${values.join()}) AS v (n, ${names.join()}) ORDER BY n) TO STDOUT ${MATCHED_FORMAT}`,
    (row) => matcher.match(row),
  );
  return matcher.same;
}

it('takes rows of any texts for equal where they are, and no others', async () => {
  const random = seeded('match rows');
  let equal = 0;
  for (let round = 0; round < 1_500; round++) {
    const width = 1 + random.below(3);
    const rows = (forged: boolean): Cell[][] =>
      Array.from({ length: 1 + random.below(3) }, () =>
        Array.from({ length: width }, () => text(random, forged)),
      );
    const target = rows(false);
    const source = random.chance(0.3) ? target.map((row) => [...row]) : rows(random.chance(0.5));
    // Often only where a cell or a row ends.
    if (random.chance(0.3)) {
      const bytes = (all: Cell[][]): Buffer =>
        Buffer.concat(all.flat().map((cell) => cell ?? Buffer.alloc(0)));
      const whole = bytes(target);
      const cut = random.below(whole.length + 1);
      source.splice(
        0,
        source.length,
        Array.from({ length: width }, (_, i) =>
          i === 0 ? whole.subarray(0, cut) : i === 1 ? whole.subarray(cut) : null,
        ),
      );
    }
    const same = JSON.stringify(source) === JSON.stringify(target);
    if (same) equal++;
    expect({ round, source, target, same: await sameAs(source, target) }).toEqual({
      round,
      source,
      target,
      same,
    });
  }
  expect(equal).toBeGreaterThan(100);
});

it('takes no byte of a text for the end of the last row', async () => {
  const rows = (...texts: string[]): Cell[][] => texts.map((text) => [Buffer.from(text, 'latin1')]);
  for (const text of ['', 'a']) {
    expect(await sameAs(rows(text, text), rows(text, text))).toBe(true);
    for (const end of ['\xfe', '\xff', '\xfe\xfe', '\xfd'])
      expect([text, end, await sameAs(rows(text, text + end), rows(text, text))]).toEqual([text, end, false]);
    expect(await sameAs(rows(text, '\xfe'), rows(text, '', ''))).toBe(false);
  }
});

it('reads past keys that are NULL or not valid UTF-8, and says that such rows cannot be matched', async () => {
  db.exec("CREATE TABLE words (k TEXT PRIMARY KEY, n INT); INSERT INTO words VALUES ('a', 1), ('c', 2)");
  const table = (await planMigration(db, DEFAULT_INPUT)).tables[0]!;
  db.exec(`INSERT INTO words VALUES (NULL, 3), (NULL, 4), (CAST(x'62fe61' AS TEXT), 5), (CAST(x'62ff' AS TEXT), 6), ('b\ufffd', 7),
    (x'61', 8)`);
  const reader = new RawReader(thread, table);
  expect(await reader.read(null, 2)).toMatchObject({ rows: 2, last: [null] });
  const keys: (KeyValue | string)[] = [];
  let last: KeyValue[] | null = ['a'];
  for (let chunk; last !== null; { last } = chunk) {
    chunk = await reader.read(last, 1);
    keys.push(
      chunk.last?.[0] instanceof InvalidText
        ? chunk.last[0].bytes.toString('hex')
        : (chunk.last?.[0] ?? null),
    );
    // The blob is no text.
    expect(chunk.whole).toBe(!Buffer.isBuffer(chunk.last?.[0]));
  }
  expect(keys).toEqual(['b\ufffd', '62fe61', '62ff', 'c', Buffer.from('a'), null]);
});

/** [declared type, SQL of the source's value, SQL of another that its column would hold as it is or set aside]. */
const NEAR: [string, string, string][] = [
  ['INT', '5', `x'35'`],
  ['INT', '5', '6'],
  ['TEXT', `''`, 'NULL'],
  ['TEXT', `'1.0'`, `'1'`],
  ['TEXT', `'a'`, `x'61'`],
  ['TEXT', `char(9)`, `'\\t'`],
  ['REAL', '0.1', '0.1 + 2e-17'],
  ['REAL', '9e999', '-9e999'],
  ['REAL', 'NULL', '0.0'],
  ['REAL', '1e300', '1.0000000000000002e300'],
  ['', '0.5', `'0.5'`],
  ['DECIMAL(9, 2)', '2.5', '2.25'],
  ['DECIMAL(20, 10)', '0.3', '0.1 + 0.2'],
  ['BOOLEAN', '1', '0'],
  ['BLOB', `x'00'`, `'\\x00'`],
  ['DATE', `'2024-01-31'`, `'2024-01-30'`],
  ['DATE', `'2024-01-31'`, `CAST('2024-01-31' AS BLOB)`],
  ['DATETIME', `'2024-01-31 10:00:00'`, `'2024-01-31 10:00:01'`],
  ['DATETIME', `'2024-01-31 10:00:00'`, `CAST('2024-01-31 10:00:00' AS BLOB)`],
  ['JSON', `'{"a": 1}'`, `'{"a":1}'`],
];

it('sees every other value in every kind of column, also one that is set aside', async () => {
  const declared = NEAR.map(([type], i) => `c${i} ${type}`).join(', ');
  const values = NEAR.map(([, value]) => value).join(', ');
  const migration = await TestMigration.create(
    `CREATE TABLE t (k TEXT NOT NULL, n INT NOT NULL, ${declared}, PRIMARY KEY (k, n)) WITHOUT ROWID;
     INSERT INTO t VALUES ('a', 1, ${values}), ('k', 2, ${values}), ('z', 3, ${values})`,
  );
  try {
    const { app, target, endpoints } = migration;
    await migration.upToVerified();
    expect(hasRawRows(migration.plan.tables[0]!)).toBe(true);
    const different = async (): Promise<(string | undefined)[]> => {
      const verdict = await verifyDatabases({ ...endpoints, mode: 'full', sampleRows: 0, graceMs: 0 });
      return verdict.mismatches.map(({ key }) => key);
    };
    expect(await different()).toEqual([]);
    // Behind the back of the capture. One at a time, because the first that is seen in a range lets all be seen.
    for (const name of app.prepare(`SELECT name FROM sqlite_master WHERE type = 'trigger'`).pluck().all())
      app.exec(`DROP TRIGGER "${name as string}"`);
    for (const [i, [type, value, other]] of NEAR.entries()) {
      app.exec(`UPDATE t SET c${i} = ${other} WHERE k = 'k'`);
      expect([type, value, other, await different()]).toEqual([type, value, other, ['k, 2']]);
      app.exec(`UPDATE t SET c${i} = ${value} WHERE k = 'k'`);
    }
    const empty = NEAR.findIndex(([, value]) => value === 'NULL');
    await tamper(
      target,
      ['t'],
      `ALTER TABLE t DROP CONSTRAINT crossfade_c${empty}; UPDATE t SET c${empty} = 'NaN' WHERE k = 'z'`,
    );
    expect(await different()).toEqual(['z, 3']);
    await tamper(target, ['t'], `UPDATE t SET k = 'zz', c${empty} = NULL WHERE k = 'z'`);
    expect(new Set(await different())).toEqual(new Set(['z, 3', 'zz, 3']));
  } finally {
    await migration.dispose();
  }
});
