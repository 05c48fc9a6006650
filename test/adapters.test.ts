/** One suite over both databases: what an application sees must not depend on which one answers. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import type { DatabaseAdapter, Migration, Sql, Value } from '../src/databases/adapter.ts';
import { PostgresAdapter } from '../src/router/adapters/postgres.ts';
import { SqliteAdapter } from '../src/router/adapters/sqlite.ts';
import { createTestDatabase, type TestDatabase } from './support/postgres.ts';

const directory = mkdtempSync(join(tmpdir(), 'crossfade-adapters-'));
let postgres: TestDatabase;
let sqlite: SqliteAdapter;
let target: PostgresAdapter;

beforeAll(async () => {
  postgres = await createTestDatabase();
  sqlite = new SqliteAdapter(join(directory, 'app.db'));
  target = new PostgresAdapter(postgres.url);
});

afterAll(async () => {
  await sqlite.close();
  await target.close();
  await postgres.drop();
  rmSync(directory, { recursive: true });
});

/** By its text: better-sqlite3's errors may be of another realm than jest's `Error`, which `toThrow` does not take. */
const saying = (text: RegExp): object => ({ message: expect.stringMatching(text) });
const MISSING = saying(/no such table|does not exist/);

const both = (): DatabaseAdapter[] => [sqlite, target];

/** Creates a table of the kinds that the plan makes on the target, the source's declared types on SQLite. */
const KINDS: Sql = {
  sqlite: `CREATE TABLE kinds (id INTEGER PRIMARY KEY, i INTEGER, r REAL, b BOOLEAN, t TEXT, x BLOB, num NUMERIC, j TEXT, ts DATETIME, d DATE)`,
  postgres: `CREATE TABLE kinds (id bigint PRIMARY KEY, i bigint, r double precision, b boolean, t text, x bytea, num numeric, j json, ts timestamp, d date)`,
};
const INSERT = 'INSERT INTO kinds (id, i, r, b, t, x, num, j, ts, d) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)';

const ROWS: Value[][] = [
  [
    1,
    5,
    5,
    true,
    'text',
    Buffer.from([0, 255, 1]),
    12.5,
    '{"a": 1,  "b":[]}',
    '2024-02-29 23:59:59',
    '2024-02-29',
  ],
  [2, -(2 ** 53) + 1, 0.1, false, '', Buffer.alloc(0), -3, 'null', '0099-01-02 03:04:05', '0001-01-01'],
  [
    3,
    9_007_199_254_740_993n,
    1.7976931348623157e308,
    1,
    `Zoë 🎉 'quoted' ? $1 \\ "x"`,
    Buffer.from('é'),
    1e15,
    '"s"',
    null,
    null,
  ],
  [4, null, null, null, null, null, null, null, null, null],
  [5, 0, -0, 0, 'a\nb\tc\r', new Uint8Array([1, 2]), 0, '[]', '2024-01-01 00:00:00', '9999-12-31'],
  [
    6,
    -9_223_372_036_854_775_808n,
    5e-324,
    true,
    ' 5 ',
    Buffer.from([39]),
    0.1,
    '1.50',
    '1999-12-31 12:00:00',
    '1999-12-31',
  ],
  [7, 7, Number.POSITIVE_INFINITY, false, '007', null, 9_007_199_254_740_991, '{}', null, null],
  [8, 8, Number.NaN, null, 'nan', null, null, null, null, null],
];

describe('values', () => {
  beforeAll(async () => {
    for (const db of both()) {
      await db.write(KINDS);
      for (const row of ROWS) expect(await db.write(INSERT, row)).toEqual({ changes: 1, rows: [] });
    }
  });

  it('come back deep-equal, and as better-sqlite3 gives them', async () => {
    const sql = 'SELECT * FROM kinds ORDER BY id';
    const [a, b] = await Promise.all(both().map((db) => db.query(sql)));
    expect(b).toStrictEqual(a);
    const raw = new Database(sqlite.path);
    // The driver rounds what no number holds; here it is a bigint.
    const exact = new Map<unknown, bigint>([
      [3, 9_007_199_254_740_993n],
      [6, -9_223_372_036_854_775_808n],
    ]);
    const rows = raw.prepare(sql).all() as { id: number; i: unknown }[];
    expect(a).toStrictEqual(rows.map((row) => ({ ...row, i: exact.get(row.id) ?? row.i })));
    raw.close();
    expect(a?.[0]).toStrictEqual({
      id: 1,
      i: 5,
      r: 5,
      b: 1,
      t: 'text',
      x: Buffer.from([0, 255, 1]),
      num: 12.5,
      j: '{"a": 1,  "b":[]}',
      ts: '2024-02-29 23:59:59',
      d: '2024-02-29',
    });
  });

  it('come back deep-equal with safeIntegers', async () => {
    const sql = 'SELECT id, i, b, r, num, t, x FROM kinds ORDER BY id';
    const safe = [
      new SqliteAdapter(sqlite.path, { safeIntegers: true }),
      new PostgresAdapter(postgres.url, { safeIntegers: true }),
    ];
    try {
      const [a, b] = await Promise.all(safe.map((db) => db.query(sql)));
      expect(b).toStrictEqual(a);
      expect(a?.[2]).toMatchObject({ id: 3n, i: 9_007_199_254_740_993n, b: 1n, num: 1_000_000_000_000_000n });
      const raw = new Database(sqlite.path);
      expect(a).toStrictEqual(raw.prepare(sql).safeIntegers(true).all());
      raw.close();
      for (const db of safe) {
        expect(await db.query('SELECT count(*) AS n, sum(id) AS s, avg(id) AS a FROM kinds')).toStrictEqual([
          { n: 8n, s: 36n, a: 4.5 },
        ]);
      }
    } finally {
      for (const db of safe) await db.close();
    }
  });

  it('come back deep-equal from expressions and aggregates', async () => {
    for (const [sql, params] of [
      ['SELECT count(*) AS n, sum(i) AS s, avg(id) AS a, max(t) AS t FROM kinds WHERE id < ?', [3]],
      ['SELECT CAST(? AS INTEGER) AS a, CAST(? AS TEXT) AS b, CAST(? AS REAL) AS c', [7, 'x', 0.5]],
      [`SELECT 'a''?' AS "q?", id FROM kinds WHERE t = ? -- ?`, ['text']],
      ['SELECT id FROM kinds WHERE id IN (?, ?) ORDER BY id LIMIT ?', [1n, 2, 1]],
      ['SELECT EXISTS (SELECT 1 FROM kinds WHERE id = ?) AS e', [1]],
    ] as [string, Value[]][]) {
      const [a, b] = await Promise.all(both().map((db) => db.query(sql, params)));
      expect(b).toStrictEqual(a);
      expect(a?.length).toBe(1);
    }
  });

  it('take every value back as a parameter', async () => {
    for (const db of both()) {
      const rows = await db.query<Record<string, Value>>(
        'SELECT * FROM kinds WHERE id <> 3 AND id <> 6 ORDER BY id',
      );
      await db.write('DELETE FROM kinds WHERE id <> 3 AND id <> 6');
      await db.batch(rows.map((row) => ({ sql: INSERT, params: Object.values(row) })));
      expect(await db.query('SELECT * FROM kinds WHERE id <> 3 AND id <> 6 ORDER BY id')).toStrictEqual(rows);
    }
  });

  it.each([undefined, new Date(0), {}, Symbol('x')])('refuse %p as a parameter', async (value) => {
    for (const db of both()) {
      await expect(db.write('UPDATE kinds SET t = ?', [value as unknown as Value])).rejects.toMatchObject({
        code: 'InvalidInput',
      });
    }
  });
});

describe('writes', () => {
  beforeAll(async () => {
    for (const db of both()) await db.write('CREATE TABLE w (id BIGINT PRIMARY KEY, v TEXT UNIQUE)');
  });
  beforeEach(async () => {
    for (const db of both()) await db.write('DELETE FROM w');
  });

  it('tell what they changed and return rows', async () => {
    for (const db of both()) {
      expect(await db.write('INSERT INTO w VALUES (?, ?), (?, ?) RETURNING id', [1, 'a', 2, 'b'])).toEqual({
        changes: 2,
        rows: [{ id: 1 }, { id: 2 }],
      });
      expect(await db.write('UPDATE w SET v = ? WHERE id > ?', ['c', 5])).toEqual({ changes: 0, rows: [] });
      expect(await db.write('INSERT INTO w VALUES (1, ?) ON CONFLICT DO NOTHING', ['x'])).toMatchObject({
        changes: 0,
      });
      expect(await db.write('SELECT id FROM w ORDER BY id')).toEqual({
        changes: 0,
        rows: [{ id: 1 }, { id: 2 }],
      });
      expect(await db.write('DELETE FROM w')).toEqual({ changes: 2, rows: [] });
    }
  });

  it('are all applied by a batch, or none', async () => {
    for (const db of both()) {
      const results = await db.batch([
        { sql: 'INSERT INTO w VALUES (?, ?)', params: [1, 'a'] },
        { sql: { sqlite: 'UPDATE w SET v = ?', postgres: 'UPDATE w SET v = ?::text' }, params: ['b'] },
      ]);
      expect(results.map(({ changes }) => changes)).toEqual([1, 1]);
      await expect(
        db.batch([{ sql: 'INSERT INTO w VALUES (2, NULL)' }, { sql: 'INSERT INTO w VALUES (1, NULL)' }]),
      ).rejects.toMatchObject(saying(/unique/i));
      expect(await db.query('SELECT * FROM w')).toEqual([{ id: 1, v: 'b' }]);
    }
  });

  it('are committed by a transaction that resolves, rolled back by one that rejects', async () => {
    for (const db of both()) {
      const answer = await db.transaction(async (tx) => {
        await tx.write('INSERT INTO w VALUES (?, ?)', [1, 'a']);
        await new Promise((resolve) => setImmediate(resolve));
        // Two at once take their turn.
        const [rows] = await Promise.all([
          tx.query('SELECT v FROM w'),
          tx.write('UPDATE w SET v = ?', ['b']),
        ]);
        return rows;
      });
      expect(answer).toEqual([{ v: 'a' }]);
      const boom = new Error('boom');
      await expect(
        db.transaction(async (tx) => {
          await tx.write('DELETE FROM w');
          throw boom;
        }),
      ).rejects.toBe(boom);
      expect(await db.query('SELECT * FROM w')).toEqual([{ id: 1, v: 'b' }]);
    }
  });

  it('are not seen outside of a transaction before its end', async () => {
    for (const db of both()) {
      await db.transaction(async (tx) => {
        await tx.write('INSERT INTO w VALUES (1, NULL)');
        expect(await db.query('SELECT * FROM w')).toEqual([]);
      });
      expect(await db.query('SELECT * FROM w')).toHaveLength(1);
    }
  });

  it('doom their transaction when one fails, even if the callback catches it', async () => {
    for (const db of both()) {
      await db.write('INSERT INTO w VALUES (1, NULL)');
      await expect(
        db.transaction(async (tx) => {
          await tx.write('INSERT INTO w VALUES (2, NULL)');
          await tx.write('INSERT INTO w VALUES (1, NULL)').catch(() => undefined);
          await expect(tx.query('SELECT 1')).rejects.toMatchObject({ code: 'InvalidInput' });
        }),
      ).rejects.toMatchObject(saying(/unique/i));
      expect(await db.query('SELECT id FROM w')).toEqual([{ id: 1 }]);
    }
  });

  it('are refused after the end of their transaction', async () => {
    for (const db of both()) {
      const tx = await db.transaction(async (inner) => inner);
      await expect(tx.write('INSERT INTO w VALUES (9, NULL)')).rejects.toMatchObject({
        code: 'InvalidInput',
      });
      expect(await db.query('SELECT * FROM w')).toEqual([]);
    }
  });

  it('wait for one another where only one transaction may write', async () => {
    for (const db of both()) {
      await db.write('INSERT INTO w VALUES (1, ?)', ['0']);
      await Promise.all(
        Array.from({ length: 8 }, () =>
          db.transaction(async (tx) => {
            const [row] = await tx.query<{ v: string }>({
              sqlite: 'SELECT v FROM w WHERE id = 1',
              postgres: 'SELECT v FROM w WHERE id = 1 FOR UPDATE',
            });
            await new Promise((resolve) => setImmediate(resolve));
            await tx.write('UPDATE w SET v = ? WHERE id = 1', [String(Number(row?.v) + 1)]);
          }),
        ),
      );
      expect(await db.query('SELECT v FROM w')).toEqual([{ v: '8' }]);
    }
  });

  it('run beside one another exactly where the capabilities say so', async () => {
    for (const db of both()) {
      let inside = 0;
      let most = 0;
      await Promise.all(
        [1, 2].map((id) =>
          db.transaction(async (tx) => {
            inside += 1;
            await tx.write('INSERT INTO w VALUES (?, NULL)', [id]);
            most = Math.max(most, inside);
            // Where both may write, each waits for the other to have written.
            while (db.capabilities.concurrentWriters && most < 2)
              await new Promise((resolve) => setImmediate(resolve));
            await new Promise((resolve) => setImmediate(resolve));
            inside -= 1;
          }),
        ),
      );
      expect(most).toBe(db.capabilities.concurrentWriters ? 2 : 1);
    }
  });

  it.each(['BEGIN', 'ROLLBACK', 'SAVEPOINT x'])('refuse %s', async (sql) => {
    for (const db of both()) await expect(db.write(sql)).rejects.toMatchObject({ code: 'InvalidInput' });
  });

  it('take one statement at a time', async () => {
    for (const db of both()) {
      await expect(
        db.write(`INSERT INTO w VALUES (1, NULL); INSERT INTO w VALUES (2, NULL)`),
      ).rejects.toMatchObject(saying(/more than one statement|multiple commands/));
      expect(await db.query('SELECT * FROM w')).toEqual([]);
    }
  });
});

describe('migrations', () => {
  const MIGRATIONS: Migration[] = [
    {
      id: '2',
      name: 'index',
      up: 'CREATE INDEX notes_body ON notes (body)',
      down: 'DROP INDEX notes_body',
      timestamp: 2,
    },
    {
      id: '1',
      name: 'notes',
      up: {
        sqlite: `CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT); INSERT INTO notes (body) VALUES ('a;b')`,
        postgres: `CREATE TABLE notes (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, body text); INSERT INTO notes (body) VALUES ('a;b')`,
      },
      down: 'DROP TABLE notes',
      timestamp: 1,
    },
  ];

  it('are applied once, in order, and reverted in the opposite one', async () => {
    for (const db of both()) {
      const before = Date.now();
      expect(await db.migrate(MIGRATIONS)).toEqual(['1', '2']);
      expect(await db.migrate(MIGRATIONS)).toEqual([]);
      expect(await db.query('SELECT body FROM notes')).toEqual([{ body: 'a;b' }]);
      const recorded = await db.query<{ id: string; name: string; timestamp: number }>(
        'SELECT id, name, timestamp FROM migrations ORDER BY id',
      );
      expect(recorded.map(({ id, name }) => [id, name])).toEqual([
        ['1', 'notes'],
        ['2', 'index'],
      ]);
      expect(recorded[0]?.timestamp).toBeGreaterThanOrEqual(before);
      expect(await db.migrate(MIGRATIONS, 'down')).toEqual(['2', '1']);
      expect(await db.migrate(MIGRATIONS, 'down')).toEqual([]);
      await expect(db.query('SELECT * FROM notes')).rejects.toMatchObject(MISSING);
    }
  });

  it('leave nothing of one that fails, keep those before it, and name it', async () => {
    const broken: Migration = {
      id: '3',
      name: 'broken',
      up: 'CREATE TABLE half (id INT); SELEC',
      down: '',
      timestamp: 3,
    };
    for (const db of both()) {
      await expect(db.migrate([...MIGRATIONS, broken])).rejects.toThrow(/migration 3 \(broken\), up/);
      expect(await db.query('SELECT id FROM migrations ORDER BY id')).toEqual([{ id: '1' }, { id: '2' }]);
      await expect(db.query('SELECT * FROM half')).rejects.toMatchObject(MISSING);
      await db.migrate(MIGRATIONS, 'down');
    }
  });

  it('are applied once by instances that start together', async () => {
    const others = [new SqliteAdapter(sqlite.path), new PostgresAdapter(postgres.url)];
    try {
      for (const [i, db] of both().entries()) {
        const other = others[i] as DatabaseAdapter;
        await db.write('DROP TABLE IF EXISTS migrations');
        const done = await Promise.all([
          db.migrate(MIGRATIONS),
          other.migrate(MIGRATIONS),
          db.migrate(MIGRATIONS),
        ]);
        expect(done.flat().sort()).toEqual(['1', '2']);
        await db.migrate(MIGRATIONS, 'down');
      }
    } finally {
      for (const other of others) await other.close();
    }
  });

  it('refuse an id that occurs twice', async () => {
    for (const db of both()) {
      await expect(db.migrate([MIGRATIONS[0], MIGRATIONS[0]] as Migration[])).rejects.toMatchObject({
        code: 'InvalidInput',
      });
    }
  });
});
