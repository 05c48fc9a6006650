/** Generated columns have on PostgreSQL the values that SQLite computes, bit by bit, or the row is refused there. */
import Database from 'better-sqlite3';
import pg from 'pg';
import type { Value } from '../src/databases/adapter.ts';
import { createTableSql } from '../src/databases/postgres/ddl.ts';
import { DEFAULT_INPUT } from '../src/contract.ts';
import { planMigration } from '../src/engine/plan.ts';
import { postgresParams } from '../src/router/values.ts';
import { brief, planOf, seededRandom, table } from './support/plan.ts';
import { createTestDatabase } from './support/postgres.ts';
import { differences } from './support/same.ts';

const COLUMNS: Record<string, string> = {
  id: 'INTEGER PRIMARY KEY',
  i: 'INT',
  j: 'INT',
  w: 'INTEGER',
  r: 'REAL',
  s: 'REAL',
  price: 'DECIMAL(10, 2)',
  n: 'NUMERIC',
  a: 'TEXT',
  b: 'TEXT NOT NULL',
  nc: 'TEXT COLLATE NOCASE',
  f: 'BOOLEAN',
  at: 'DATETIME',
  iso: 'DATETIME',
  d: 'DATE',
  x: 'BLOB',
  u: '',
};
const TEXTS = [
  '',
  'x',
  'X',
  'É',
  'é',
  'ab ',
  ' ab',
  ' ',
  '5',
  '😀😀é',
  'me@example.com',
  '@',
  'a@b@c',
  'Straße',
  'a\tb',
  '%_',
];
const VALUES: Record<string, (null | number | bigint | string | Buffer)[]> = {
  i: [null, 0n, 1n, -1n, 5n, 7n, -7n, 1_000n, 123_456_789n],
  j: [null, 0n, 1n, -1n, 2n, 3n, -3n, 1_000n],
  w: [null, 0n, 1n, 5n, 2n ** 53n + 1n, 2n ** 63n - 1n, -(2n ** 63n)],
  r: [null, 0, -0, 0.1, -2.5, 2.5, 0.5, -0.5, 0.49999999999999994, 1e300, Infinity, 3, 5e-324, 2 ** 52 + 1],
  s: [null, 0, 1, -1, 0.1, 2, 3, 1e-9, 1e10, -Infinity, 0.2],
  price: [null, 0n, 1n, 19.99, 0.1, 0.7, -7n, 2.5, 1_000_000.01, 3n],
  n: [null, 0n, 3n, 0.1, 1.005, -0.25, 2n ** 53n, 1_000_000n],
  a: [null, ...TEXTS],
  b: TEXTS,
  nc: [null, 'x', 'X', 'É', 'é'],
  f: [null, 0n, 1n],
  at: [null, '2024-01-01 00:00:00', '2023-12-31 23:59:59', '0001-01-01 00:00:00', '9999-12-31 09:08:07', '1969-12-31 23:59:59', '2024-02-29 12:30:05'],
  iso: [null, '2024-01-01T00:00:00.000Z', '2023-12-31T23:59:59.999Z', '0001-01-01T00:00:00.000Z', '9999-12-31T23:59:59.999Z', '1969-12-31T23:59:59.050Z'],
  d: [null, '2024-01-01', '0099-12-31', '2024-02-29', '1970-01-01'],
  x: [null, Buffer.from(''), Buffer.from('00ff', 'hex'), Buffer.from('x')],
  u: [null, 0.1, -0, 2, 1e300],
}; // prettier-ignore

/** Declared type, expression, and whether PostgreSQL refuses some of the rows. */
const CERTAIN: [type: string, expression: string, refuses?: 'refuses'][] = [
  ['TEXT', `a || ' ' || b`],
  ['', `a || b`],
  ['TEXT', `'#' || i || '/' || j`],
  ['TEXT', `lower(a)`],
  ['INTEGER', `w > r`],
  ['INTEGER', `a LIKE 'X%'`],
  ['INTEGER', `b LIKE '%@_%.COM'`],
  ['INTEGER', `b NOT LIKE '!%!_' ESCAPE '!'`],
  ['INTEGER', `a LIKE '\\%'`],
  ['INTEGER', `i LIKE '1%'`],
  ['INTEGER', `at LIKE '2024-%'`],
  ['INTEGER', `nc LIKE 'x' AND a LIKE 'É'`],
  ['INTEGER', `a GLOB '*x'`],
  ['INTEGER', `a GLOB '[a-zA-Z@]?*'`],
  ['INTEGER', `a GLOB '*[^a-]*' AND b NOT GLOB '%_'`],
  ['INTEGER', `b GLOB 'me@[]e]?ample.c*m'`],
  ['INTEGER', `nc = 'X'`],
  ['INTEGER', `nc < a`],
  ['INTEGER', `a < nc`],
  ['INTEGER', `nc BETWEEN 'a' AND 'Y' OR nc IN ('É')`],
  ['INTEGER', `a COLLATE NOCASE = b`],
  ['INTEGER', `a = nc COLLATE BINARY`],
  ['INTEGER', `lower(a) <> b COLLATE RTRIM`],
  ['INTEGER', `a COLLATE RTRIM = 'ab'`],
  ['INTEGER', `r = w`],
  ['INTEGER', `n <= r`],
  ['INTEGER', `d < '2024-'`],
  ['INTEGER', `at >= '2024-01-01' AND d <> at`],
  ['TEXT', `upper(nc)`],
  ['TEXT', `lower(a || 'ÉX')`],
  ['TEXT', `nc`],
  ['TEXT', `trim(a)`],
  ['TEXT', `ltrim(a, ' x')`],
  ['TEXT', `rtrim(a, 'b ')`],
  ['TEXT', `trim(a, '')`],
  ['TEXT', `replace(a, '@', ' at ')`],
  ['TEXT', `replace(a, '', 'x')`],
  ['TEXT', `replace(a, b, 'é')`],
  ['TEXT', `substr(a, 1, 3)`],
  ['TEXT', `substr(a, 0, 2)`],
  ['TEXT', `substr(a, 2)`],
  ['TEXT', `substr(a, -2)`],
  ['TEXT', `substring(a, -3, 2)`],
  ['TEXT', `substr(a, instr(a, '@') + 1)`],
  ['TEXT', `substr(a, 1, instr(a, '@') - 1)`],
  ['TEXT', `substr(a, 1, length(a) - 1)`],
  ['TEXT', `substr(at, 1, 7)`],
  ['INTEGER', `length(a)`],
  ['INTEGER', `length(x)`],
  ['INTEGER', `instr(a, b)`],
  ['TEXT', `hex(x)`],
  ['', `x`],
  ['BLOB', `coalesce(x, x'00')`],
  ['INTEGER', `i + j`],
  ['INTEGER', `i - j * 2`],
  ['INTEGER', `i * j`],
  ['INTEGER', `i / j`],
  ['INTEGER', `i % j`],
  ['INTEGER', `-i`],
  ['INTEGER', `+i`],
  ['INTEGER', `i & 6 | j`],
  ['INTEGER', `w`],
  ['BIGINT', `i * 60 * 60 * 24 * 1000`],
  ['INTEGER', `(i + j) / 2 - 1`],
  ['NUMERIC', `i + 1`],
  ['', `i + 1`],
  ['TEXT', `i + 1`],
  ['REAL', `i + 1`],
  ['REAL', `w`],
  ['REAL', `r + s`, 'refuses'],
  ['REAL', `r - s`],
  ['REAL', `r * s`, 'refuses'],
  ['REAL', `r / s`, 'refuses'],
  ['', `r * -1.0`],
  ['REAL', `r * -1.0`],
  ['NUMERIC', `r * -1.0`],
  ['INTEGER', `r * 2`],
  ['REAL', `-r`],
  ['REAL', `i * s`],
  ['REAL', `i / 2.0`],
  ['REAL', `w * 0.5`],
  ['REAL', `i * 100.0 / j`],
  ['REAL', `round(r)`],
  ['INTEGER', `round(s)`],
  ['REAL', `round(i)`],
  ['REAL', `abs(r)`],
  ['', `abs(u)`],
  ['INTEGER', `abs(i)`],
  ['DECIMAL', `price * j`],
  ['NUMERIC(12, 2)', `price * n`, 'refuses'],
  ['REAL', `price + n`],
  ['DECIMAL(10,2)', `price - 1`],
  ['REAL', `price * j * (1 - s)`],
  ['REAL', `price * 1.19`],
  ['NUMERIC', `coalesce(price, 0)`],
  ['REAL', `coalesce(price, 0)`],
  ['NUMERIC', `abs(price)`],
  ['REAL', `CAST(price AS REAL) / 3`],
  ['INTEGER', `CAST(price AS INTEGER)`],
  ['INTEGER', `CAST(s AS INTEGER)`, 'refuses'],
  ['REAL', `CAST(i AS REAL) / j`],
  ['TEXT', `CAST(i AS TEXT)`],
  ['TEXT', `coalesce(a, nullif(b, ''), 'none')`],
  ['TEXT', `ifnull(a, '-')`],
  ['INTEGER', `coalesce(i, j, 0)`],
  ['REAL', `coalesce(r, 0)`],
  ['REAL', `coalesce(r, s) + 1`],
  ['INTEGER', `nullif(i, 5)`],
  ['TEXT', `nullif(b, a)`],
  ['TEXT', `CASE WHEN i > 5 THEN 'big' WHEN i < 0 THEN 'negative' ELSE a END`],
  ['TEXT', `CASE f WHEN 1 THEN 'on' WHEN 0 THEN 'off' END`],
  ['INTEGER', `CASE WHEN r > 0.1 THEN 1 ELSE 0 END`],
  ['REAL', `CASE WHEN i > 0 THEN 0.5 ELSE 0 END`],
  ['INTEGER', `iif(f, i, -1)`],
  ['TEXT', `iif(a = b, 'same', NULL)`],
  ['INTEGER', `max(i, j)`],
  ['TEXT', `min(a, b, 'm')`],
  ['BOOLEAN', `i > j`],
  ['BOOLEAN', `a IS NOT NULL`],
  ['INTEGER', `a IS NULL OR f`],
  ['', `at > '2024-01-01 00:00:00'`],
  ['NUMERIC', `f AND i`],
  ['INTEGER', `f + (i = 5)`],
  ['TEXT', `f`],
  ['BOOLEAN', `coalesce(f, 0)`],
  ['BOOLEAN', `NOT f`],
  ['INTEGER', `w BETWEEN 0 AND 5`],
  ['DATE', `date(at)`],
  ['TEXT', `date(at)`],
  ['TEXT', `at || '!'`],
  ['DATETIME', `datetime(d)`],
  ['DATETIME', `iso`],
  ['TEXT', `iso`],
  ['TEXT', `iso || '!'`],
  ['TEXT', `substr(iso, 1, 10)`],
  ['INTEGER', `iso > '2024-01-01'`],
  ['INTEGER', `iso >= '2024-01-01T00:00:00.000Z' OR iso = '2023-12-31T23:59:59.999z'`],
  ['INTEGER', `iso < at`],
  ['INTEGER', `iso LIKE '%.999Z'`],
  ['DATETIME', `max(iso, '1970-01-01T00:00:00.000Z')`],
  ['TEXT', `time(at)`],
  ['TEXT', `strftime('%Y-%m', at)`],
  ['TEXT', `strftime('day %d of %Y, %H:%M:%S', d)`],
  ['INTEGER', `strftime('%Y', at)`],
  ['INT', `CAST(strftime('%m', d) AS INTEGER)`],
  ['TEXT', `strftime('%w %j %s %F %T', at)`],
  ['INTEGER', `unixepoch(at) / 3600`],
  ['INTEGER', `unixepoch(at) - unixepoch(d)`],
  ['TEXT', `'constant'`],
  ['INTEGER', `5`],
  ['REAL', `0.1`],
  ['INT', `1 + 2 * 3`],
  ['TEXT', `"a" || [b] || \`nc\``],
]; // prettier-ignore

const ROWS = 200;

/** False where a value is out of range, or against a CHECK: anything else is a fault of the translation. */
async function accepts(client: pg.Client, sql: string): Promise<boolean> {
  const inside = (client as pg.Client & { getTransactionStatus(): string }).getTransactionStatus() === 'T';
  if (inside) await client.query('SAVEPOINT one');
  try {
    await client.query(sql);
    return true;
  } catch (error) {
    const { code, message } = error as { code: string; message: string };
    if (!['22003', '23514'].includes(code)) throw new Error(`${sql}: ${message}`, { cause: error });
    if (inside) await client.query('ROLLBACK TO one');
    return false;
  }
}

it('have the same values', async () => {
  const random = seededRandom();
  const names = Object.keys(COLUMNS);
  const declared = names.map((name) => `${name} ${COLUMNS[name]}`).join(', ');
  const db = new Database(':memory:');
  const { url, drop } = await createTestDatabase();
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    db.exec(`CREATE TABLE base (${declared})`);
    const insert = db.prepare(`INSERT INTO base VALUES (${names.map(() => '?').join(', ')})`);
    for (let id = 1; id <= ROWS; id++)
      insert.run(...names.map((name) => (name === 'id' ? id : random.pick(VALUES[name]!))));
    for (const [k, [type, expression]] of CERTAIN.entries()) {
      const stored = random.pick(['STORED', 'VIRTUAL', '']);
      db.exec(
        `CREATE TABLE t${k} (${declared}, g ${type} GENERATED ALWAYS AS (${expression}) ${stored}); INSERT INTO t${k} SELECT * FROM base`,
      );
    }
    const plan = await planMigration(db, DEFAULT_INPUT);
    expect(plan.blockers.map(({ message }) => message)).toEqual([]);
    const copied = names.join(', ');
    await client.query(createTableSql(table(plan, 'base')));
    const rows = db.prepare('SELECT * FROM base').safeIntegers().raw().all() as Value[][];
    const marks = names.map((_, i) => `$${i + 1}`).join(', ');
    for (const row of rows) {
      const values = postgresParams(row).map((text, i) => (Object.is(row[i], -0) ? '-0' : text));
      await client.query(`INSERT INTO base VALUES (${marks})`, values);
    }
    const refusing = new Set<string>();
    for (const [k, [type, expression]] of CERTAIN.entries()) {
      const insert = `INSERT INTO t${k} SELECT ${copied} FROM base`;
      await client.query(createTableSql(table(plan, `t${k}`)));
      if (await accepts(client, insert)) continue;
      refusing.add(`${type} ${expression}`);
      // A refused row is taken out of the source, so that the others are still compared.
      await client.query('BEGIN');
      for (let id = 1; id <= ROWS; id++) {
        if (!(await accepts(client, `${insert} WHERE id = ${id}`)))
          db.exec(`DELETE FROM t${k} WHERE id = ${id}`);
      }
      await client.query('COMMIT');
    }
    const expected = CERTAIN.filter(([, , refuses]) => refuses !== undefined).map(
      ([type, expression]) => `${type} ${expression}`,
    );
    expect({
      seed: random.seed,
      unexpected: [...refusing].filter((one) => !expected.includes(one)),
    }).toEqual({
      seed: random.seed,
      unexpected: [],
    });
    // The first of each column.
    const found = new Map(
      (await differences(db, client, plan)).reverse().map((difference) => {
        const [, k, row] = /^t(\d+)(.*)/s.exec(difference)!;
        return [CERTAIN[Number(k)]!.join(' '), row];
      }),
    );
    expect({ seed: random.seed, found: [...found] }).toEqual({ seed: random.seed, found: [] });
  } finally {
    db.close();
    await client.end();
    await drop();
  }
});

it.each<[string, string, string]>([
  ['TEXT', `r || ''`, 'text of a real'],
  ['TEXT', `r + 1`, 'text of a real'],
  ['TEXT', `a + 1`, 'a number out of a text'],
  ['INTEGER', `CAST(a AS INTEGER)`, 'a number out of a text'],
  ['REAL', `price / j`, 'integers or reals, by their values'],
  ['', `price + 1`, 'an integer or a real, without an affinity'],
  ['', `coalesce(r, 0)`, 'an integer or a real, without an affinity'],
  ['REAL', `price * j * n`, 'integers of any size on the way'],
  ['REAL', `r % 2`, 'a remainder of reals'],
  ['REAL', `round(r, 2)`, 'decimal places'],
  ['TEXT', `substr(a, i)`, 'a start that may be negative'],
  ['TEXT', `substr(a, 2, j)`, 'a length that may be negative'],
  ['REAL', `max(r, s)`, 'the sign of zero'],
  ['TEXT', `date(a)`, 'a date out of a text'],
  ['TEXT', `strftime('%f', at)`, 'a field that is not known'],
  ['REAL', `julianday(at)`, 'a function that is not known'],
  ['INTEGER', `a LIKE b`, 'a pattern that is not written out'],
  ['INTEGER', `a LIKE 'x!' ESCAPE '!'`, 'an escape at the end'],
  ['INTEGER', `a GLOB '[x'`, 'a bracket that is not closed'],
  ['', `NULL`, 'no kind'],
  ['INTEGER', `1e30`, 'a literal beyond what is parsed alike'],
  ['INTEGER', `i << j`, 'shifts'],
  ['TEXT', `CASE WHEN f THEN a ELSE i END`, 'branches of two kinds'],
])('%s AS (%s) has no certain form: %s', async (type, expression) => {
  const declared = Object.entries(COLUMNS).map(([name, of]) => `${name} ${of}`);
  const plan = await planOf(
    `CREATE TABLE t (${declared.join(', ')}, g ${type} AS (${expression}));
     INSERT INTO t (id, a, b, r, price, n, at, d) VALUES (1, 'x', 'y', 0.5, 0.1, 2.5, '2024-01-01 00:00:00', '2024-01-01')`,
  );
  expect(brief(plan.blockers)).toEqual(['generated-column t.g']);
  expect(plan.blockers[0]!.message).toContain(expression);
});
