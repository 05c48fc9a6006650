import Database from 'better-sqlite3';
import pg from 'pg';
import type { Plan } from '../src/contract.ts';
import { createIndexSql, createTableSql } from '../src/databases/postgres/ddl.ts';
import type { ColumnType } from '../src/engine/expression-parser.ts';
import { translateCondition, translateValue } from '../src/engine/expressions.ts';
import { brief, planOf, seededRandom, table } from './support/plan.ts';
import { createTestDatabase, type TestDatabase } from './support/postgres.ts';

const TABLE = `CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT NOT NULL, b INT, active BOOLEAN NOT NULL, at DATETIME DEFAULT CURRENT_TIMESTAMP,
  d REAL, n DECIMAL(10,2), x BLOB, nc TEXT COLLATE NOCASE, j JSON);`;

/** "name: targetSql WHERE predicate" of every index. */
function indexes(plan: Plan): string[] {
  return table(plan, 't').indexes.map(
    ({ name, unique, targetSql, predicateSql }) =>
      `${unique ? 'unique ' : ''}${name}: ${targetSql}${predicateSql === undefined ? '' : ` WHERE ${predicateSql}`}`,
  );
}

describe('indexes', () => {
  it.each([
    ['CREATE INDEX i ON t (a)', 'i: "a"'],
    ['CREATE INDEX i ON t (a DESC, b)', 'i: "a" DESC, "b" NULLS FIRST'],
    ['CREATE INDEX i ON t (b DESC, at)', 'i: "b" DESC NULLS LAST, "at" NULLS FIRST'],
    ['CREATE UNIQUE INDEX i ON t (b) WHERE active = 1', 'unique i: "b" NULLS FIRST WHERE ("active" = true)'],
    ['CREATE UNIQUE INDEX i ON t (lower(a))', 'unique i: (lower("a")) NULLS FIRST'],
    ['CREATE INDEX i ON t (nc)', 'i: lower("nc") NULLS FIRST'],
    ['CREATE INDEX i ON t (a COLLATE nocase DESC)', 'i: lower("a") DESC'],
    ['CREATE INDEX i ON t (b COLLATE NOCASE)', 'i: "b" NULLS FIRST'],
    [
      "CREATE INDEX i ON t (coalesce(b, 0), a || '/' || a)",
      `i: (coalesce("b", 0)) NULLS FIRST, ((("a" || '/') || "a")) NULLS FIRST`,
    ],
    [
      "CREATE INDEX i ON t (date(at)) WHERE at > '2024-01-01 00:00:00'",
      `i: (CAST("at" AS date)) NULLS FIRST WHERE ("at" > timestamp '2024-01-01 00:00:00')`,
    ],
  ])('%s', async (sql, expected) => {
    const plan = await planOf(`${TABLE} ${sql}`);
    expect(brief(plan.blockers)).toEqual([]);
    expect(indexes(plan)).toEqual([expected]);
  });

  it('keeps names, and makes one where PostgreSQL has no room for it', async () => {
    const long = 'i'.repeat(70);
    const plan = await planOf(`CREATE TABLE t (id INTEGER PRIMARY KEY, a INT UNIQUE, b INT, UNIQUE (b, a));
      CREATE INDEX ${long} ON t (a); CREATE INDEX ${long}x ON t (b); CREATE INDEX t_a_key ON t (a); CREATE INDEX t_pkey ON t (b);
      CREATE TABLE t_id_seq (id INTEGER PRIMARY KEY)`);
    const names = table(plan, 't').indexes.map((index) => index.name);
    expect(new Set(names).size).toBe(6);
    expect(names).toEqual(expect.arrayContaining(['t_a_key', 't_pkey', 't_b_a_key']));
    const made = names.filter((name) => name.startsWith('iii'));
    expect(made.map((name) => name.length)).toEqual([63, 63]);
    expect(brief(plan.notices)).toEqual(['index-renamed t', 'index-renamed t']);
    expect(table(plan, 't').keyName).toMatch(/^t_pkey_[0-9a-f]{8}$/);
    expect(table(plan, 't').columns[0]!.sequenceName).toMatch(/^t_id_seq_[0-9a-f]{8}$/);
    const again = await planOf(
      `CREATE TABLE t (id INTEGER PRIMARY KEY, a INT, b INT); CREATE INDEX ${long} ON t (a); CREATE INDEX ${long}x ON t (b)`,
    );
    expect(table(again, 't').indexes.map((index) => index.name)).toEqual(made);
  });
});

describe('expressions', () => {
  const columns: ColumnType[] = [
    { name: 'id', kind: 'bigint', collation: 'BINARY' },
    { name: 'a', kind: 'text', collation: 'BINARY' },
    { name: 'B b', kind: 'bigint', collation: 'BINARY' },
    { name: 'f', kind: 'boolean', collation: 'BINARY' },
    { name: 'at', kind: 'timestamp', collation: 'BINARY', affinity: 'NUMERIC' },
    { name: 'd', kind: 'double', collation: 'BINARY' },
    { name: 'n', kind: 'numeric', collation: 'BINARY' },
    { name: 'x', kind: 'bytea', collation: 'BINARY' },
    { name: 'nc', kind: 'text', collation: 'NOCASE' },
  ];
  const lookup = (name: string): ColumnType | undefined =>
    columns.find((c) => c.name.toLowerCase() === name.toLowerCase());

  it.each([
    `a LIKE nc`,
    `d LIKE 'x*'`,
    `a = 5`,
    `id = '5'`,
    `f > 0`,
    `f = 2`,
    `nc = x`,
    `at = '2024'`,
    `a = "x"`,
    `a = NULL`,
    `id IN (SELECT 1)`,
    `'x' COLLATE NOCASE = a`,
    `a COLLATE custom = 'x'`,
    `n = 0.1234567890123456789`,
    `d = 9007199254740993`,
    `a AND id`,
    `x > 'text'`,
    `id IS TRUE`,
    `id = 0x10`,
    `1 = 1`,
    `unknown(a) = 1`,
    `a = 'x' = 1`,
    `NOT`,
    `a = 'x')`,
    `a IN ()`,
  ])('%s has no certain meaning', (sql) => {
    expect(translateCondition(sql, lookup)).toBeNull();
  });

  it.each([`id`, `nc`, `a = 'x'`, `'literal'`].map((sql) => [sql]))('value %s', (sql) => {
    expect(translateValue(sql, lookup)).toBe(sql === 'id' ? '("id")' : null);
  });

  describe('mean the same on both databases', () => {
    let database: TestDatabase;
    let client: pg.Client;
    let source: Database.Database;
    const random = seededRandom();

    beforeAll(async () => {
      database = await createTestDatabase();
      client = new pg.Client({ connectionString: database.url });
      await client.connect();
      await client.query(
        `CREATE TABLE t (id bigint, a text COLLATE "C", "B b" bigint, f boolean, at timestamp, d double precision, n numeric, x bytea, nc text COLLATE "C")`,
      );
      source = new Database(':memory:');
      source.exec(
        `CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, "B b" INT, f BOOLEAN, at DATETIME, d REAL, n NUMERIC, x BLOB, nc TEXT COLLATE NOCASE)`,
      );
      const insert = source.prepare('INSERT INTO t VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)');
      for (let id = 1; id <= 400; id++) {
        const row = [
          id,
          random.pick([null, '', 'x', 'X', 'É', 'é', 'ab ', ' ab', 'zz', '5', '😀']),
          random.pick([null, 0, 1, -1, 5, 9007199254740993n]),
          random.pick([null, 0, 1]),
          random.pick([null, '2024-01-01 00:00:00', '2023-12-31 23:59:59', '0001-01-01 00:00:00']),
          random.pick([null, 0, 0.1, -2.5, 1e300, Infinity]),
          random.pick([null, 0n, 0.1, 2.5, -7n]),
          random.pick([null, Buffer.from(''), Buffer.from('00ff', 'hex'), Buffer.from('x')]),
          random.pick([null, 'x', 'X', 'É', 'é']),
        ];
        insert.run(...row);
        await client.query('INSERT INTO t VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)', [
          ...row.slice(0, 3),
          row[3] === null ? null : row[3] === 1,
          ...row.slice(4),
        ]);
      }
    });
    afterAll(async () => {
      source.close();
      await client.end();
      await database.drop();
    });

    it.each([
      `a = 'x'`,
      `a <> 'x' AND a IS NOT NULL`,
      `a == 'X' OR a ISNULL`,
      `'x' < a`,
      `a BETWEEN 'A' AND 'b'`,
      `a NOT BETWEEN 'A' AND 'b'`,
      `a IN ('x', 'zz', '5')`,
      `a NOT IN ('x', '')`,
      `NOT a = 'x'`,
      `NOT (a = 'x' OR "b b" IS NULL)`,
      `[B b] > 0`,
      `"b b" != -1`,
      `"B b" = 9007199254740993`,
      `"B b" IS 5`,
      `"B b" IS NOT 5`,
      `"B b" IS NOT DISTINCT FROM 1`,
      `"B b" IS NOT NULL`,
      `"B b" NOT NULL`,
      `"B b" NOTNULL`,
      `"B b"`,
      `NOT "B b"`,
      `f`,
      `NOT f`,
      `f = 1`,
      `f <> 0`,
      `f IS TRUE`,
      `f IS NOT TRUE`,
      `f = FALSE AND a > 'a'`,
      `f IN (0, 1)`,
      `at > '2023-12-31 23:59:59'`,
      `at <= '2024-01-01 00:00:00'`,
      `date(at) = '2023-12-31'`,
      `d > 0.1`,
      `d = 0.1`,
      `d >= 1e299`,
      `d < -2`,
      `n = 0.1`,
      `n > .05`,
      `n <= -7`,
      `n = 2.5`,
      `x = x'00FF'`,
      `x > x''`,
      `lower(a) = 'x'`,
      `upper(nc) = 'X'`,
      `lower(nc) = 'É'`,
      `length(a) > 1`,
      `length(x) = 2`,
      `trim(a) = 'ab'`,
      `coalesce(a, 'none') = 'none'`,
      `ifnull("B b", 0) = 0`,
      `abs("B b") = 1`,
      `a || '!' = 'x!'`,
      `a = a || ''`,
      `a > 'm' AND (d > 0 OR n > 0) AND NOT f`,
      `id > 10 -- comment\n AND id < 20`,
      `d = d`,
      `nc IS NULL`,
      `hex(x) = '00FF'`,
      `id + 1 > 20 AND id * 2 < 100`,
      `"B b" % 2 = 1 OR "B b" / 0 IS NULL`,
      `substr(a, 1, 1) = 'x'`,
      `round(d) = 0 OR d * 2.0 > 1e200`,
      `CASE WHEN f THEN a ELSE 'x' END = 'x'`,
      `strftime('%m', at) = '12'`,
    ])('%s', async (sql) => {
      const translated = translateCondition(sql, lookup);
      expect(translated).not.toBeNull();
      const here = source.prepare(`SELECT id FROM t WHERE ${sql}\n ORDER BY id`).pluck().all() as number[];
      const there = await client.query<{ id: string }>(`SELECT id FROM t WHERE ${translated} ORDER BY id`);
      const ids = there.rows.map((row) => Number(row.id));
      if (JSON.stringify(ids) !== JSON.stringify(here))
        throw new Error(
          `seed ${random.seed}: ${sql} → ${translated}: ${here.length} rows, ${ids.length} on PostgreSQL`,
        );
      await client.query(`CREATE INDEX IF NOT EXISTS probe ON t (id) WHERE ${translated}`);
      await client.query('DROP INDEX probe');
    });
  });
});

describe('order', () => {
  it('an index serves SQLite’s order of NULL, and NOCASE is folded as SQLite does', async () => {
    const { url, drop } = await createTestDatabase();
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    try {
      const plan = await planOf(
        `${TABLE} CREATE INDEX by_b ON t (b); CREATE INDEX by_at ON t (at DESC); CREATE INDEX by_a ON t (a DESC); CREATE INDEX by_nc ON t (nc)`,
      );
      const t = table(plan, 't');
      await client.query(createTableSql(t));
      for (const index of t.indexes) await client.query(createIndexSql(t, index));
      await client.query('SET enable_seqscan = off; SET enable_sort = off');
      const planned = async (query: string): Promise<string> =>
        JSON.stringify((await client.query(`EXPLAIN ${query}`)).rows);
      expect(await planned(`SELECT * FROM t ORDER BY b NULLS FIRST`)).toContain('by_b');
      expect(await planned(`SELECT * FROM t ORDER BY at DESC NULLS LAST`)).toContain('by_at');
      expect(await planned(`SELECT * FROM t ORDER BY a DESC`)).toContain('by_a');
      expect(await planned(`SELECT * FROM t WHERE lower(nc) = 'x'`)).toContain('by_nc');

      const random = seededRandom();
      const letters = [...'aAzZ[`éÉßİıΣσς@ÅA\u030a'];
      const words = Array.from({ length: 60 }, () =>
        Array.from({ length: 2 }, () => random.pick(letters)).join(''),
      );
      const here = new Database(':memory:');
      const same = here.prepare('SELECT ? = ? COLLATE NOCASE').pluck();
      const { rows } = await client.query<{ x: string; y: string; same: boolean }>(
        `SELECT x, y, lower(x COLLATE "C") = lower(y COLLATE "C") AS same FROM unnest($1::text[]) x, unnest($1::text[]) y`,
        [words],
      );
      const differing = rows.filter((row) => (same.get(row.x, row.y) === 1) !== row.same);
      here.close();
      expect({ seed: random.seed, differing }).toEqual({ seed: random.seed, differing: [] });
    } finally {
      await client.end();
      await drop();
    }
  });
});
