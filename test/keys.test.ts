/** Keys that sort differently on the two databases, or hold what PostgreSQL's text cannot: there and back, and verified. */
import type pg from 'pg';
import { mixedText, mixedValue } from '../src/databases/mixed.ts';
import { moveWritesBack } from '../src/engine/rollback.ts';
import { PostgresAdapter } from '../src/router/adapters/postgres.ts';
import { SqliteAdapter } from '../src/router/adapters/sqlite.ts';
import { verifyDatabases } from '../src/engine/verify.ts';
import { never, TestMigration } from './support/migration.ts';
import { brief, planOf, table } from './support/plan.ts';
import { seeded, type Random } from './support/random.ts';
import { differences } from './support/same.ts';
import { tamper } from './support/tamper.ts';

const SCHEMA = `
  CREATE TABLE folded (name TEXT COLLATE NOCASE, part INT, v TEXT, PRIMARY KEY (name, part)) WITHOUT ROWID;
  CREATE TABLE loose (k PRIMARY KEY, v);
  CREATE TABLE pair (a INT, b BLOB, v INT, PRIMARY KEY (b, a)) WITHOUT ROWID;
  CREATE TABLE parent (k INT PRIMARY KEY, u TEXT UNIQUE COLLATE NOCASE);
  CREATE TABLE child (id INTEGER PRIMARY KEY, p INTEGER REFERENCES parent (k));
  CREATE TABLE bytes (k TEXT PRIMARY KEY, v TEXT);
`;
/** Texts by their bytes: with a NUL, cut in the middle of a character, a lone surrogate. */
const ODD_TEXTS = ['610062', '303037', '5c', '00', 'c3', 'eda080', '61ff62', 'f09f8e', '5c7430'];
const KEYS = [
  1n,
  2n,
  10n,
  -5n,
  2n ** 62n,
  'a',
  'A',
  'b',
  ' 5',
  '+5',
  '007',
  '1',
  '10',
  '',
  '\\t00',
  'é',
  Buffer.from([0]),
  Buffer.from('a'),
];

function random(seed: Random): unknown {
  return seed.pick(KEYS);
}

function write(migration: TestMigration, seed: Random, count: number): void {
  const { app } = migration;
  for (let i = 0; i < count; i++) {
    const letters = String.fromCharCode(seed.pick([65, 97]) + seed.below(26)) + String(seed.below(4));
    app.prepare('INSERT OR REPLACE INTO folded VALUES (?, ?, ?)').run(letters, seed.below(3), `v${i}`);
    app.prepare('INSERT OR REPLACE INTO loose VALUES (?, ?)').run(random(seed), random(seed));
    app.prepare('INSERT OR REPLACE INTO pair VALUES (?, ?, ?)').run(random(seed), random(seed), i);
    app.prepare('INSERT OR IGNORE INTO parent VALUES (?, ?)').run(random(seed), letters);
    app.prepare('INSERT INTO child (p) SELECT k FROM parent ORDER BY random() LIMIT 1').run();
    const text = (): string => `CAST(x'${seed.pick(ODD_TEXTS)}' AS TEXT)`;
    app.exec(`INSERT OR REPLACE INTO bytes VALUES (${text()} || ${seed.below(9)}, ${text()})`);
    if (i % 5 === 0)
      app.prepare('UPDATE OR REPLACE loose SET k = ? WHERE k = ?').run(random(seed), random(seed));
    if (i % 7 === 0) app.prepare('DELETE FROM pair WHERE a = ?').run(random(seed));
    if (i % 6 === 0) app.prepare('UPDATE folded SET name = upper(name) WHERE name = ?').run(letters);
    if (i % 11 === 0) app.prepare('DELETE FROM loose WHERE k = ?').run(random(seed));
  }
}

/** Every value of every table, by class and bytes. */
function stored(migration: TestMigration): unknown[] {
  return ['folded', 'loose', 'pair', 'parent', 'child', 'bytes'].map((name) => {
    const columns = migration.app.pragma(`table_info(${name})`) as { name: string }[];
    const exact = columns
      .map(({ name: column }) => `typeof(${column}) || hex(${column})`)
      .join(` || ' ' || `);
    return migration.app.prepare(`SELECT ${exact} AS row FROM ${name} ORDER BY 1`).pluck().all();
  });
}

/** The same, from the target. */
async function storedThere(migration: TestMigration): Promise<unknown[]> {
  const found: unknown[] = [];
  for (const name of ['folded', 'loose', 'pair', 'parent', 'child', 'bytes']) {
    const { rows, fields } = await migration.target.query<unknown[]>({
      text: `SELECT * FROM ${name}`,
      rowMode: 'array',
    });
    const cell = (value: unknown, { dataTypeID: type, dataTypeModifier: modifier }: pg.FieldDef): string => {
      const one =
        type === 1043 && typeof value === 'string'
          ? mixedValue(value, modifier === -1)
          : type === 20 && value !== null
            ? BigInt(String(value))
            : value;
      if (one === null) return 'null';
      if (typeof one === 'bigint') return `integer${hex(String(one))}`;
      if (typeof one === 'string') return `text${hex(one)}`;
      return Buffer.isBuffer(one)
        ? `blob${one.toString('hex').toUpperCase()}`
        : `text${(one as { bytes: Buffer }).bytes.toString('hex').toUpperCase()}`;
    };
    found.push(rows.map((row) => row.map((value, i) => cell(value, fields[i]!)).join(' ')).sort());
  }
  return found;
}

function hex(text: string): string {
  return Buffer.from(text, 'utf8').toString('hex').toUpperCase();
}

let migration: TestMigration;

beforeEach(async () => {
  migration = await TestMigration.create(SCHEMA);
});

afterEach(() => migration.dispose());

it('arrive by copy and by replay, verify, go over, and come back with their storage classes', async () => {
  const seed = seeded('keys');
  write(migration, seed, 200);
  await migration.begin();
  expect(migration.plan.tables.filter(({ ordered }) => ordered === false).map(({ name }) => name)).toEqual([
    'bytes',
    'folded',
    'loose',
    'pair',
    'parent',
  ]);
  await migration.copy({ batchRows: 7, batchBytes: 500 });
  write(migration, seed, 100);
  await migration.catchUp();
  await migration.index();
  write(migration, seed, 50);
  await migration.catchUp();
  expect(await storedThere(migration)).toEqual(stored(migration));
  expect(await migration.verify()).toMatchObject({ equal: true, quarantined: 0 });
  expect(await migration.foreignKeys()).toBe(true);

  const before = stored(migration);
  expect(await migration.cutOver()).toMatchObject({ outcome: 'moved' });
  for (const sql of ['folded', 'loose', 'pair', 'bytes', 'child'].map(
    (name) => `UPDATE ${name} SET ${name === 'child' ? 'id' : 'v'} = ${name === 'child' ? 'id' : 'v'}`,
  ))
    await migration.target.query(sql);
  await migration.reverseCatchUp();
  expect(stored(migration)).toEqual(before);
  await migration.target.query(
    `UPDATE folded SET name = lower(name); INSERT INTO loose VALUES ('x', '7'), ('99', '\\s7'); DELETE FROM pair WHERE v < 100; DELETE FROM bytes WHERE k LIKE '%0'`,
  );
  await migration.reverseCatchUp();
  expect(stored(migration)).toEqual(await storedThere(migration));
  const back = await moveWritesBack({
    endpoints: migration.endpoints,
    lease: migration.lease('reverse'),
    maxPauseMs: 10_000,
  });
  expect(back.outcome).toBe('moved');
  expect(stored(migration)).toEqual(await storedThere(migration));
});

it('that are integers and reals in one NUMERIC column are one double, and their rows are found again', async () => {
  migration.app.exec(
    `CREATE TABLE n (k NUMERIC PRIMARY KEY, v INT); INSERT INTO n VALUES (5, 0), (0.1, 0), (1e300, 0), (-0.0, 0)`,
  );
  await migration.begin();
  expect(table(migration.plan, 'n').columns[0]!.kind).toBe('double');
  await migration.copy({ batchRows: 2 });
  const changeAll = `UPDATE n SET v = v + 1; UPDATE n SET k = 6 WHERE k = 5; DELETE FROM n WHERE k = 0`;
  migration.app.exec(changeAll);
  await migration.catchUp();
  await migration.index();
  expect(await differences(migration.app, migration.target, migration.plan)).toEqual([]);
  expect(await migration.verify()).toMatchObject({ equal: true, quarantined: 0 });
  await migration.cutOver();
  await migration.target.query('UPDATE n SET v = v + 1; UPDATE n SET k = 7 WHERE k = 6');
  await migration.reverseCatchUp();
  expect(migration.app.prepare('SELECT k, typeof(k) AS class, v FROM n ORDER BY k').all()).toEqual([
    { k: 0.1, class: 'real', v: 2 },
    { k: 7, class: 'integer', v: 2 },
    { k: 1e300, class: 'real', v: 2 },
  ]);
});

it('tell a row that is missing, too many, or another', async () => {
  migration.app.exec(`INSERT INTO loose VALUES (1, 'one'), ('1', 'text'), (x'01', 'blob'), ('b', 'b');
    INSERT INTO folded VALUES ('Ann', 1, 'v'), ('bob', 1, 'v')`);
  await migration.upToVerified();
  expect(await migration.verify()).toMatchObject({ equal: true });
  await tamper(
    migration.target,
    ['loose', 'folded'],
    `DELETE FROM loose WHERE k = '1'; UPDATE loose SET v = 'x' WHERE k = '\\s1'; INSERT INTO loose VALUES ('zz', 'new');
     UPDATE folded SET name = 'BOB' WHERE name = 'bob'`,
  );
  const { mismatches } = await migration.verify();
  expect(mismatches.map(({ table: name, key, kind }) => `${name} ${key} ${kind}`).sort()).toEqual([
    'folded BOB, 1 missing-on-primary',
    'folded bob, 1 missing-on-secondary',
    "loose '1' different",
    "loose 'zz' missing-on-primary",
    'loose 1 missing-on-secondary',
  ]);
});

it('forbid on the target what NOCASE forbids in the source', async () => {
  migration.app.exec(`INSERT INTO folded VALUES ('Ann', 1, 'v')`);
  await migration.upToVerified();
  await migration.cutOver();
  await expect(migration.target.query(`INSERT INTO folded VALUES ('aNN', 1, 'again')`)).rejects.toMatchObject(
    { code: '23505' },
  );
  await migration.target.query(`INSERT INTO folded VALUES ('aNN', 2, 'another')`);
});

it('of a foreign key are told where their case differs', async () => {
  const sql = (name: string): string => `CREATE TABLE p (name TEXT PRIMARY KEY COLLATE NOCASE);
    CREATE TABLE c (id INTEGER PRIMARY KEY, p TEXT REFERENCES p); INSERT INTO p VALUES ('Ann'); INSERT INTO c VALUES (1, '${name}')`;
  expect(brief((await planOf(sql('ANN'))).blockers)).toEqual(['nocase-parent c 1']);
  const plan = await planOf(sql('Ann'));
  expect(brief(plan.blockers)).toEqual([]);
  expect(brief(plan.notices)).toContain('nocase-parent c');
  expect(table(plan, 'p').indexes.map(({ name, targetSql, unique }) => [name, targetSql, unique])).toEqual([
    ['p_name_key', 'lower("name") NULLS FIRST', true],
  ]);
});

it('read alike through the adapters', async () => {
  for (const [i, bytes] of ODD_TEXTS.entries())
    migration.app.exec(`INSERT INTO bytes VALUES ('k${i}', CAST(x'${bytes}' AS TEXT))`);
  await migration.upToVerified();
  const source = new SqliteAdapter(migration.endpoints.sourcePath, { safeIntegers: true });
  const target = new PostgresAdapter(migration.endpoints.targetUrl, { safeIntegers: true });
  try {
    const sql = 'SELECT k, v FROM bytes ORDER BY k';
    expect(await target.query(sql)).toEqual(await source.query(sql));
  } finally {
    await source.close();
    await target.close();
  }
});

it('write a text with a NUL by its bytes', () => {
  expect(mixedText('a\0')).toBe('\\t6100');
  expect(mixedValue('\\t6100')).toBe('a\0');
  expect(mixedValue(mixedText('\\t6100'))).toBe('\\t6100');
});

it('admit on the target no second spelling of a key, and what the application writes there goes back', async () => {
  migration.app.exec(`INSERT INTO loose VALUES (1, 0), ('1', 0), (x'00', 0);
    INSERT INTO bytes VALUES (CAST(x'00' AS TEXT), '')`);
  await migration.upToVerified();
  await migration.cutOver();
  for (const key of ['007', '1.0', '-0', '1e3', '9223372036854775808', '\\rInf']) {
    await expect(migration.target.query('INSERT INTO loose VALUES ($1)', [key])).rejects.toMatchObject({
      code: '23514',
      constraint: expect.stringMatching(/^crossfade_k/),
    });
  }
  await migration.target
    .query(`INSERT INTO loose VALUES ('\\'), ('\\share'), ('\\s\\s7'), ('\\t61'), ('-9223372036854775808'), ('\\s007'), ('+5');
    INSERT INTO bytes VALUES ('007'), ('5.0'), ('\\'), ('\\x0'), ('\\s7'), ('\\rInf'), ('-0')`);
  await migration.reverseCatchUp();
  const read = migration.app.prepare(`SELECT typeof(k) || ' ' || k FROM loose WHERE v IS NULL
    UNION ALL SELECT 'bytes ' || typeof(k) || ' ' || k FROM bytes WHERE v IS NULL ORDER BY 1`);
  expect(read.pluck().all()).toEqual([
    'bytes text -0',
    'bytes text 007',
    'bytes text 5.0',
    'bytes text \\',
    'bytes text \\rInf',
    'bytes text \\s7',
    'bytes text \\x0',
    'integer -9223372036854775808',
    'text +5',
    'text 007',
    'text \\',
    'text \\s7',
    'text \\share',
    'text \\t61',
  ]);
  expect(
    await verifyDatabases({ ...migration.endpoints, mode: 'full', sampleRows: 100, signal: never }),
  ).toMatchObject({ equal: true });
});
