import Database from 'better-sqlite3';
import pg from 'pg';
import { createTableSql } from '../src/databases/postgres/ddl.ts';
import { isMomentKind, momentText } from '../src/databases/moment.ts';
import { mixedValue } from '../src/databases/mixed.ts';
import { brief, column, planOf, table } from './support/plan.ts';
import { createTestDatabase, type TestDatabase } from './support/postgres.ts';

let database: TestDatabase;
let client: pg.Client;
beforeAll(async () => {
  database = await createTestDatabase();
  client = new pg.Client({
    connectionString: database.url,
    types: { getTypeParser: () => (value: unknown) => value },
  });
  await client.connect();
  await client.query(`SET TimeZone = 'Asia/Tokyo'`);
});
afterAll(async () => {
  await client.end();
  await database.drop();
});

/** What an insert that relies on the default stores: in SQLite with its class, on the target as text. */
async function stored(
  declared: string,
  clause: string,
): Promise<{ here: unknown; there: unknown; sql: string | undefined }> {
  const sql = `CREATE TABLE t (id INTEGER PRIMARY KEY, c ${declared} DEFAULT ${clause})`;
  const plan = await planOf(sql);
  expect(brief(plan.blockers)).toEqual([]);
  expect(brief(plan.notices)).toEqual([]);
  const source = new Database(':memory:');
  try {
    await client.query('DROP TABLE IF EXISTS t');
    await client.query(createTableSql(table(plan, 't')));
    source.exec(sql);
    source.exec('INSERT INTO t (id) VALUES (1)');
    await client.query('INSERT INTO t (id) VALUES (1)');
    const here = source
      .prepare(`SELECT iif(typeof(c) = 'blob', '\\x' || lower(hex(c)), CAST(c AS TEXT)) FROM t`)
      .pluck()
      .get();
    const held = (await client.query<{ c: unknown }>('SELECT c FROM t')).rows[0]!.c;
    const { kind } = column(plan, 't', 'c');
    const there = isMomentKind(kind) ? momentText(kind, held as string) : held;
    return { here, there, sql: column(plan, 't', 'c').defaultSql };
  } finally {
    source.close();
  }
}

describe('constant defaults', () => {
  it.each([
    ['INTEGER', '5'],
    ['INTEGER', '-5'],
    ['INTEGER', `'7'`],
    ['INTEGER', '0x10'],
    ['INTEGER', '+3'],
    ['INTEGER', '(2 + 3 * 4)'],
    ['INTEGER', 'TRUE'],
    ['INTEGER', '-9223372036854775808'],
    ['TEXT', `'it''s \\ "quoted"'`],
    ['TEXT', '"double quoted"'],
    ['TEXT', 'bareword'],
    ['TEXT', '5'],
    ['TEXT', '1.50'],
    ['TEXT', `''`],
    ['TEXT', `'CURRENT_TIMESTAMP'`],
    ['TEXT', `'datetime(now)'`],
    ['TEXT', `('a' || 'b' -- comment\n)`],
    ['TEXT', 'true'],
    ['BLOB', `x'00FF'`],
    ['BLOB', `x''`],
    ['NUMERIC(10,2)', '9.99'],
    ['NUMERIC', '-1'],
    ['NUMERIC', 'false'],
    ['DECIMAL', '1e3'],
    ['DECIMAL', '(0.1 + 0.2)'],
    ['REAL', '1.5'],
    ['REAL', '1e-300'],
    ['DATETIME', `'2024-01-31 12:34:56'`],
    ['DATE', `'2024-01-31'`],
    ['DATETIME', `'2024-01-31T12:34:56Z'`],
    ['DATETIME', `'2024-01-31T12:34:56.789Z'`],
    ['JSON', `'{"a": [1, 2]}'`],
    ['VARCHAR(1)', `'too long'`],
    ['', `'x'`],
    ['', '7'],
    ['', `'😀'`],
    ['TEXT', `(printf('%d', 5))`],
    ['TEXT', `(lower('ABC') || upper('d'))`],
    ['TEXT', `(json_array(1, 'two'))`],
    ['JSON', `(json_object('a', 1))`],
    ['JSON', `(json('[1, 2]'))`],
    ['INTEGER', `(CAST('12' AS INTEGER) + length('abc'))`],
    ['INTEGER', `(CASE WHEN 1 < 2 THEN 3 ELSE 4 END)`],
    ['INTEGER', '(1 + 1)'],
    ['INTEGER', '-0x10'],
    ['TEXT', `('(' || 'datetime(''now'')' || ')')`],
    ['BLOB', `(zeroblob(4))`],
    ['REAL', '(1.0 / 3)'],
    ['TEXT', `(replace('a-b', '-', '_'))`],
  ])('%s DEFAULT %s', async (declared, clause) => {
    const { here, there } = await stored(declared, clause);
    // A real prints its digits in another number of them; its value is the same.
    if (declared === 'REAL' || declared === 'DECIMAL') expect(Number(there)).toBe(Number(here));
    else expect(there).toBe(here);
  });

  it.each([
    ['BOOLEAN', '1', 't'],
    ['BOOLEAN', '0', 'f'],
    ['BOOLEAN', 'FALSE', 'f'],
  ])('%s DEFAULT %s', async (declared, clause, expected) => {
    expect((await stored(declared, clause)).there).toBe(expected);
  });

  it('NULL is no default', async () => {
    expect((await stored('INTEGER', 'NULL')).sql).toBeUndefined();
  });
});

describe('defaults that change', () => {
  it.each([
    ['DATETIME', 'CURRENT_TIMESTAMP'],
    ['TEXT', 'CURRENT_TIMESTAMP'],
    ['TEXT', 'CURRENT_DATE'],
    ['TEXT', 'CURRENT_TIME'],
    ['DATE', 'CURRENT_DATE'],
    ['DATETIME', `(datetime('now'))`],
    ['TEXT', `(DateTime('NOW'))`],
    ['DATETIME', '(datetime())'],
    ['TEXT', '(date())'],
    ['TEXT', `(time('now'))`],
    ['TEXT', `(STRFTIME('%Y-%m-%d %H:%M:%f','NOW'))`],
    ['DATETIME', `(strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))`],
    ['TEXT', `(strftime('%Y/%m/%d'))`],
    ['TEXT', `(strftime('%H:%M:%S on day %j', CURRENT_TIMESTAMP))`],
    ['INTEGER', '(unixepoch())'],
    ['TEXT', '(unixepoch())'],
    ['', '(unixepoch())'],
    ['INTEGER', `(strftime('%s','now'))`],
    ['TEXT', `(strftime('%s'))`],
    ['DATETIME', `(CAST(strftime('%s', 'now') AS INTEGER))`],
    ['INTEGER', `(strftime('%s','now') * 1000)`],
    ['INTEGER', `(unixepoch() * 1000)`],
    ['INTEGER', `((unixepoch()) * 1000)`],
    ['INTEGER', `(cast((julianday('now') - 2440587.5)*86400000 as integer))`],
    ['NUMERIC', '(unixepoch())'],
    ['TEXT', `(datetime('now', '+7 days'))`],
    ['DATETIME', `(datetime('now', '-90 minutes', 'start of day'))`],
    ['DATE', `(date('now', 'start of month'))`],
    ['TEXT', `(datetime('now', 'subsec'))`],
    ['INTEGER', `(unixepoch('now', '+1 hour'))`],
    ['INTEGER', `(unixepoch() + 3600)`],
    ['INTEGER', `(strftime('%Y%m%d'))`],
    ['REAL', '(unixepoch() + 0.5)'],
    ['INTEGER', `(CAST(unixepoch('subsec') * 1000 AS INTEGER))`],
    ['INTEGER', `(CAST((julianday('now') - 2440587.5) * 86400.0 AS INTEGER))`],
    ['TEXT', `('at ' || CURRENT_TIMESTAMP)`],
    ['TEXT', `(strftime('%Y-%m-%d', 'now', '+1 day'))`],
    ['TEXT', `(strftime('%H%%', 'now'))`],
  ])('%s DEFAULT %s', async (declared, clause) => {
    const { here, there } = await stored(declared, clause);
    const shape = (value: unknown): string => String(value).replace(/[0-9]/g, '9');
    expect(shape(there)).toBe(shape(here));
    // Seconds may pass between the two inserts; anything like hours would be a wrong time zone.
    const moment = (value: unknown): number => {
      const text = String(value);
      if (/^\d{10}$/.test(text)) return Number(text) * 1000;
      if (/^\d{13}$/.test(text)) return Number(text);
      return Date.parse(
        /^\d\d:/.test(text)
          ? '1970-01-01'
          : `${text.replace(' ', 'T').replace(/Z?$/, /\d\d:\d\d/.test(text) ? 'Z' : '')}`,
      );
    };
    const apart = Math.abs(moment(there) - moment(here));
    expect(Number.isNaN(apart) || apart < 120_000 || apart === 86_400_000).toBe(true);
  });

  it('the milliseconds are cut, not rounded, and the seconds too', async () => {
    const { rows } = await client.query<{ t: string }>(
      `SELECT to_char(timestamp '2024-01-01 00:00:59.999999', 'SS.MS') AS t`,
    );
    expect(rows[0]!.t).toBe('59.999');
    expect((await stored('INTEGER', '(unixepoch())')).sql).toContain('floor');
  });

  it.each([
    ['BLOB', '(randomblob(16))', /^\\x[0-9a-f]{32}$/],
    ['TEXT', '(lower(hex(randomblob(16))))', /^[0-9a-f]{32}$/],
    ['TEXT', '(hex(randomblob(4)))', /^[0-9A-F]{8}$/],
    ['TEXT', `('id-' || lower(hex(randomblob(8))))`, /^id-[0-9a-f]{16}$/],
    ['INTEGER', '(random())', /^-?\d{1,19}$/],
    ['INTEGER', '(abs(random()))', /^\d{1,19}$/],
    ['INTEGER', '(abs(random()) % 1000000)', /^\d{1,6}$/],
    ['TEXT', '(random())', /^-?\d{1,19}$/],
    ['REAL', `(julianday('now'))`, /^24\d{5}\.\d+$/],
    [
      'TEXT',
      `(lower(hex(randomblob(4))) || '-' || lower(hex(randomblob(2))) || '-4' || substr(lower(hex(randomblob(2))), 2)
        || '-' || substr('89ab', abs(random()) % 4 + 1, 1) || substr(lower(hex(randomblob(2))), 2) || '-' || lower(hex(randomblob(6))))`,
      /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    ],
  ])('%s DEFAULT %s', async (declared, clause, shape) => {
    const first = await stored(declared, clause);
    expect(first.there).toMatch(shape);
    expect(first.here).toMatch(shape);
    expect((await stored(declared, clause)).there).not.toBe(first.there);
  });

  it('the day is the same number, to the millisecond', async () => {
    const { here, there } = await stored('REAL', `(julianday('now'))`);
    expect(Math.abs(Number(here) - Number(there))).toBeLessThan(0.001);
  });

  it('a text of digits is not taken for a number in a column of several storage classes', async () => {
    const sql = `CREATE TABLE t (id INTEGER PRIMARY KEY, c NOT NULL DEFAULT (strftime('%s')), d TEXT NOT NULL DEFAULT (hex(randomblob(2))));
      INSERT INTO t (c, d) VALUES (5, x'00')`;
    const plan = await planOf(sql);
    expect(table(plan, 't').columns.map(({ kind }) => kind)).toEqual(['bigint', 'mixed', 'mixed']);
    await client.query('DROP TABLE IF EXISTS t');
    await client.query(createTableSql(table(plan, 't')));
    for (let i = 0; i < 50; i++) {
      const { rows } = await client.query<{ c: string; d: string }>(
        'INSERT INTO t DEFAULT VALUES RETURNING c, d',
      );
      expect(mixedValue(rows[0]!.c)).toMatch(/^\d{10}$/);
      expect(mixedValue(rows[0]!.d, false)).toMatch(/^[0-9A-F]{4}$/);
    }
  });
});

describe('defaults of no certain meaning', () => {
  it.each([
    ['TEXT', `(datetime('now', 'localtime'))`],
    ['TEXT', `(strftime('%Y-%W'))`],
    ['TEXT', `(datetime('now', '+1 month'))`],
    ['TEXT', `(date('now', 'weekday 1'))`],
    ['INTEGER', 'CURRENT_TIMESTAMP'],
    ['TEXT', '(lower(hex(randomblob(64))))'],
    ['TEXT', `(datetime('2024-01-01', 'now'))`],
    ['INTEGER', `'abc'`],
    ['TEXT', `(printf('%d', random()))`],
    ['INTEGER', '(sqlite_version())'],
  ])('%s DEFAULT %s', async (declared, clause) => {
    const plan = await planOf(
      `CREATE TABLE t (id INTEGER PRIMARY KEY, c ${declared} DEFAULT ${clause}); INSERT INTO t (c) VALUES (${declared === 'TEXT' ? `'x'` : 1})`,
    );
    expect(brief(plan.notices)).toEqual(['default-left-out t.c']);
    expect(plan.notices[0]!.message).toContain(clause.replace(/^\((.*)\)$/, '$1'));
    expect(column(plan, 't', 'c').defaultSql).toBeUndefined();
  });

  it.each([
    ['TEXT', `(datetime('now', 'localtime'))`],
    ['INTEGER', '(changes())'],
    ['TEXT', '(printf(changes()))'],
  ])('%s NOT NULL DEFAULT %s is refused', async (declared, clause) => {
    const plan = await planOf(
      `CREATE TABLE t (id INTEGER PRIMARY KEY, c ${declared} NOT NULL DEFAULT ${clause}); INSERT INTO t (c) VALUES (${declared === 'TEXT' ? `'x'` : 1})`,
    );
    expect(brief(plan.blockers)).toEqual(['default-not-null t.c']);
  });
});

describe('NOT NULL defaults of another class than the values', () => {
  it.each([
    ['datetime', '1700000000123', 'CURRENT_TIMESTAMP', '1 integer and the default CURRENT_TIMESTAMP'],
    ['INTEGER', '5', `'abc'`, `1 integer and the default 'abc'`],
    ['REAL', '0.5', `'none'`, `1 real and the default 'none'`],
  ])('%s %s DEFAULT %s: one text holds both', async (declared, value, clause, mixture) => {
    const plan = await planOf(
      `CREATE TABLE t (id INTEGER PRIMARY KEY, c ${declared} NOT NULL DEFAULT ${clause}); INSERT INTO t (c) VALUES (${value})`,
    );
    expect(brief(plan.blockers)).toEqual([]);
    expect(column(plan, 't', 'c')).toMatchObject({ kind: 'mixed', notNull: true });
    expect(column(plan, 't', 'c').defaultSql).toBeDefined();
    expect(plan.notices.map((notice) => notice.message)).toEqual([expect.stringContaining(mixture)]);
  });
});
