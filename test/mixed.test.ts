/** Columns that mix storage classes: every value arrives, reads as it did, and goes home as it was. */
import fc from 'fast-check';
import { mixedText, mixedValue } from '../src/databases/mixed.ts';
import { PostgresAdapter } from '../src/router/adapters/postgres.ts';
import { SqliteAdapter } from '../src/router/adapters/sqlite.ts';
import { verifyDatabases } from '../src/engine/verify.ts';
import { never, TestMigration } from './support/migration.ts';
import { column } from './support/plan.ts';
import { seeded, type Random } from './support/random.ts';
import { differences } from './support/same.ts';
import { tamper } from './support/tamper.ts';

const AFFINITIES = { i: 'INTEGER', n: 'NUMERIC', d: 'DATETIME', r: 'REAL', t: 'TEXT', b: 'BLOB', u: '' };
const COLUMNS = Object.keys(AFFINITIES);
const TEXTS = [
  '', '5', '-5', '5.0', '007', '1e5', '1.0e+15', ' 5 ', '-', '+5', '.5', '5.', '0x10', 'Inf', '-Inf', 'NaN', '9223372036854775808',
  '2024-01-31', '2024-01-31 12:00:00', '2024-01-31T12:00:00.123456789+02:00', '0001-01-01', 'true', 'abc', '\\', '\\\\', '\\x00',
  '\\s5', '\\rInf', '\\N', '\t\n', 'é🎉', '12345678901234567890123', '1-2', '1e', 'e1', '١',
]; // prettier-ignore
const NUMBERS = [
  0n, 5n, -5n, 2n ** 63n - 1n, -(2n ** 63n), 0.1, 5, -0, 1e15, 1e21, 1e300, 5e-324, 1 / 3, 2 ** 53, Infinity, -Infinity, 1.7e9,
]; // prettier-ignore

function anyValue(random: Random): unknown {
  const choice = random.below(10);
  if (choice === 0) return null;
  if (choice < 4) return random.pick(NUMBERS);
  if (choice < 8) return random.pick(TEXTS);
  if (choice === 8) return random.bytes(random.below(6));
  return random.chance(0.5) ? random.bytes(8).readBigInt64BE() : String(random.below(1e6) - 5e5);
}

let migration: TestMigration;

beforeEach(async () => {
  const columns = COLUMNS.map((name) => `${name} ${AFFINITIES[name as keyof typeof AFFINITIES]}`).join(', ');
  migration = await TestMigration.create(`CREATE TABLE v (id INTEGER PRIMARY KEY, touched INT, ${columns});`);
});

afterEach(() => migration.dispose());

function change(random: Random, from: number, to: number): void {
  const insert = migration.app.prepare(
    `INSERT OR REPLACE INTO v VALUES (?, 0${', ?'.repeat(COLUMNS.length)})`,
  );
  for (let id = from; id < to; id++) insert.run(id, ...COLUMNS.map(() => anyValue(random)));
}

/** Class and bytes of every value, as SQLite itself tells them. */
function stored(): unknown[] {
  const exact = COLUMNS.map(
    (name) =>
      `typeof(${name}), iif(typeof(${name}) = 'real', format('%!.17g', ${name}), hex(CAST(${name} AS BLOB)))`,
  );
  return migration.app
    .prepare(`SELECT id, ${exact.join(', ')} FROM v ORDER BY id`)
    .raw()
    .all();
}

/** What an application reads through the adapters. */
async function read(): Promise<{ source: unknown[]; target: unknown[] }> {
  const source = new SqliteAdapter(migration.endpoints.sourcePath, { safeIntegers: true });
  const target = new PostgresAdapter(migration.endpoints.targetUrl, { safeIntegers: true });
  try {
    const sql = `SELECT id, ${COLUMNS.join(', ')} FROM v ORDER BY id`;
    return { source: await source.query(sql), target: await target.query(sql) };
  } finally {
    await source.close();
    await target.close();
  }
}

it('arrive by copy and by replay, verify, read alike, and come back with their storage classes', async () => {
  const random = seeded('mixed');
  change(random, 1, 300);
  await migration.begin();
  const kinds = migration.plan.tables[0]!.columns.filter(({ name }) => COLUMNS.includes(name));
  expect(kinds.map(({ kind }) => kind)).toEqual(COLUMNS.map(() => 'mixed'));
  expect(migration.plan.notices.filter(({ code }) => code === 'mixed-classes')).toHaveLength(COLUMNS.length);
  await migration.copy({ batchRows: 7, batchBytes: 500 });
  change(random, 200, 500);
  await migration.catchUp();
  expect(await differences(migration.app, migration.target, migration.plan)).toEqual([]);
  await migration.index();
  expect(await migration.verify()).toMatchObject({ equal: true, quarantined: 0 });
  await migration.foreignKeys();
  const { source, target } = await read();
  expect(target).toEqual(source);

  const before = stored();
  expect(await migration.cutOver()).toMatchObject({ outcome: 'moved' });
  await migration.target.query('UPDATE v SET touched = 1');
  await migration.reverseCatchUp();
  expect(migration.app.prepare('SELECT DISTINCT touched FROM v').pluck().all()).toEqual([1]);
  expect(stored()).toEqual(before);
});

it('tell a real difference, but not two spellings of one number', async () => {
  change(seeded('mixed differences'), 1, 300);
  migration.app.exec(`UPDATE v SET n = 0.1, u = 'a' WHERE id = 7; UPDATE v SET n = 0.5, u = 5 WHERE id = 8`);
  await migration.upToVerified();
  const tampered = (sql: string): Promise<void> => tamper(migration.target, ['v'], sql);
  await tampered(`UPDATE v SET n = '0.1' WHERE id = 7; UPDATE v SET n = '5e-1' WHERE id = 8`);
  expect(await migration.verify()).toMatchObject({ equal: true });
  await tampered(`UPDATE v SET n = '0.2' WHERE id = 7; UPDATE v SET u = '\\s5' WHERE id = 8`);
  const { mismatches } = await migration.verify();
  expect(mismatches.map(({ key, column }) => [key, column])).toEqual([
    ['7', 'n'],
    ['8', 'u'],
  ]);
});

it('in a column declared TEXT give back the digits that were written on the target, and verify', async () => {
  migration.app.exec(`CREATE TABLE z (id INTEGER PRIMARY KEY, zip TEXT, v TEXT);
    INSERT INTO z (zip, v) VALUES (x'00', x'00'), ('12345', '1e5'), ('a' || char(0), 'a' || char(0))`);
  await migration.upToVerified();
  await migration.cutOver();
  const before = await verifyDatabases({ ...migration.endpoints, mode: 'full', sampleRows: 10 });
  expect(before).toMatchObject({ equal: true });
  await migration.target.query(
    `INSERT INTO z (zip, v) VALUES ('007', '1e5'), ('08', '-0'); UPDATE z SET zip = '09' WHERE zip = '08'`,
  );
  await migration.reverseCatchUp();
  expect(
    migration.app
      .prepare(`SELECT zip, v, typeof(zip) AS class FROM z WHERE zip LIKE '0%' ORDER BY zip`)
      .all(),
  ).toEqual([
    { zip: '007', v: '1e5', class: 'text' },
    { zip: '09', v: '-0', class: 'text' },
  ]);
  const after = await verifyDatabases({ ...migration.endpoints, mode: 'full', sampleRows: 10 });
  expect(after).toMatchObject({ equal: true });
});

it('give back the digits of a column whose texts are too long for a limit', async () => {
  migration.app.exec(`CREATE TABLE z (id INTEGER PRIMARY KEY, zip TEXT);
    INSERT INTO z (zip) VALUES ('a' || char(0)), (hex(zeroblob(2600000))), ('007'), ('\\s7'), ('\\a')`);
  await migration.upToVerified();
  expect(column(migration.plan, 'z', 'zip').targetType).toBe('varchar');
  expect((await migration.target.query('SELECT zip FROM z WHERE id = 3')).rows).toEqual([{ zip: '\\s007' }]);
  await migration.cutOver();
  await migration.target.query(`INSERT INTO z (zip) VALUES ('08'); UPDATE z SET zip = zip WHERE id < 6`);
  await migration.reverseCatchUp();
  const read = migration.app.prepare(`SELECT hex(zip), typeof(zip) FROM z WHERE id <> 2`).raw().all();
  expect(read).toEqual(['6100', '303037', '5C7337', '5C61', '3038'].map((hex) => [hex, 'text']));
  expect(
    await verifyDatabases({ ...migration.endpoints, mode: 'full', sampleRows: 10, signal: never }),
  ).toMatchObject({ equal: true });
});

it('verify what SQLite stores otherwise than it was written on the target: 5.0 as 5, and -0 as 0', async () => {
  migration.app.exec(`CREATE TABLE z (id INTEGER PRIMARY KEY, n NUMERIC, d REAL, e NUMERIC);
    INSERT INTO z VALUES (1, 'a', 0.5, 0.1 + 0.2), (2, 7, 0.5, 3)`);
  await migration.upToVerified();
  expect(migration.plan.tables.at(-1)!.columns.map(({ kind }) => kind)).toEqual([
    'bigint',
    'mixed',
    'double',
    'double',
  ]);
  await migration.cutOver();
  await migration.target.query(`UPDATE z SET n = '5.0', d = '-0', e = '-0'`);
  await migration.reverseCatchUp();
  const classes = migration.app.prepare('SELECT DISTINCT n, typeof(n) AS class, d, e FROM z').all();
  expect(classes).toEqual([{ n: 5, class: 'integer', d: 0, e: 0 }]);
  expect(
    await verifyDatabases({ ...migration.endpoints, mode: 'full', sampleRows: 10, signal: never }),
  ).toMatchObject({ equal: true });
});

it('verify a -0 that a STRICT table’s ANY keeps', async () => {
  migration.app.exec(
    'CREATE TABLE z (id INTEGER PRIMARY KEY, a ANY) STRICT; INSERT INTO z VALUES (1, -0.0), (2, 0.0)',
  );
  await migration.upToVerified();
  expect(await migration.verify()).toMatchObject({ equal: true });
});

it('write and read one text for every value that has no exact form elsewhere', () => {
  for (const value of [...NUMBERS, ...TEXTS, Buffer.from([0, 255])]) {
    const text = mixedText(value);
    expect(text).not.toBeNull();
    expect(mixedValue(text!)).toEqual(value);
  }
});

it('read texts of many million characters', () => {
  const zeros = '0'.repeat(20_000_000);
  expect(mixedValue(`-${zeros}7`)).toBe(-7n);
  expect(mixedValue(`1${zeros}`)).toBe(Infinity);
  expect(mixedValue(`${zeros}.${zeros}`)).toBe(0);
  expect(mixedValue(`${zeros}x`)).toHaveLength(20_000_001);
  expect(mixedValue(`\\x${zeros}`)).toHaveLength(10_000_000);
  expect(mixedValue(`\\x${zeros}g`)).toHaveLength(20_000_003);
});

it('have one text for every value that is no number, whatever it looks like', () => {
  const pieces = fc.constantFrom(
    '\\',
    's',
    'x',
    't',
    'r',
    '00',
    '61',
    '6',
    'c3',
    'Inf',
    '-',
    '.',
    'e',
    ' ',
    'é',
  );
  const texts = fc.array(pieces, { maxLength: 8 }).map((parts) => parts.join(''));
  fc.assert(
    fc.property(texts, fc.boolean(), (text, numbers) => {
      expect(mixedValue(mixedText(text, numbers), numbers)).toEqual(text);
      const value = mixedValue(text, numbers);
      if (typeof value !== 'number' && typeof value !== 'bigint')
        expect(mixedText(value, numbers)).toEqual(text);
    }),
    { numRuns: 2_000 },
  );
  const deep = '\\s'.repeat(1_000_000);
  expect(mixedValue(`${deep}7`)).toHaveLength(1_999_999);
  expect(mixedText(deep)).toBe(deep);
});
