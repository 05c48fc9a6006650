/** For every type and kind a DatabaseConnection answers alike from SQLite and from PostgreSQL, parameters included. */
import Database from 'better-sqlite3';
import fc from 'fast-check';
import type { ColumnKind } from '../src/contract.ts';
import type { Row, Value } from '../src/databases/adapter.ts';
import { DatabaseConnection } from '../src/router/connection.ts';
import { Answers, expectSame } from './support/answers.ts';
import type { TestMigration } from './support/migration.ts';
import { seeded } from './support/random.ts';
import { silent, until } from './support/router.ts';

const LONG = 'a_name_that_has_more_bytes_than_postgresql_keeps_of_any_name_at_all';
const NUL = 'a\0b';

/** Each column: its declared type, the kind that it becomes, and values that the application stored. */
const COLUMNS: Record<string, { declared: string; kind: ColumnKind; values: Value[] }> = {
  i: { declared: 'INTEGER', kind: 'bigint', values: [0, 5, -5, 2 ** 53 - 1, 2n ** 53n + 1n, -(2n ** 63n), 2n ** 63n - 1n] },
  big: { declared: 'BIGINT', kind: 'bigint', values: [1_700_000_000_123, 9_007_199_254_740_993n] },
  flag: { declared: 'BOOLEAN', kind: 'boolean', values: [true, false, 1, 0] },
  bits: { declared: 'INTEGER', kind: 'bigint', values: [true, false] },
  r: { declared: 'REAL', kind: 'double', values: [5, -0, 0.1, 1 / 3, Infinity, -Infinity, 1e308, 5e-324, 2 ** 53, 2 ** 63, 1e300] },
  f: { declared: 'DOUBLE PRECISION', kind: 'double', values: [0.30000000000000004, -1e-7] },
  n: { declared: 'NUMERIC', kind: 'numeric', values: [5, 0.1, 12.5, 1e15, 2n ** 53n + 1n, -0.001] },
  dec: { declared: 'DECIMAL(10,2)', kind: 'numeric', values: [19.99, 3, -0.5, 0] },
  nd: { declared: 'NUMERIC', kind: 'double', values: [1 / 3, 7] },
  t: { declared: 'TEXT', kind: 'text', values: ['', 'Ärger 🎉', '007', '5', '\\x61', "it's", 'a\nb\tc\\', ' 5 '] },
  vc: { declared: 'VARCHAR(5)', kind: 'text', values: ['longer than five', 'x'] },
  clob: { declared: 'CLOB', kind: 'text', values: ['x'.repeat(100_000)] },
  x: { declared: 'BLOB', kind: 'bytea', values: [Buffer.alloc(0), Buffer.from([0, 255, 92, 39]), new Uint8Array([97]), Buffer.from('\\x61')] },
  j: { declared: 'JSON', kind: 'json', values: ['{"b": 1,  "a":[]}', '"s"', '[1, 2]', 'null'] },
  d: { declared: 'DATE', kind: 'date', values: ['2024-02-29', '0001-01-01', '9999-12-31'] },
  dt: { declared: 'DATETIME', kind: 'timestamp', values: ['2024-02-29 23:59:59', '0001-01-01 00:00:00', '9999-12-31 23:59:59'] },
  ts: { declared: 'TIMESTAMP', kind: 'timestamp', values: ['1999-12-31 12:00:00'] },
  iso: { declared: 'DATETIME', kind: 'timestamptz', values: ['2024-02-29T23:59:59.123Z', '2024-02-29T23:59:59.000Z', '0001-01-01T00:00:00.000Z', '9999-12-31T23:59:59.999Z', '1899-12-31T00:00:00.050Z'] },
  um: { declared: '', kind: 'mixed', values: ['abc', Buffer.from([0, 1]), 0.5, 1 / 3, 7n, 2n ** 53n + 1n, '2024-01-31', 'Inf'] },
  im: { declared: 'INTEGER', kind: 'mixed', values: ['seven', 7, 7.5, 2n ** 60n] },
  bm: { declared: 'BLOB', kind: 'mixed', values: ['text in a blob', Buffer.from('bytes')] },
  nul: { declared: 'TEXT', kind: 'mixed', values: [NUL, 'plain', '007', '5', '\\share', '\\', '-0'] },
}; // prettier-ignore

/** Dates in other forms, and the like: whatever kind holds them, they come back as the application stores them. */
const OTHERS: Record<string, { declared: string; values: Value[] }> = {
  ms: { declared: 'DATETIME', values: ['2024-02-29 23:59:59.120', '2024-02-29 23:59:59.000'] },
  go: { declared: 'TIMESTAMP', values: ['2024-02-29 23:59:59.123456789+02:00', '0001-01-01 00:00:00+00:00'] },
  sec: { declared: 'DATETIME', values: [1_700_000_000, -1] },
  milli: { declared: 'TIMESTAMP', values: [1_700_000_000_123] },
  either: { declared: 'DATETIME', values: [1_700_000_000_123, '2024-02-29 23:59:59'] },
  uuid: { declared: 'CHAR(36)', values: ['6ba7b810-9dad-11d1-80b4-00c04fd430c8'] },
  tod: { declared: 'TIME', values: ['23:59:59'] },
}; // prettier-ignore

const ALL: Record<string, { declared: string; values: Value[] }> = { ...COLUMNS, ...OTHERS };
const NAMES = Object.keys(ALL);
const COUNT = Math.max(...Object.values(ALL).map(({ values }) => values.length));
const DECLARED = NAMES.map((name) => `${name} ${ALL[name]!.declared}`).join(', ');
const INSERT = `INSERT INTO v (id, ${NAMES.join(', ')}) VALUES (?${', ?'.repeat(NAMES.length)})`;

const SCHEMA = `
  CREATE TABLE v (id INTEGER PRIMARY KEY, ${DECLARED});
  CREATE TABLE keyless (a TEXT, b INT);
  INSERT INTO keyless VALUES ('x', 1), ('x', 1), (NULL, NULL);
  CREATE TABLE computed (id INTEGER PRIMARY KEY, a INT, b INT AS (a * 2) STORED, c TEXT AS ('v' || a));
  INSERT INTO computed (id, a) VALUES (1, 2), (2, NULL);
  CREATE TABLE ${LONG} (id INTEGER PRIMARY KEY, ${LONG} TEXT, "Straße 🎉" TEXT, "xmin" TEXT, "select" INT);
  INSERT INTO ${LONG} VALUES (1, 'long', 'street', 'renamed', 1);
  CREATE TABLE pairs (a TEXT, b INT, c TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
  INSERT INTO pairs VALUES ('x', 1, 'one'), ('X', 1, 'two');
  CREATE TABLE strict_one (id INTEGER PRIMARY KEY, a ANY, r REAL, x BLOB) STRICT;
  INSERT INTO strict_one VALUES (1, 'a', 5, x'00'), (2, 'b', 0.5, x'');
  CREATE TABLE w (id INTEGER PRIMARY KEY, ${DECLARED});
`;

/** As the router binds them: better-sqlite3 takes no booleans, and a number to be an integer must be a bigint there. */
const bound = (value: Value | undefined): unknown =>
  typeof value === 'boolean' ? BigInt(value) : (value ?? null);

function fill(db: Database.Database): void {
  const insert = db.prepare(INSERT);
  for (let row = 0; row < COUNT; row++) {
    insert.run(row + 1, ...NAMES.map((name) => bound(ALL[name]!.values[row])));
  }
  db.exec(`INSERT INTO v (id) VALUES (100); INSERT INTO w SELECT * FROM v`);
  // Not UTF-8: only SQL can make it.
  db.exec(`INSERT INTO v (id, nul) VALUES (101, CAST(x'ff61' AS TEXT)), (102, CAST(x'eda080' AS TEXT))`);
}

const SELECTS = [
  'SELECT * FROM v ORDER BY id',
  `SELECT id, ${NAMES.join(', ')} FROM v ORDER BY id DESC`,
  ...NAMES.map((name) => `SELECT ${name} FROM v ORDER BY id`),
  'SELECT a, b FROM keyless ORDER BY a NULLS FIRST',
  'SELECT * FROM keyless ORDER BY a NULLS FIRST',
  'SELECT * FROM computed ORDER BY id',
  'SELECT * FROM pairs ORDER BY a, b',
  'SELECT * FROM strict_one ORDER BY id',
  `SELECT id, ${LONG} AS v, "Straße 🎉", "select" FROM ${LONG}`,
  'SELECT p.a, p.c AS pc, v.t, v.um FROM pairs p JOIN v ON v.id = p.b ORDER BY p.a',
  'SELECT s.um, s.nul, s.j FROM (SELECT * FROM v) s ORDER BY s.id',
  'WITH s AS (SELECT id, um, dt FROM v) SELECT um, dt FROM s ORDER BY id',
];

const ANSWERS = [
  'SELECT count(*) AS n, count(i) AS i, count(DISTINCT flag) AS f FROM v',
  'SELECT sum(big) AS s, min(i) AS least, max(i) AS greatest, avg(bits) AS a FROM v',
  'SELECT sum(f) AS s, avg(f) AS a, min(r) AS least, max(r) AS greatest FROM v',
  'SELECT sum(dec) AS s, avg(dec) AS a, min(n) AS least, max(n) AS greatest FROM v',
  'SELECT min(t) AS least, max(t) AS greatest, min(d) AS d, max(dt) AS dt, min(ts) AS ts, max(iso) AS iso, coalesce(min(iso), max(iso)) AS first FROM v',
  'SELECT sum(i) AS s, avg(i) AS a, max(t) AS t FROM v WHERE id > 1000',
  'SELECT i = 5 AS eq, i IS NULL AS nul, NOT flag AS opposite, i > 1 OR flag AS o, i IN (0, 5) AS among FROM v ORDER BY id',
  'SELECT EXISTS (SELECT 1 FROM v) AS e, 1 = 1 AS t, 1 > 2 AS f, NULL = 1 AS u, TRUE AS tr, FALSE AS fa',
  'SELECT bits / 2 AS q, bits % 2 AS m, bits * 1.5 AS p, -bits AS n, bits + 2 AS s FROM v ORDER BY id',
  'SELECT 7 / 2 AS q, -7 / 2 AS n, 7 % 3 AS m, 7 / 2.0 AS r, 1 / 3.0 AS t, 2.5e-1 AS e, 1.50 AS d, 2147483648 * 2 AS b',
  'SELECT dec * 2 AS d, n + 1 AS n, f * 2 AS f, nd / 3.0 AS nd FROM v WHERE id < 3 ORDER BY id',
  `SELECT t || '!' AS a, length(t) AS b, lower(vc) AS c, replace(vc, 'x', 'y') AS e, trim(t) AS f, substr(t, 2, 3) AS g FROM v ORDER BY id`,
  'SELECT length(x) AS n, coalesce(t, vc) AS c, nullif(i, 5) AS z, abs(bits) AS a FROM v ORDER BY id',
  `SELECT CASE WHEN flag THEN 'yes' WHEN flag IS NULL THEN NULL ELSE 'no' END AS w FROM v ORDER BY id`,
  `SELECT CAST(bits AS TEXT) AS a, CAST('12' AS INTEGER) AS b, CAST('1.5' AS DOUBLE PRECISION) AS c, CAST(dt AS TEXT) AS e, CAST(j AS TEXT) AS g FROM v ORDER BY id`,
  'SELECT flag, count(*) AS n FROM v GROUP BY flag HAVING count(*) > 1 ORDER BY flag NULLS FIRST',
  'SELECT id, row_number() OVER (ORDER BY id DESC) AS n, sum(bits) OVER (ORDER BY id) AS s, lag(t) OVER (ORDER BY id) AS l FROM v ORDER BY id',
  `SELECT string_agg(t, ',' ORDER BY id) AS a FROM v`,
  'SELECT big FROM v UNION SELECT bits FROM v ORDER BY 1 NULLS FIRST',
  'WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 3) SELECT n FROM c',
]; // prettier-ignore

const shifted: { sql: string; source: Row[]; target: Row[]; answeredByTarget: boolean }[] = [];

/** During the shift: the source by `primary`, the target by percentage. */
async function whileShifting(migration: TestMigration): Promise<void> {
  migration.app.exec('UPDATE _crossfade_control SET read_percent = 100 WHERE id = 1');
  const { sourcePath: source, targetUrl: target } = migration.endpoints;
  const db = new DatabaseConnection({ source, target, logger: silent });
  try {
    await until(async () => {
      await db.query('SELECT 1');
      return db.stats().reads.target.count > 0;
    });
    for (const sql of [...SELECTS, ...ANSWERS]) {
      const { count, fallbacks } = db.stats().reads.target;
      const source = await db.query<Row>(sql, [], { primary: true });
      const target = await db.query<Row>(sql);
      const answeredByTarget =
        db.stats().reads.target.count === count + 1 && db.stats().reads.target.fallbacks === fallbacks;
      shifted.push({ sql, source, target, answeredByTarget });
    }
  } finally {
    await db.close();
    migration.app.exec('UPDATE _crossfade_control SET read_percent = 0 WHERE id = 1');
  }
}

let answers: Answers;

beforeAll(async () => {
  answers = await Answers.create(SCHEMA, { fill, shifting: whileShifting });
});

afterAll(() => answers.dispose());

it('the columns are of the kinds that they are to show', () => {
  const columns = answers.migration.plan.tables.find(({ name }) => name === 'v')!.columns;
  expect(Object.fromEntries(columns.map(({ name, kind }) => [name, kind]))).toMatchObject(
    Object.fromEntries(Object.entries(COLUMNS).map(([name, { kind }]) => [name, kind])),
  );
});

describe('reads', () => {
  it.each(SELECTS)('%s', (sql) => answers.same(sql));
  it.each(ANSWERS)('%s', (sql) => answers.same(sql));

  it('are the same while they shift', () => {
    expect(shifted).toHaveLength(SELECTS.length + ANSWERS.length);
    for (const { sql, source, target, answeredByTarget } of shifted) {
      expect([sql, answeredByTarget]).toEqual([sql, true]);
      expectSame(source, target);
    }
  });

  it('are as better-sqlite3 gives them, integers beyond 2^53 exact', async () => {
    const raw = new Database(answers.migration.endpoints.sourcePath, { readonly: true });
    const read = (safe: boolean): Row[] =>
      raw.prepare<[], Row>('SELECT * FROM v ORDER BY id').safeIntegers(safe).all();
    const [numbers, integers] = [read(false), read(true)];
    raw.close();
    const exact = numbers.map((row, at) =>
      Object.fromEntries(
        Object.entries(row).map(([name, value]) => {
          const stored = integers[at]![name];
          return [name, typeof stored === 'bigint' && BigInt(Number(stored)) !== stored ? stored : value];
        }),
      ),
    );
    // 2^53 - 1 is the greatest that no other integer rounds to; 2^60 fits a double by chance and is a bigint all the same.
    for (const row of exact) if (row['im'] === 2 ** 60) row['im'] = 2n ** 60n;
    const rows = await answers.same('SELECT * FROM v ORDER BY id');
    const low = -(2n ** 63n);
    expect(rows).toStrictEqual(exact.map((row) => (row['i'] === Number(low) ? { ...row, i: low } : row)));
    expect(rows.map((row) => row['i'])).toContain(9_007_199_254_740_993n);
  });

  it('give every integer as bigint on request', async () => {
    const [before, after] = answers.connections({ safeIntegers: true });
    // An integer in a NUMERIC column that is double precision on the target is a number there.
    const columns = NAMES.filter((name) => name !== 'nd').join(', ');
    for (const sql of [`SELECT id, ${columns} FROM v ORDER BY id`, 'SELECT * FROM computed', ...ANSWERS]) {
      expectSame(await before.query<Row>(sql), await after.query<Row>(sql));
    }
    const [row] = await after.query('SELECT id, i, flag, count(*) OVER () AS n FROM v WHERE i = ?', [5]);
    expect(row).toEqual({ id: 2n, i: 5n, flag: 0n, n: 1n });
  });
});

describe('parameters', () => {
  it('find every value by itself', async () => {
    for (const [name, { values }] of Object.entries(ALL)) {
      for (const value of values) {
        // PostgreSQL compares no json, and takes no NUL: both fail there, see docs/queries.md.
        if (name === 'j' || value === NUL) continue;
        const rows = await answers.same(`SELECT id, ${name} FROM v WHERE ${name} = ? ORDER BY id`, [value]);
        expect([name, value, rows.length > 0]).toEqual([name, value, true]);
      }
    }
  });

  it('store every value, by write, batch and transaction, and return it', async () => {
    for (let row = 0; row < COUNT; row++) {
      const values = NAMES.map((name) => ALL[name]!.values[row] ?? null).map((value) =>
        value === NUL ? null : value,
      );
      await answers.sameWrite(`${INSERT.replace('INTO v', 'INTO w')} RETURNING *`, [1000 + row, ...values]);
      const [before, after] = await answers.both((db) =>
        db.batch([{ sql: INSERT.replace('INTO v', 'INTO w'), params: [2000 + row, ...values] }]),
      );
      expect(after).toEqual(before);
      const [inside, there] = await answers.both((db) =>
        db.transaction(async (tx) => {
          const { rows } = await tx.write(
            `UPDATE w SET ${NAMES.map((name) => `${name} = ?`).join(', ')} WHERE id = ? RETURNING *`,
            [...values, 2000 + row],
          );
          return [...rows, ...(await tx.query('SELECT * FROM w WHERE id = ?', [1000 + row]))];
        }),
      );
      expectSame(inside, there);
    }
    await answers.same('SELECT * FROM w ORDER BY id');
  });

  it('are taken in every type that Value has, compared and stored', async () => {
    const cases: [string, Value[]][] = [
      ['flag', [true, false, 1, 0, 1n, 0n, null]],
      ['bits', [true, false, 1, 0n, '1', null]],
      ['i', [5, 5n, '5', 2n ** 53n + 1n, '9007199254740993', -0, null]],
      ['r', [5, 5n, '5', 0.5, '0.5', -0, Infinity, 5e-324, true, null]],
      ['n', [5, 5n, '5', '5.0', 0.1, '0.10', true, null]],
      ['t', ['x', '5', '\\x61', '', null]],
      ['x', [Buffer.from('a'), new Uint8Array([0, 1]), Buffer.from([1, 2, 3]).subarray(1), null]],
      ['d', ['2024-02-29', null]],
      ['dt', ['2024-02-29 23:59:59', null]],
      ['im', [7, 7n, '7', 7.5, 'seven', null]],
      ['bm', [Buffer.from('a'), 'a', null]],
    ];
    for (const [name, values] of cases) {
      for (const value of values) {
        await answers.same(`SELECT id FROM v WHERE ${name} = ? ORDER BY id`, [value]);
        await answers.same(`SELECT id FROM v WHERE ${name} <> ? ORDER BY id`, [value]);
        await answers.same(`SELECT id FROM v WHERE ${name} IN (?, ?) ORDER BY id`, [value, null]);
        await answers.sameWrite(`UPDATE w SET ${name} = ? WHERE id = 1 RETURNING *`, [value]);
      }
    }
  });

  it.each([undefined, new Date(0), {}, [], Symbol('x'), () => 1])('refuse %p', async (value) => {
    const params = [value as unknown as Value];
    const refused = { code: 'InvalidInput', message: expect.stringContaining('parameter 1 is') };
    for (const db of [answers.before, answers.after]) {
      await expect(db.query('SELECT id FROM v WHERE t = ?', params)).rejects.toMatchObject(refused);
      await expect(db.write('UPDATE w SET t = ?', params)).rejects.toMatchObject(refused);
      await expect(db.transaction((tx) => tx.write('UPDATE w SET t = ?', params))).rejects.toMatchObject(
        refused,
      );
    }
  });

  it('are placed by ?, ?1 and $1', async () => {
    const [id, big] = [2, 9_007_199_254_740_993n];
    for (const sql of [
      `SELECT id, '?1 $1 ?' AS "q?1" FROM v WHERE id = ? AND big = ? -- ?`,
      `SELECT id, '?1 $1 ?' AS "q?1" FROM v WHERE id = ?1 AND big = ?2 AND id = ?1 -- ?3`,
      `SELECT id, '?1 $1 ?' AS "q?1" FROM v WHERE id = $1 AND big = $2 AND id = $1 /* $3 */`,
    ]) {
      expect(await answers.same(sql, [id, big])).toEqual([{ id, 'q?1': '?1 $1 ?' }]);
    }
    const { rows } = await answers.sameWrite('UPDATE w SET t = ?2 WHERE id = ?1 RETURNING id, t', [1, 'two']);
    expect(rows).toEqual([{ id: 1, t: 'two' }]);
    const [before, after] = await answers.both((db) =>
      db.transaction((tx) => tx.query('SELECT id FROM v WHERE id IN ($2, $1) ORDER BY id', [1, 2])),
    );
    expect([before, after]).toEqual([
      [{ id: 1 }, { id: 2 }],
      [{ id: 1 }, { id: 2 }],
    ]);
  });

  it('by name are refused, and so is a number of them that is not the statement’s', async () => {
    for (const db of [answers.before, answers.after]) {
      const named = { id: 1 } as unknown as Value[];
      await expect(db.query('SELECT id FROM v WHERE id = :id', named)).rejects.toMatchObject({
        code: 'InvalidInput',
      });
      await expect(db.query('SELECT id FROM v WHERE id = ?', [])).rejects.toBeDefined();
      await expect(db.query('SELECT id FROM v WHERE id = ?', [1, 2])).rejects.toBeDefined();
    }
  });

  it('that are no valid Unicode become so, alike', async () => {
    const { rows } = await answers.sameWrite('UPDATE w SET t = ? WHERE id = 1 RETURNING t', ['\ud83d cut']);
    expect(rows).toEqual([{ t: '\ufffd cut' }]);
  });
});

describe('writes', () => {
  it.each([
    'DELETE FROM pairs',
    ` -- DELETE\n insert into pairs VALUES ('q', 1, NULL) RETURNING a`,
    `WITH s AS (SELECT 'q' AS a) INSERT INTO pairs SELECT a, 1, NULL FROM s RETURNING a`,
    `WITH s AS (SELECT 'x' AS a) UPDATE pairs SET c = 'update' WHERE a IN (SELECT a FROM s) RETURNING a`,
  ])('are not for query(): %s', async (sql) => {
    for (const db of [answers.before, answers.after]) {
      await expect(db.query(sql)).rejects.toMatchObject({ code: 'InvalidInput' });
      await expect(db.transaction((tx) => tx.query(sql))).rejects.toMatchObject({ code: 'InvalidInput' });
    }
    await answers.same(`SELECT a, 'DELETE FROM pairs' AS "update" FROM pairs ORDER BY a`);
  });

  it('tell what they changed', async () => {
    expect(await answers.sameWrite('UPDATE keyless SET b = ? WHERE a = ?', [2, 'x'])).toEqual({
      changes: 2,
      rows: [],
    });
    await answers.sameWrite('UPDATE keyless SET b = 3 WHERE a = ? RETURNING *', ['none']);
    await answers.sameWrite('INSERT INTO keyless VALUES (?, ?), (?, ?) RETURNING *', ['p', 1, 'q', 2]);
    await answers.sameWrite('DELETE FROM keyless WHERE b < ? RETURNING a, b', [2]);
    await answers.sameWrite('INSERT INTO computed (a) VALUES (?) RETURNING *', [21]);
    await answers.sameWrite('INSERT INTO computed VALUES (?, ?) RETURNING id, b', [10, 4]);
    await answers.sameWrite(`INSERT INTO ${LONG} (${LONG}) VALUES (?) RETURNING id, ${LONG} AS v`, ['x']);
    const upsert =
      'INSERT INTO pairs VALUES (?, ?, ?) ON CONFLICT (a, b) DO UPDATE SET c = excluded.c RETURNING *';
    await answers.sameWrite(upsert, ['x', 1, 'again']);
    await answers.sameWrite('INSERT INTO pairs VALUES (?, ?, ?) ON CONFLICT DO NOTHING RETURNING *', [
      'x',
      1,
      'no',
    ]);
    await answers.sameWrite('DELETE FROM pairs', []);
  });

  it('number new rows alike', async () => {
    await answers.sameWrite('INSERT INTO w (t) VALUES (?), (?) RETURNING id', ['a', 'b']);
    await answers.sameWrite('INSERT INTO w (t) VALUES (?) RETURNING id', ['c']);
  });
});

/** Values that the application may write into a column of each kind. */
const ARBITRARY: Record<string, fc.Arbitrary<Value>> = {
  i: fc.oneof(fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n), fc.maxSafeInteger(), fc.boolean()),
  flag: fc.oneof(fc.boolean(), fc.constantFrom(0, 1)),
  r: fc.double({ noNaN: false }),
  n: fc.oneof(
    fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n),
    fc.tuple(fc.integer({ min: -1e9, max: 1e9 }), fc.integer({ min: 0, max: 5 })).map(([n, p]) => n / 10 ** p),
  ),
  nd: fc.double({ noNaN: true, min: -1e15, max: 1e15 }),
  t: fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll('\0', '')),
  x: fc.uint8Array(),
  j: fc.json().map((text) => `[${text}]`),
  d: fc.date({ min: new Date(-62135596800000), max: new Date(253402300799000), noInvalidDate: true }).map((date) => date.toISOString().slice(0, 10)),
  dt: fc.date({ min: new Date(-62135596800000), max: new Date(253402300799000), noInvalidDate: true }).map((date) => date.toISOString().slice(0, 19).replace('T', ' ')),
  iso: fc
    .date({ noInvalidDate: true, min: new Date('0001-01-01T00:00:00.000Z'), max: new Date('9999-12-31T23:59:59.999Z') })
    .map((date) => date.toISOString()),
  im: fc.oneof(fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n), fc.double({ noNaN: true, noDefaultInfinity: true })),
  bm: fc.uint8Array(),
}; // prettier-ignore

it('any value that is written comes back alike', async () => {
  const { seed } = seeded('same answers');
  const names = Object.keys(ARBITRARY);
  const values = fc.record(
    Object.fromEntries(names.map((name) => [name, fc.option(ARBITRARY[name]!, { freq: 8 })])),
  );
  // PostgreSQL compares no json.
  const comparable = names.filter((name) => name !== 'j');
  const found = comparable.map((name) => `${name} = ? AS ${name}`).join(', ');
  const compared = (row: Record<string, Value>): Value[] => comparable.map((name) => row[name] ?? null);
  let id = 10_000;
  await fc.assert(
    fc.asyncProperty(fc.array(values, { minLength: 1, maxLength: 5 }), async (rows) => {
      const from = id;
      for (const row of rows) {
        const params = names.map((name) => row[name] ?? null);
        const insert = `INSERT INTO w (id, ${names.join(', ')}) VALUES (?${', ?'.repeat(names.length)}) RETURNING *`;
        await answers.sameWrite(insert, [id++, ...params]);
        await answers.same(`SELECT ${found} FROM w WHERE id >= ? ORDER BY id`, [...compared(row), from]);
      }
      await answers.same('SELECT * FROM w WHERE id >= ? ORDER BY id', [from]);
    }),
    { seed, numRuns: 15, endOnFailure: true },
  );
});

it.each(
  [124198936457734064, -124198936457734064, 2 ** 62, 2 ** 53 + 2].map((number, i) => ({
    number,
    id: 20_000 + i,
  })),
)(
  'a number that String() rounds, $number, arrives with all its digits where SQLite makes an integer of it',
  async ({ number, id }) => {
    await answers.sameWrite('INSERT INTO w (id, i, n, im) VALUES (?, ?, ?, ?) RETURNING i, n, im', [
      id,
      number,
      number,
      number,
    ]);
    await answers.same('SELECT id FROM w WHERE i = ?', [number]);
  },
);
