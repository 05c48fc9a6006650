/**
 * Columns as real databases have them: each arrives with the default policies and no override, is told of in the plan, reads
 * alike through the router's adapters, and comes back byte by byte.
 */
import { DIGITS_ARE_TEXT } from '../src/databases/mixed.ts';
import { PostgresAdapter } from '../src/router/adapters/postgres.ts';
import { SqliteAdapter } from '../src/router/adapters/sqlite.ts';
import { TestMigration } from './support/migration.ts';
import { column } from './support/plan.ts';

interface Case {
  title: string;
  declared: string;
  /** As SQL. */
  values: string[];
  type: string;
  /** Code of the notice about the column; absent where it is what one would expect. */
  notice?: string;
  /** How many values the notice counts. */
  count?: number;
}

const CASES: Case[] = [
  {
    title: 'integer milliseconds and text dates mixed',
    declared: 'DATETIME DEFAULT CURRENT_TIMESTAMP',
    values: ['1700000000123', `'2024-01-31 12:34:56'`, `'2024-01-31T12:34:56.789Z'`, '-1', '1700000000.5'],
    type: 'varchar',
    notice: 'mixed-classes',
    count: 3,
  },
  {
    title: 'nanosecond timestamps with an offset',
    declared: 'TIMESTAMP',
    values: [
      `'2024-01-31 12:34:56.123456789+02:00'`,
      `'2024-01-31 12:34:56.1-07:00'`,
      `'2024-01-31 12:34:56+00:00'`,
    ],
    type: 'text',
    notice: 'other-type',
    count: 3,
  },
  {
    title: 'year 0001, as Go writes a time that is none',
    declared: 'DATETIME',
    values: [`'0001-01-01 00:00:00+00:00'`, `'0001-01-01T00:00:00Z'`],
    type: 'text',
    notice: 'other-type',
    count: 2,
  },
  {
    title: 'year 0001 in the format of SQLite',
    declared: 'DATETIME',
    values: [`'0001-01-01 00:00:00'`, `'9999-12-31 23:59:59'`],
    type: 'timestamp',
  },
  {
    title: 'dates as JavaScript writes them',
    declared: 'DATETIME',
    values: [
      `'2024-01-31T12:34:56.789Z'`,
      `'2024-02-29T00:00:00.000Z'`,
      `'0001-01-01T00:00:00.000Z'`,
      `'9999-12-31T23:59:59.999Z'`,
      `'1899-06-01T00:00:00.001Z'`,
    ],
    type: 'timestamptz',
  },
  {
    title: 'dates as JavaScript writes them, and one that does not exist',
    declared: 'TIMESTAMP',
    values: [`'2024-01-31T12:34:56.789Z'`, `'2024-02-30T00:00:00.000Z'`],
    type: 'text',
    notice: 'other-type',
    count: 2,
  },
  {
    title: 'a date that is none',
    declared: 'DATE',
    values: [`'0000-00-00'`, `'2024-02-29'`, `''`],
    type: 'text',
    notice: 'other-type',
    count: 2,
  },
  {
    title: 'integers and reals in NUMERIC',
    declared: 'NUMERIC',
    values: ['5', '2.5', '-0.1', '9007199254740993', '1e15'],
    type: 'numeric',
  },
  {
    title: 'reals of 17 digits in DECIMAL',
    declared: 'DECIMAL(10,2)',
    values: ['5', '0.1 + 0.2', '1e300', '9e999'],
    type: 'double precision',
    notice: 'other-type',
    count: 3,
  },
  {
    title: 'integers beyond 2^53 beside reals of 17 digits',
    declared: 'NUMERIC',
    values: ['9007199254740993', '0.1 + 0.2'],
    type: 'varchar',
    notice: 'inexact-number',
    count: 1,
  },
  {
    title: 'text in BLOB',
    declared: 'BLOB',
    values: [`'{"a":1}'`, `''`],
    type: 'text',
    notice: 'other-type',
    count: 2,
  },
  {
    title: 'text and blobs in BLOB',
    declared: 'BLOB',
    values: [`'text'`, `x'00ff'`, `x''`, `'\\x00'`],
    type: 'varchar',
    notice: 'mixed-classes',
    count: 2,
  },
  {
    title: 'uuids in char(36)',
    declared: 'char(36)',
    values: [`'6f9619ff-8b86-d011-b42d-00cf4fc964ff'`, `'00000000-0000-0000-0000-000000000000'`],
    type: 'text',
  },
  {
    title: 'uuids of 32 digits in char(32)',
    declared: 'char(32)',
    values: [
      `'6f9619ff8b86d011b42d00cf4fc964ff'`,
      `'00000000000000000000000000000000'`,
      `'12345678901234567890123456789012'`,
    ],
    type: 'text',
  },
  {
    title: 'uuids in a column called UUID, some of which SQLite has made numbers of',
    declared: 'UUID',
    values: [
      `'6f9619ff8b86d011b42d00cf4fc964ff'`,
      `'00000000000000000000000000000000'`,
      `'12345678901234567890123456789012'`,
    ],
    type: 'varchar',
    notice: 'mixed-classes',
    count: 2,
  },
  {
    title: 'epoch seconds in INTEGER',
    declared: 'INTEGER',
    values: ['1700000000', '0', '-1'],
    type: 'bigint',
  },
  {
    title: 'epoch seconds in DATETIME',
    declared: 'DATETIME',
    values: ['1700000000', '0'],
    type: 'bigint',
    notice: 'other-type',
    count: 2,
  },
  {
    title: 'booleans declared INTEGER',
    declared: 'INTEGER NOT NULL DEFAULT 0',
    values: ['0', '1'],
    type: 'bigint',
  },
  {
    title: 'booleans declared numeric DEFAULT false',
    declared: 'numeric DEFAULT false',
    values: ['0', '1'],
    type: 'numeric',
  },
  {
    title: 'a boolean that is 2',
    declared: 'BOOLEAN',
    values: ['0', '1', '2'],
    type: 'numeric',
    notice: 'other-type',
    count: 1,
  },
  {
    title: 'booleans written as words',
    declared: 'BOOLEAN',
    values: [`'true'`, `'f'`],
    type: 'text',
    notice: 'other-type',
    count: 2,
  },
  {
    title: 'booleans written as words and as numbers',
    declared: 'BOOLEAN',
    values: [`'true'`, '1', '0'],
    type: 'varchar',
    notice: 'mixed-classes',
    count: 1,
  },
  {
    title: 'text with a NUL character',
    declared: 'TEXT',
    values: [`'a' || char(0) || 'b'`, `'plain'`, 'char(0)'],
    type: DIGITS_ARE_TEXT,
    notice: 'nul-in-text',
    count: 2,
  },
  {
    title: 'text that is not valid UTF-8',
    declared: 'VARCHAR(20)',
    values: [`CAST(x'ff' AS TEXT)`, `CAST(x'eda080' AS TEXT)`, `'é'`],
    type: DIGITS_ARE_TEXT,
    notice: 'invalid-utf8',
    count: 2,
  },
  {
    title: 'text longer than declared',
    declared: 'VARCHAR(3)',
    values: [`'abcd'`, `'😀😀😀'`, `'é'`],
    type: 'text',
    notice: 'longer-than-declared',
    count: 1,
  },
  {
    title: 'words in INTEGER',
    declared: 'INTEGER',
    values: ['5', `''`, `'n/a'`],
    type: 'varchar',
    notice: 'mixed-classes',
    count: 1,
  },
  {
    title: 'JSON that is none',
    declared: 'JSON',
    values: [`'{}'`, `'{a}'`],
    type: 'text',
    notice: 'other-type',
    count: 1,
  },
];

const named = CASES.map((item, i) => ({ ...item, name: `c${i}` }));
const KEYS = `
  CREATE TABLE p (id TEXT PRIMARY KEY, v);
  CREATE TABLE k (id INTEGER PRIMARY KEY, p INTEGER NOT NULL REFERENCES p);
  INSERT INTO p VALUES ('6f9619ff-8b86', 1), ('word', 2);
  INSERT INTO k VALUES (1, 'word'), (2, '6f9619ff-8b86');
`;

let migration: TestMigration;
let before: Map<string, unknown[]>;

/** Every value by its class and bytes. */
function stored(): Map<string, unknown[]> {
  return new Map(
    named.map(({ name }) => [
      name,
      migration.app
        .prepare(`SELECT id, typeof(v) || ' ' || hex(v) || ' ' || quote(v) FROM ${name} ORDER BY id`)
        .raw()
        .all(),
    ]),
  );
}

beforeAll(async () => {
  const tables = named.map(({ name, declared, values }) => {
    const rows = [...values, ...(declared.includes('NOT NULL') ? [] : ['NULL'])];
    return `CREATE TABLE ${name} (id INTEGER PRIMARY KEY, v ${declared}, n INT DEFAULT 0); INSERT INTO ${name} (v) VALUES ${rows.map((value) => `(${value})`).join(', ')};`;
  });
  migration = await TestMigration.create(tables.join('\n') + KEYS);
  // A time zone that was not a whole number of minutes from UTC once.
  await migration.target.query(
    `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET TimeZone = ''America/St_Johns''', current_database()); END $$`,
  );
  await migration.begin();
  await migration.copy();
  // What the application writes meanwhile goes another way.
  for (const { name } of named)
    migration.app.exec(`INSERT INTO ${name} (v) SELECT v FROM ${name}; UPDATE ${name} SET n = 1`);
  await migration.catchUp();
  await migration.index();
  await migration.verify();
  await migration.foreignKeys();
  before = stored();
});

afterAll(() => migration.dispose());

describe.each(named)('$title', ({ name, type, notice, count }) => {
  it('arrives, and the plan says how', () => {
    expect(column(migration.plan, name, 'v').targetType).toBe(type);
    const about = migration.plan.notices.filter((finding) => finding.table === name);
    expect(about.map(({ code, count: found }) => [code, found])).toEqual(
      notice === undefined ? [] : [[notice, count]],
    );
    if (notice !== undefined) expect(about[0]!.keys?.length).toBe(Math.min(5, count!));
  });

  it('reads alike on both', async () => {
    // A double stands for integers and reals of a NUMERIC column: as bigints they could not be told apart.
    const options = { safeIntegers: type !== 'double precision' };
    const source = new SqliteAdapter(migration.endpoints.sourcePath, options);
    const target = new PostgresAdapter(migration.endpoints.targetUrl, options);
    try {
      const sql = `SELECT id, v, n FROM ${name} ORDER BY id`;
      const rows = await source.query(sql);
      expect(rows.length).toBeGreaterThan(2);
      expect(await target.query(sql)).toEqual(rows);
    } finally {
      await source.close();
      await target.close();
    }
  });
});

it('text in an INTEGER foreign-key column: both sides have one type', async () => {
  expect(column(migration.plan, 'p', 'id').targetType).toBe('text');
  expect(column(migration.plan, 'k', 'p').targetType).toBe('text');
  await expect(
    migration.target.query(`SELECT conname FROM pg_constraint WHERE conname = 'k_p_fkey' AND convalidated`),
  ).resolves.toMatchObject({
    rowCount: 1,
  });
});

it('all of it is verified, and comes back byte by byte', async () => {
  expect(migration.plan.blockers).toEqual([]);
  expect(await migration.verify()).toMatchObject({ equal: true, quarantined: 0 });
  expect(await migration.cutOver()).toMatchObject({ outcome: 'moved' });
  for (const { name } of named) await migration.target.query(`UPDATE ${name} SET n = 2`);
  await migration.reverseCatchUp();
  expect(stored()).toEqual(before);
  expect(migration.app.prepare('SELECT min(n) FROM c0').pluck().get()).toBe(2);
});
