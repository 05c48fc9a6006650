import Database from 'better-sqlite3';
import pg from 'pg';
import type { Plan } from '../src/contract.ts';
import {
  addForeignKeySql,
  advanceSequenceSql,
  createIndexSql,
  createTableSql,
  dropForeignKeySql,
  dropTableSql,
  validateForeignKeySql,
} from '../src/databases/postgres/ddl.ts';
import { brief, planOf, seededRandom, table } from './support/plan.ts';
import { createTestDatabase, type TestDatabase } from './support/postgres.ts';

let database: TestDatabase;
let client: pg.Client;
beforeEach(async () => {
  database = await createTestDatabase();
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
});
afterEach(async () => {
  await client.end();
  await database.drop();
});

/** Creates everything of the plan, twice: every statement must be repeatable. */
async function create(plan: Plan): Promise<void> {
  expect(brief(plan.blockers)).toEqual([]);
  for (let round = 0; round < 2; round++) {
    for (const t of plan.tables) await client.query(createTableSql(t));
    for (const t of plan.tables) for (const index of t.indexes) await client.query(createIndexSql(t, index));
    for (const t of plan.tables)
      for (const key of t.foreignKeys) await client.query(addForeignKeySql(t, key));
    for (const t of plan.tables)
      for (const key of t.foreignKeys) await client.query(validateForeignKeySql(t, key));
  }
}

/** SQLSTATE of a statement, '' where it succeeds. */
async function state(sql: string, values: unknown[] = []): Promise<string> {
  try {
    await client.query(sql, values);
    return '';
  } catch (error) {
    return (error as pg.DatabaseError).code ?? 'none';
  }
}

const one = async (sql: string): Promise<unknown> =>
  Object.values((await client.query<Record<string, unknown>>(sql)).rows[0]!)[0];

describe('the schema on the target', () => {
  it('keeps odd names, keys, NOT NULL, unique and partial indexes and foreign keys', async () => {
    const plan = await planOf(`
      CREATE TABLE "user ""x"" 😀" ("select" INTEGER PRIMARY KEY, "a'b" TEXT NOT NULL UNIQUE, "Mixed" INT);
      CREATE UNIQUE INDEX "i""1" ON "user ""x"" 😀" ("Mixed") WHERE "a'b" = 'it''s';
      CREATE TABLE child (k TEXT, n INT, parent INT REFERENCES "USER ""X"" 😀" ON DELETE CASCADE ON UPDATE SET NULL DEFERRABLE INITIALLY DEFERRED,
        up TEXT, upn INT, PRIMARY KEY (k, n), FOREIGN KEY (up, upn) REFERENCES child);`);
    await create(plan);
    const name = '"user ""x"" 😀"';
    await client.query(`INSERT INTO ${name} ("select", "a'b", "Mixed") VALUES (1, 'it''s', 5), (2, 'b', 5)`);
    expect(await state(`INSERT INTO ${name} ("a'b") VALUES (NULL)`)).toBe('23502');
    expect(await state(`INSERT INTO ${name} ("select", "a'b") VALUES (9, 'b')`)).toBe('23505');
    expect(await state(`UPDATE ${name} SET "a'b" = 'it''s' WHERE "select" = 2`)).toBe('23505');
    await client.query(`INSERT INTO child (k, n, parent) VALUES ('a', 1, 1), ('a', 2, 2)`);
    expect(await state(`INSERT INTO child (k, n, up, upn) VALUES ('b', 1, 'a', 3)`)).toBe('23503');
    expect(await state(`INSERT INTO child (k, n, up, upn) VALUES ('b', 1, 'a', 1), ('b', 2, NULL, 7)`)).toBe(
      '',
    );
    await client.query('BEGIN');
    expect(await state(`UPDATE child SET parent = 77 WHERE n = 2 AND k = 'a'`)).toBe('');
    expect(await state('COMMIT')).toBe('23503');
    await client.query(`DELETE FROM ${name} WHERE "select" = 2`);
    expect(Number(await one('SELECT count(*) FROM child'))).toBe(3);
    for (const key of table(plan, 'child').foreignKeys)
      for (let i = 0; i < 2; i++) await client.query(dropForeignKeySql(table(plan, 'child'), key));
    expect(await state(`INSERT INTO child (k, n, parent) VALUES ('z', 1, 99)`)).toBe('');
    for (let i = 0; i < 2; i++) for (const t of plan.tables) await client.query(dropTableSql(t));
    expect(
      Number(await one(`SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace`)),
    ).toBe(0);
  });

  it('has text that compares bytewise, as SQLite does', async () => {
    const plan = await planOf('CREATE TABLE t (k TEXT PRIMARY KEY, x CLOB)');
    await create(plan);
    const source = new Database(':memory:');
    const words = ['b', 'a', 'B', 'é', 'z', 'É', '', ' ', '😀', '\uffff', 'aa', 'a b', 'ab', '~'];
    source.exec('CREATE TABLE t (k TEXT PRIMARY KEY)');
    for (const word of words) source.prepare('INSERT INTO t VALUES (?)').run(word);
    await client.query('INSERT INTO t (k) SELECT unnest($1::text[])', [words]);
    const { rows } = await client.query<{ k: string }>('SELECT k FROM t ORDER BY k');
    expect(rows.map((row) => row.k)).toEqual(source.prepare('SELECT k FROM t ORDER BY k').pluck().all());
    source.close();
    expect(await one(`SELECT collation_name FROM information_schema.columns WHERE column_name = 'x'`)).toBe(
      'C',
    );
  });

  it('numbers rows past every id, past what the source gave out, and never back', async () => {
    const plan = await planOf(
      `CREATE TABLE "t'1" (id INTEGER PRIMARY KEY AUTOINCREMENT, x INT); CREATE TABLE plain (k INT PRIMARY KEY)`,
    );
    await create(plan);
    const t = table(plan, "t'1");
    const next = async (): Promise<number> =>
      Number(await one(`INSERT INTO "t'1" (x) VALUES (1) RETURNING id`));
    expect(advanceSequenceSql(table(plan, 'plain'), 5n)).toBe('');
    await client.query(advanceSequenceSql(t, 0n));
    expect(await next()).toBe(1);
    await client.query(`INSERT INTO "t'1" (id) VALUES (50), (-7)`);
    await client.query(advanceSequenceSql(t, 0n));
    expect(await next()).toBe(51);
    await client.query(advanceSequenceSql(t, 1000n));
    expect(await next()).toBe(1001);
    await client.query(`DELETE FROM "t'1" WHERE id > 100`);
    await client.query(advanceSequenceSql(t, 60n));
    expect(await next()).toBe(1002);
  });

  it('keeps the names of foreign keys, which applications drop them by', async () => {
    const long = 'n'.repeat(70);
    const plan = await planOf(`CREATE TABLE p (id INTEGER PRIMARY KEY);
      CREATE TABLE c (id INTEGER PRIMARY KEY, a INT CONSTRAINT "To P" REFERENCES p, b INT REFERENCES p, d INT CONSTRAINT "" REFERENCES p,
        CONSTRAINT "To P" FOREIGN KEY (b) REFERENCES p, CONSTRAINT ${long} FOREIGN KEY (a) REFERENCES p)`);
    await create(plan);
    const { rows } = await client.query<{ name: string }>(
      `SELECT conname AS name FROM pg_constraint WHERE conrelid = 'c'::regclass AND contype = 'f' ORDER BY oid`,
    );
    const suffixed = /^To P_[0-9a-f]{8}$/;
    expect(rows.map((row) => row.name)).toEqual([
      'To P',
      'c_b_fkey',
      'c_d_fkey',
      expect.stringMatching(suffixed),
      'n'.repeat(63),
    ]);
  });

  it('adds a foreign key that the rows break only as not valid', async () => {
    const plan = await planOf(
      'CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (id INTEGER PRIMARY KEY, p INT REFERENCES p)',
    );
    const c = table(plan, 'c');
    for (const t of plan.tables) await client.query(createTableSql(t));
    await client.query('INSERT INTO c (p) VALUES (7)');
    expect(await state(addForeignKeySql(c, c.foreignKeys[0]!))).toBe('');
    expect(await state(validateForeignKeySql(c, c.foreignKeys[0]!))).toBe('23503');
  });
});

describe('CHECKs admit exactly what can go back', () => {
  /** Which of these values (as the target's input text) a column of this type takes. */
  async function admitted(declared: string, sample: string, values: string[]): Promise<string[]> {
    const plan = await planOf(
      `CREATE TABLE t (id INTEGER PRIMARY KEY, c ${declared}); INSERT INTO t VALUES (1, ${sample})`,
    );
    await create(plan);
    const taken: string[] = [];
    for (const value of values)
      if ((await state('INSERT INTO t (c) VALUES ($1)', [value])) === '') taken.push(value);
    return taken;
  }

  it('timestamp', async () => {
    const good = ['2024-02-29 23:59:59', '0001-01-01 00:00:00', '9999-12-31 23:59:59'];
    const bad = [
      '2024-01-01 00:00:00.5',
      'infinity',
      '-infinity',
      '0001-12-31 00:00:00 BC',
      '10000-01-01 00:00:00',
      '9999-12-31 23:59:59.000001',
    ];
    expect(await admitted('DATETIME', `'2024-01-31 12:00:00'`, [...good, ...bad])).toEqual(good);
  });

  it('timestamptz', async () => {
    const good = ['2024-02-29T23:59:59.999Z', '0001-01-01T00:00:00.000Z', '9999-12-31T23:59:59.999Z'];
    const bad = [
      '2024-01-01T00:00:00.0005Z',
      'infinity',
      '-infinity',
      '0001-01-01T00:00:00.000+01',
      '10000-01-01T00:00:00.000Z',
      '9999-12-31T23:59:59.999999Z',
    ];
    expect(await admitted('DATETIME', `'2024-01-31T12:00:00.000Z'`, [...good, ...bad])).toEqual(good);
  });

  it('date', async () => {
    const good = ['2024-02-29', '0001-01-01', '9999-12-31'];
    expect(
      await admitted('DATE', `'2024-01-31'`, [...good, 'infinity', '0001-01-01 BC', '10000-01-01']),
    ).toEqual(good);
  });

  it('double', async () => {
    const good = ['5e-324', '-1.7976931348623157e308', 'Infinity', '-Infinity', '0'];
    expect(await admitted('REAL', '1.5', [...good, 'NaN'])).toEqual(good);
  });

  it('numeric', async () => {
    const good = [
      '0',
      '1.50',
      '-0.01',
      '9223372036854775807',
      '-9223372036854775808',
      '123456789012.345',
      '1e-300',
    ];
    const bad = [
      'NaN',
      'Infinity',
      '9223372036854775808',
      '0.1234567890123456',
      '2251799813685247.5',
      '1e400',
      '1e-400',
      '0.30000000000000004',
    ];
    expect(await admitted('NUMERIC', '1.5', [...good, ...bad])).toEqual(good);
  });

  it('JSON that SQLite would turn into a number', async () => {
    const good = ['{"a": 1}', '"5"', ' [5] ', 'null', 'true'];
    expect(await admitted('JSON', `'{}'`, [...good, '5', ' -1e3 ', '{'])).toEqual(good);
  });

  it('text in a numeric column: exactly where SQLite keeps it text', async () => {
    const plan = await planOf(
      `CREATE TABLE t (id INTEGER PRIMARY KEY, c NUMERIC); INSERT INTO t VALUES (1, 'abc')`,
    );
    await create(plan);
    const random = seededRandom();
    const letters = [...'0123456789..eE+- \t\n\v\f\rxaé'];
    const values = Array.from({ length: 4_000 }, () =>
      Array.from({ length: random.below(7) }, () => random.pick(letters)).join(''),
    );
    const check = table(plan, 't').guards[0]!.sql;
    const { rows } = await client.query<{ ok: boolean }>(
      `SELECT ${check} AS ok FROM unnest($1::text[]) WITH ORDINALITY AS u ("c", i) ORDER BY i`,
      [values],
    );
    const source = new Database(':memory:');
    source.exec('CREATE TABLE t (c NUMERIC)');
    const insert = source.prepare('INSERT INTO t VALUES (?) RETURNING typeof(c)').pluck();
    const differing = values.filter((value, i) => (insert.get(value) === 'text') !== rows[i]!.ok);
    source.close();
    expect({ seed: random.seed, differing }).toEqual({ seed: random.seed, differing: [] });
  });

  it('numbers: what is admitted comes back from SQLite as the same decimal, and what the census calls exact is admitted', async () => {
    const plan = await planOf(
      `CREATE TABLE t (id INTEGER PRIMARY KEY, n NUMERIC); INSERT INTO t VALUES (1, 1.5)`,
    );
    await create(plan);
    const random = seededRandom();
    const digits = (n: number): string => Array.from({ length: n }, () => random.below(10)).join('');
    const values = Array.from({ length: 3_000 }, () => {
      const sign = random.pick(['', '-']);
      const fraction = random.pick([0, 0, 1, 2, 6, 13, 16, 20]);
      return `${sign}${digits(random.below(20) + 1)}${fraction === 0 ? '' : `.${digits(fraction)}`}${random.pick(['', '', `e-${random.below(20)}`, `e${random.below(4)}`])}`;
    });
    const check = table(plan, 't').guards[0]!.sql;
    const { rows } = await client.query<{ ok: boolean; whole: boolean; plain: string }>(
      `SELECT ${check} AS ok, n = trunc(n) AS whole, trim_scale(n)::text AS plain FROM unnest($1::text[]) WITH ORDINALITY AS u (v, i), CAST(v AS numeric) AS n ORDER BY i`,
      [values],
    );
    const source = new Database(':memory:');
    source.exec('CREATE TABLE t (n NUMERIC)');
    const insert = source.prepare(
      `INSERT INTO t VALUES (?) RETURNING typeof(n) AS class, iif(typeof(n) = 'integer', CAST(n AS TEXT), format('%.15g', n)) AS text,
         typeof(n) = 'integer' OR abs(n) < 2251799813685248.0 AND CAST(format('%.15g', n) AS REAL) = n AS exact`,
    );
    const wrong: unknown[] = [];
    const back: string[] = [];
    for (const [i, { ok, whole, plain }] of rows.entries()) {
      const bound = whole && ok ? BigInt(plain) : Number(plain);
      const found = insert.get(bound) as { class: string; text: string; exact: number };
      if (ok && (found.class === 'integer') !== whole) wrong.push([values[i], 'class', found]);
      if (ok && found.exact !== 1) wrong.push([values[i], 'exact', found]);
      back.push(found.exact === 1 ? found.text : '0');
    }
    source.close();
    const again = await client.query<{ ok: boolean; plain: string }>(
      `SELECT ${check} AS ok, trim_scale(n)::text AS plain FROM unnest($1::text[]) WITH ORDINALITY AS u (v, i), CAST(v AS numeric) AS n ORDER BY i`,
      [back],
    );
    again.rows.forEach((row, i) => {
      if (!row.ok) wrong.push([values[i], back[i], 'exact in SQLite, refused here']);
      if (rows[i]!.ok && row.plain !== rows[i]!.plain)
        wrong.push([values[i], row.plain, 'came back differently']);
    });
    expect(rows.filter((row) => row.ok).length).toBeGreaterThan(300);
    expect({ seed: random.seed, wrong }).toEqual({ seed: random.seed, wrong: [] });
  });

  it('JSON: what SQLite calls valid, PostgreSQL’s json takes', async () => {
    const random = seededRandom();
    const parts = [
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"a"',
      '"\\u0000"',
      '"\\ud800"',
      '"é\u007f😀"',
      '1',
      '-0',
      '1e5',
      '0.5',
      'true',
      'null',
      ' ',
      '\n',
      '"\\n"',
      '""',
    ];
    const source = new Database(':memory:');
    const valid = source.prepare('SELECT json_valid(?)').pluck();
    const texts = new Set<string>();
    for (let i = 0; i < 60_000; i++)
      texts.add(Array.from({ length: random.below(7) + 1 }, () => random.pick(parts)).join(''));
    const good = [...texts].filter((text) => valid.get(text) === 1);
    source.close();
    expect(good.length).toBeGreaterThan(100);
    expect(await state('SELECT v::json FROM unnest($1::text[]) v', [good])).toBe('');
    expect(await state('SELECT $1::json', [`${'['.repeat(900)}${']'.repeat(900)}`])).toBe('');
  });
});
