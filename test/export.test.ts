import { spawnSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import pg from 'pg';
import { DEFAULT_INPUT } from '../src/contract.ts';
import { createControl } from '../src/databases/sqlite/control.ts';
import { exportDatabase } from '../src/offline/export.ts';
import { runCommand, type Result } from './support/command-line.ts';
import { loadExport } from './support/load-export.ts';
import { createTestDatabase, type TestDatabase } from './support/postgres.ts';
import { seeded, type Random } from './support/random.ts';

const SCHEMA = `
  CREATE TABLE "Odd name; '/" (id INTEGER PRIMARY KEY AUTOINCREMENT, "t""ext" TEXT, whole INTEGER, real REAL, bytes BLOB,
    at DATETIME DEFAULT CURRENT_TIMESTAMP, amount DECIMAL(10,2), level INTEGER NOT NULL DEFAULT 3 CHECK (level > 0), twice INTEGER AS (level * 2));
  CREATE TABLE child (parent INTEGER REFERENCES "Odd name; '/" (id) ON DELETE CASCADE, name TEXT NOT NULL, note TEXT, PRIMARY KEY (parent, name)) WITHOUT ROWID;
  CREATE TABLE keyless (word TEXT, n INTEGER);
  CREATE TABLE "empty" (id INTEGER PRIMARY KEY, name TEXT UNIQUE);
  CREATE INDEX child_note ON child (note) WHERE note IS NOT NULL;
  CREATE UNIQUE INDEX whole_once ON "Odd name; '/" (whole);
  CREATE VIEW notes AS SELECT note FROM child;`;

const TEXTS = [
  '',
  '\\.',
  '\\',
  '\t',
  '\n',
  '\r\n',
  '\\N',
  'NULL',
  'ünïcödé ⛅️',
  `it's "quoted"`,
  '\b\f\v',
  '\u0001',
  '\ufffd',
  "'",
  '{"a":1}',
  '{x}',
];

let folder: string;
let source: string;
let app: Database.Database;
let database: TestDatabase;
let target: pg.Client;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'crossfade-export-'));
  source = join(folder, 'app.db');
  app = new Database(source);
  app.pragma('journal_mode = WAL');
  app.pragma('synchronous = OFF');
  database = await createTestDatabase();
  target = await connected(database);
});
afterEach(async () => {
  app.close();
  await target.end();
  await database.drop();
  rmSync(folder, { recursive: true, force: true });
});

async function connected({ url }: TestDatabase): Promise<pg.Client> {
  // Every value as the server writes it.
  const client = new pg.Client({
    connectionString: url,
    types: { getTypeParser: () => (text: unknown) => text },
  });
  client.on('error', () => undefined);
  await client.connect();
  await client.query(`SET TimeZone = 'UTC'; SET extra_float_digits = 3; SET bytea_output = 'hex'`);
  return client;
}

function exporting(...more: string[]): Promise<Result> {
  return runCommand(['export', '--source', `sqlite:${source}`, '--out', join(folder, 'out'), ...more], {});
}

function fill(random: Random): void {
  app.exec(SCHEMA);
  const double = new DataView(new ArrayBuffer(8));
  const real = (): number | null => {
    for (let i = 0; i < 8; i++) double.setUint8(i, random.below(256));
    const value = double.getFloat64(0);
    return Number.isNaN(value) ? null : value;
  };
  const text = (): string => Array.from({ length: random.below(4) }, () => random.pick(TEXTS)).join('');
  const long = (): string => text() + (random.chance(0.02) ? 'long '.repeat(30_000) : '');
  const insert = app.prepare(
    `INSERT INTO "Odd name; '/" ("t""ext", whole, real, bytes, amount, level) VALUES (?, ?, ?, ?, ?, ?)`,
  );
  const child = app.prepare('INSERT INTO child VALUES (?, ?, ?)');
  const keyless = app.prepare('INSERT INTO keyless VALUES (?, ?)');
  app.transaction(() => {
    for (let i = 1; i <= 2_500; i++) {
      const whole = i === 1 ? 9223372036854775807n : i === 2 ? -9223372036854775808n : BigInt(i) * 1_000_003n;
      const bytes = random.chance(0.3) ? null : random.bytes(random.below(40));
      insert.run(
        random.chance(0.1) ? null : long(),
        random.chance(0.05) ? null : whole,
        real(),
        bytes,
        random.below(10_000) / 100,
        1 + random.below(9),
      );
      child.run(i, `${random.pick(TEXTS)}${i}`, random.chance(0.5) ? null : text());
      keyless.run(random.pick(TEXTS), random.below(3));
    }
  })();
  // A number that was given out and is not there any more.
  app.exec(`INSERT INTO "Odd name; '/" (id) VALUES (70000); DELETE FROM "Odd name; '/" WHERE id = 70000`);
}

/** A row's values in one spelling for both drivers; nothing of the engine's. */
function spelled(values: unknown[]): string {
  return JSON.stringify(
    values.map((value) => {
      if (value === null) return null;
      if (Buffer.isBuffer(value)) return `\\x${value.toString('hex')}`;
      if (typeof value === 'number') return `number ${value}`;
      return String(value);
    }),
  );
}

/** The source's rows, and the target's, sorted alike. @param reals positions of the columns that hold reals */
async function bothSides(
  table: string,
  columns: string[],
  reals: number[],
  client: pg.Client,
): Promise<[string[], string[]]> {
  const list = columns.map((column) => `"${column.replaceAll('"', '""')}"`).join(', ');
  const rows = app.prepare(`SELECT ${list} FROM "${table}"`).raw().safeIntegers().all() as unknown[][];
  const { rows: found } = await client.query<unknown[]>({
    text: `SELECT ${list} FROM "${table}"`,
    rowMode: 'array',
  });
  const alike = (all: unknown[][]): string[] =>
    all
      .map((row) =>
        spelled(row.map((value, i) => (reals.includes(i) && value !== null ? Number(value) : value))),
      )
      .sort();
  return [alike(rows), alike(found)];
}

async function expectSame(client = target): Promise<void> {
  const columns = ['id', 't"ext', 'whole', 'real', 'bytes', 'at', 'amount', 'level', 'twice'];
  for (const [table, names, reals] of [
    [`Odd name; '/`, columns, [3, 6]],
    ['child', ['parent', 'name', 'note'], []],
    ['keyless', ['word', 'n'], []],
    ['empty', ['id', 'name'], []],
  ] as const) {
    const [there, here] = await bothSides(table, [...names], [...reals], client);
    const at = there.findIndex((row, i) => row !== here[i]);
    expect({ table, rows: here.length, first: here[at] }).toEqual({
      table,
      rows: there.length,
      first: there[at],
    });
  }
}

describe('crossfade export', () => {
  it('writes what loads into PostgreSQL as it was, with keys, indexes, foreign keys and numbers', async () => {
    fill(seeded('export'));
    const { status, out, err } = await exporting();
    expect({ status, err }).toEqual({ status: 0, err: '' });
    expect(out).toMatch(/child: 2,500 rows\n[^]*notice: 1 view in views\.sql[^]*done: 4 tables, 7,500 rows/);
    expect(readdirSync(folder).filter((name) => name.startsWith('out'))).toEqual(['out']);

    await loadExport(target, join(folder, 'out'));
    await expectSame();
    const { rows: objects } = await target.query(
      `SELECT conname AS name, contype AS type FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype IN ('p', 'f', 'c')
        UNION ALL SELECT relname, 'i' FROM pg_class WHERE relkind = 'i' AND relnamespace = 'public'::regnamespace
          AND relname IN ('child_note', 'whole_once', 'empty_name_key') ORDER BY type, name`,
    );
    expect(objects).toEqual([
      { name: expect.stringMatching(/level/) as unknown, type: 'c' },
      { name: 'child_parent_fkey', type: 'f' },
      { name: 'child_note', type: 'i' },
      { name: 'empty_name_key', type: 'i' },
      { name: 'whole_once', type: 'i' },
      ...['pkey', 'pkey', 'pkey', 'pkey'].map((end) => ({
        name: expect.stringContaining(end) as unknown,
        type: 'p',
      })),
    ]);
    const next = await target.query(`INSERT INTO "Odd name; '/" (level) VALUES (1) RETURNING id`);
    expect(next.rows).toEqual([{ id: '70001' }]);
    await expect(target.query(`INSERT INTO child VALUES (70002, 'x', NULL)`)).rejects.toMatchObject({
      code: '23503',
    });
    await target.query(readFileSync(join(folder, 'out', 'views.sql'), 'utf8'));
    expect((await target.query('SELECT count(*) AS n FROM notes')).rows).toEqual([{ n: '2500' }]);

    // psql itself, where it is installed.
    if (spawnSync('psql', ['--version']).status === 0) {
      const another = await createTestDatabase();
      const client = await connected(another);
      try {
        const psql = spawnSync('psql', ['-X', '-f', join(folder, 'out', 'load.sql'), another.url], {
          encoding: 'utf8',
          cwd: '/',
        });
        expect({ status: psql.status, err: psql.stderr }).toEqual({ status: 0, err: '' });
        expect(psql.stdout).toContain('loaded: 4 tables, 7500 rows');
        await expectSame(client);
      } finally {
        await client.end();
        await another.drop();
      }
    }
  }, 120_000);

  it('is of one moment, whatever is written meanwhile', async () => {
    app.exec(`
      CREATE TABLE a (id INTEGER PRIMARY KEY, n INTEGER); CREATE TABLE b (id INTEGER PRIMARY KEY, n INTEGER); CREATE TABLE c (w TEXT);
      WITH RECURSIVE i (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 5000) INSERT INTO a SELECT n, 0 FROM i;
      INSERT INTO b SELECT * FROM a; INSERT INTO c VALUES ('x');`);
    const { tables } = await exportDatabase({
      sourcePath: source,
      out: join(folder, 'out'),
      choices: DEFAULT_INPUT,
      signal: new AbortController().signal,
      // A value that no plan has seen, rows more and rows less, between the tables.
      onTable: () =>
        app.exec(
          `BEGIN; UPDATE a SET n = n + 1; UPDATE b SET n = n + 1; DELETE FROM b WHERE id % 2 = 0; INSERT INTO b VALUES (NULL, 'text'); DELETE FROM c; COMMIT`,
        ),
    });
    expect(tables.map(({ rows }) => rows)).toEqual([5_000, 5_000, 1]);
    await loadExport(target, join(folder, 'out'));
    const sums = await target.query(
      'SELECT (SELECT sum(n) FROM a) AS a, (SELECT sum(n) FROM b) AS b, (SELECT count(*) FROM b) AS n',
    );
    expect(sums.rows).toEqual([{ a: '0', b: '0', n: '5000' }]);
  }, 60_000);

  it('is refused on loading where a file is cut off, or the database is not empty, and leaves nothing', async () => {
    app.exec(`CREATE TABLE t (id INTEGER PRIMARY KEY, w TEXT); INSERT INTO t (w) VALUES ('one'), ('two')`);
    expect((await exporting()).status).toBe(0);
    const out = join(folder, 'out');
    const data = join(out, 'data', '0001-t.sql');
    const whole = readFileSync(data);
    truncateSync(data, whole.indexOf('2\ttwo'));
    await expect(loadExport(target, out)).rejects.toThrow(
      'data/0001-t.sql: 2 rows were exported, 1 are there',
    );
    const tables = () =>
      target.query(
        `SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'`,
      );
    expect((await tables()).rows).toEqual([]);
    writeFileSync(data, whole);
    await target.query('CREATE TABLE other (x int)');
    await expect(loadExport(target, out)).rejects.toThrow(
      'the database is not empty: schema public has "other"',
    );
    expect((await tables()).rows).toEqual([{ name: 'other' }]);
  }, 60_000);

  it('tells that the database has moved on, where a migration has fenced the file', async () => {
    app.exec('CREATE TABLE t (id INTEGER PRIMARY KEY)');
    createControl(app, 'shop', 1);
    app.exec(`UPDATE _crossfade_control SET state = 'moved'`);
    const { status, out } = await exporting();
    expect(status).toBe(0);
    expect(out).toMatch(
      /notice: migration "shop" has moved the writes of [^\n]*app\.db to PostgreSQL[^]*done: 1 table, 0 rows/,
    );
  });

  it('writes nothing where the plan refuses, the folder is in use, or the source is not there', async () => {
    app.exec(
      `CREATE TABLE t (id INTEGER PRIMARY KEY); CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; END`,
    );
    const refused = await exporting();
    expect(refused).toMatchObject({ status: 3, err: '' });
    expect(refused.out).toContain('refused: 1 blocker');
    expect(readdirSync(folder).filter((name) => name.startsWith('out'))).toEqual([]);

    mkdirSync(join(folder, 'out'));
    expect((await exporting('--policy', 'triggers=drop')).status).toBe(0);
    const again = await exporting('--policy', 'triggers=drop');
    expect(again).toMatchObject({ status: 2, out: '' });
    expect(again.err).toMatch(/^crossfade: the folder [^\n]*out is not empty[^\n]*\n$/);
    const missing = await runCommand(
      ['export', '--source', `sqlite:${folder}/none.db`, '--out', join(folder, 'x')],
      {},
    );
    expect(missing).toMatchObject({ status: 2, out: '' });
    const below = await runCommand(
      ['export', '--source', `sqlite:${source}`, '--out', join(source, 'x')],
      {},
    );
    expect(below).toMatchObject({ status: 2, out: '' });
  }, 60_000);
});
