/** CHECKs that are carried over accept and refuse on the target what they do on the source. */
import Database from 'better-sqlite3';
import pg from 'pg';
import { createTableSql } from '../src/databases/postgres/ddl.ts';
import { postgresParams } from '../src/router/values.ts';
import { brief, planOf, table } from './support/plan.ts';
import { createTestDatabase } from './support/postgres.ts';

const CHECKS: Record<string, string> = {
  price: 'REAL CHECK (price > 0)',
  share: 'DECIMAL(3,2) CHECK (share BETWEEN 0 AND 1)',
  state: `TEXT CONSTRAINT known CHECK (state IN ('new', 'it''s old'))`,
  word: 'VARCHAR(5) CHECK (length(word) <= 5)',
  mail: `TEXT CHECK (mail LIKE '%_@_%.Com' AND mail NOT GLOB '*[ \t]*')`,
  code: `TEXT COLLATE NOCASE CHECK (code IN ('Ab', 'é') OR code LIKE 'x!_%' ESCAPE '!')`,
  active: 'BOOLEAN CHECK (active IN (0, 1))',
  n: 'INTEGER NOT NULL DEFAULT 1 CHECK (n <> 5 AND (n >= -9223372036854775807 OR n IS NULL))',
  m: 'INTEGER CHECK (m IS NULL OR NOT m < n)',
};
const VALUES: Record<string, (number | bigint | string | null)[]> = {
  price: [null, 0, -0, 0.1, 5e-324, -1.5, Infinity, -Infinity],
  share: [null, 0n, 1n, 0.5, 1.01, -0.01, 2n],
  state: [null, 'new', `it's old`, 'NEW', 'new ', ''],
  mail: [null, '', 'a@b.com', 'A@B.COM', 'a b@c.com', '@b.com', 'a@b.org'],
  code: [null, 'AB', 'ab', 'É', 'é', 'X_', 'xy', 'x_1'],
  word: [null, '', '12345', '123456', 'éé🎉éé', 'éé🎉ééé'],
  active: [null, 0n, 1n],
  n: [0n, 5n, -(2n ** 63n), 2n ** 63n - 1n],
  m: [null, 0n, 1n, 2n],
};

it('accept and refuse the same values', async () => {
  const columns = Object.entries(CHECKS).map(([name, type]) => `${name} ${type}`);
  const sql = `CREATE TABLE t (id INTEGER PRIMARY KEY, ${columns.join(', ')}, CHECK (price <= 1e300 OR share > 2))`;
  const fill = `INSERT INTO t VALUES (1, 1.5, 0.25, 'new', 'abc', 'a@b.com', 'ab', 1, 1, 1)`;
  const plan = await planOf(`${sql}; ${fill}`);
  expect(brief(plan.blockers)).toEqual([]);
  expect(brief(plan.notices)).toEqual(['nocase-column t.code']);
  const t = table(plan, 't');
  const { url, drop } = await createTestDatabase();
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const db = new Database(':memory:');
  try {
    db.exec(sql);
    await client.query(createTableSql(t));
    let id = 0;
    const verdicts: string[] = [];
    for (const [name, values] of Object.entries(VALUES)) {
      for (const value of values) {
        id++;
        const accepted = (): boolean => {
          try {
            return db.prepare(`INSERT INTO t (id, ${name}) VALUES (?, ?)`).run(id, value).changes === 1;
          } catch (error) {
            expect(error).toMatchObject({ code: 'SQLITE_CONSTRAINT_CHECK' });
            return false;
          }
        };
        const here = accepted();
        const there = await client
          .query(`INSERT INTO t (id, ${name}) VALUES ($1, $2)`, postgresParams([id, value]))
          .then(() => true)
          .catch((error: { code: string }) => {
            expect(error.code).toBe('23514');
            return false;
          });
        verdicts.push(`${name} = ${String(value)}: ${here}`);
        expect(`${name} = ${String(value)}: ${there}`).toBe(verdicts.at(-1));
      }
    }
    expect(verdicts.filter((verdict) => verdict.endsWith('false')).length).toBeGreaterThan(12);
  } finally {
    db.close();
    await client.end();
    await drop();
  }
});

it('are left out with a line where their meaning is uncertain or rows break them', async () => {
  const plan = await planOf(`
    CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT CHECK (a GLOB upper(a)), b TEXT COLLATE NOCASE CHECK (b <> hex(b)), c INT CHECK (c > 0),
      d INT CHECK (typeof(d) = 'integer'), e INT CHECK (e > 0));
    PRAGMA ignore_check_constraints = ON; INSERT INTO t (c, e) VALUES (-1, 1), (0, NULL), (NULL, 2)`);
  expect(
    plan.notices.filter(({ code }) => code.startsWith('check')).map(({ code, count }) => [code, count]),
  ).toEqual([
    ['check-left-out', undefined],
    ['check-left-out', undefined],
    ['check-broken', 2],
    ['check-left-out', undefined],
  ]);
  expect(table(plan, 't').checks).toEqual(['("e" > 0)']);
});
