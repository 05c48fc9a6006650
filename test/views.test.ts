/** Views: translated, tried on the target's rows, kept only where they return what the source's returns. */
import { randomUUID } from 'node:crypto';
import { moveWritesBack } from '../src/engine/rollback.ts';
import { leaveTarget } from '../src/engine/target-schema.ts';
import type { ViewsReport } from '../src/contract.ts';
import { PostgresAdapter } from '../src/router/adapters/postgres.ts';
import { SqliteAdapter } from '../src/router/adapters/sqlite.ts';
import { NotTheSame, tryView, ViewReader } from '../src/engine/view-trial.ts';
import { never, TestMigration } from './support/migration.ts';
import { brief, planOf, REFUSE } from './support/plan.ts';

const SCHEMA = `
  CREATE TABLE "Order" (id INTEGER PRIMARY KEY, customer INTEGER, at DATETIME, "due date" DATE, total DECIMAL(10,2),
    weight REAL, paid BOOLEAN, note TEXT, code TEXT COLLATE NOCASE, data BLOB, anything);
  CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT NOT NULL, "group" TEXT, boss INTEGER);
  CREATE TABLE event (name TEXT, n INTEGER);
  INSERT INTO customer VALUES (1, 'Ann', 'a', NULL), (2, 'Böb', 'b', 1), (3, 'cy', NULL, 1), (4, 'Dee', 'a', 2);
  WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
    INSERT INTO "Order" SELECT i, i % 5 + 1, datetime(i * 86399, 'unixepoch'), date(i * 86400, 'unixepoch'), i / 100.0,
      CASE i % 3 WHEN 0 THEN NULL ELSE i / 7.0 END, i % 2, CASE i % 4 WHEN 0 THEN NULL WHEN 1 THEN 'x' || i ELSE 'y' END,
      CASE i % 2 WHEN 0 THEN 'ab' ELSE 'AB' END, CASE WHEN i % 7 = 0 THEN x'00ff' END,
      CASE i % 4 WHEN 0 THEN i WHEN 1 THEN i / 2.0 WHEN 2 THEN 't' || i ELSE x'01' END FROM n;
  INSERT INTO event VALUES ('a', 1), ('a', 1), ('b', 2);
`;

/** Views that both databases answer alike, from those that the plan must let pass. */
const SAME: Record<string, string> = {
  plain: 'SELECT * FROM "Order"',
  'every type':
    'SELECT o.anything, data, note, weight, o.total, paid, at, "due date", code, o.rowid FROM [Order] AS o',
  aliases: `SELECT id AS [an id], note 'the note', total * 2 AS "doubled ""total""" FROM \`order\``,
  'no key': 'SELECT rowid, event.*, n > 1 AS more FROM event',
  joins: `SELECT c.name, b.name AS boss, o.id FROM customer c LEFT JOIN customer b ON b.id = c.boss, "Order" o
          WHERE o.customer = c.id AND o.id < 20`,
  using: 'SELECT id, * FROM customer JOIN "Order" USING (id) WHERE name <> note OR note IS NULL',
  natural: 'SELECT * FROM customer NATURAL LEFT JOIN (SELECT id, total FROM "Order" WHERE id < 3)',
  groups: `SELECT customer AS who, count(*), count(note) notes, count(DISTINCT note), sum(id), avg(id), min(at), max("due date"),
           min(total), max(paid), total(id), sum(paid) FROM "Order" GROUP BY who HAVING count(*) > 10 ORDER BY 2 DESC, who`,
  'sums of reals':
    'SELECT customer, sum(total) AS t, avg(weight) AS w, total(weight) FROM "Order" GROUP BY 1',
  'nothing to add up':
    'SELECT sum(total), avg(id), total(weight), max(note), count(*) FROM "Order" WHERE id < 0',
  filtered: `SELECT sum(id) FILTER (WHERE paid) AS paid, count(*) FILTER (WHERE NOT paid AND note = 'y') FROM "Order"`,
  union: `SELECT name, 'customer' AS kind FROM customer UNION SELECT note, NULL FROM "Order" ORDER BY kind DESC, name`,
  'left to right': `SELECT id FROM customer EXCEPT SELECT customer FROM "Order" INTERSECT SELECT id FROM customer UNION ALL SELECT 7`,
  'scalar subquery': `SELECT name, (SELECT count(*) FROM "Order" o WHERE o.customer = c.id AND o.paid) AS n,
                      (SELECT max(at) FROM "Order" WHERE customer = c.id) AS latest FROM customer c`,
  'exists and in': `SELECT * FROM customer c WHERE EXISTS (SELECT 1 FROM "Order" WHERE customer = c.id AND total > 2.9)
                    AND id IN (SELECT customer FROM "Order") AND id NOT IN (SELECT boss FROM customer WHERE boss IS NOT NULL)`,
  'above average':
    'SELECT id FROM "Order" WHERE total > (SELECT avg(total) FROM "Order") AND weight > (SELECT max(id) FROM customer)',
  distinct: 'SELECT DISTINCT note, paid FROM "Order" ORDER BY note DESC NULLS FIRST',
  with: `WITH late (k, d) AS (SELECT id, "due date" FROM "Order" WHERE "due date" > '1970-06-01'), few AS (SELECT * FROM late LIMIT 5 OFFSET 2)
         SELECT few.k, late.d FROM few JOIN late USING (k)`,
  dates: `SELECT id, date(at) AS d, strftime('%Y-%m', at) AS month FROM "Order"
          WHERE at BETWEEN datetime('1970-02-01') AND '1970-03' AND "due date" < date('1970-01-01', '+80 days')`,
  text: `SELECT upper(name) || '-' || id AS label, coalesce("group", 'none') FROM customer ORDER BY name COLLATE NOCASE DESC`,
  'case of letters': 'SELECT id, code FROM "Order" ORDER BY code, id LIMIT 3',
  'either case': `SELECT id FROM "Order" WHERE code = 'aB' AND note LIKE 'X%' ORDER BY note COLLATE NOCASE`,
  cases: `SELECT CASE WHEN paid THEN 'yes' WHEN total IS NULL THEN 'unknown' ELSE 'no' END AS p, iif(id > 5, 1, 0) AS big FROM "Order"`,
  constants: `SELECT 1 AS one, 2.5 AS real, 'x' AS text, NULL AS nil, x'00ff' AS blob, 1 + 2 AS three`,
  'view over views': `SELECT g.who, p.id FROM groups g JOIN plain p ON p.customer = g.who`,
  'a number in a text': `SELECT id FROM customer WHERE "group" <> 1`,
};

const view = (name: string, select: string): string =>
  `CREATE VIEW "${name.replaceAll('"', '""')}" AS ${select};`;

let made: TestMigration | undefined;

async function migrated(schema: string): Promise<{ migration: TestMigration; report: ViewsReport }> {
  const migration = await TestMigration.create(schema);
  made = migration;
  await migration.begin();
  await migration.copy();
  await migration.catchUp();
  return { migration, report: await migration.index() };
}

afterEach(async () => {
  await made?.dispose();
  made = undefined;
});

const viewsOf = async ({ target }: TestMigration): Promise<string[]> =>
  (
    await target.query<{ name: string }>(
      `SELECT viewname AS name FROM pg_views WHERE schemaname = 'public' ORDER BY 1`,
    )
  ).rows.map(({ name }) => name);

it('shows the same rows, by the router, for every view that is carried over', async () => {
  const views = Object.entries(SAME).map(([name, select]) => view(name, select));
  const { migration, report } = await migrated(SCHEMA + views.join('\n'));
  expect(migration.plan.notices.filter(({ code }) => code === 'view-left-out')).toEqual([]);
  expect(report).toEqual({ created: Object.keys(SAME).length, leftOutCount: 0, leftOut: [] });
  const source = new SqliteAdapter(migration.endpoints.sourcePath);
  const target = new PostgresAdapter(migration.endpoints.targetUrl);
  try {
    for (const name of Object.keys(SAME)) {
      const sql = `SELECT * FROM "${name}"`;
      const [here, there] = [await source.query(sql), await target.query(sql)];
      const near = (rows: unknown[]): string[] =>
        rows.map((row) =>
          JSON.stringify(row, (_, value: unknown) =>
            name === 'sums of reals' && typeof value === 'number' ? value.toPrecision(12) : value,
          ),
        );
      // In the same order where the view has one.
      const ordered = / ORDER BY /.test(SAME[name]!);
      const [a, b] = [near(here), near(there)];
      expect([name, ordered ? b : b.sort()]).toEqual([name, ordered ? a : a.sort()]);
      expect([name, a.length]).not.toEqual([name, 0]);
    }
  } finally {
    await source.close();
    await target.close();
  }
});

it.each<[string, string, RegExp]>([
  [
    'a function without certain meaning',
    `SELECT julianday(at) FROM "Order"`,
    /julianday\(at\) is not certain/,
  ],
  ['the moment', `SELECT date('now')`, /date\('now'\) is not certain/],
  ['texts as numbers', `SELECT name + 1 FROM customer`, /near "SELECT name \+ 1|name \+ 1/],
  ['a window', `SELECT row_number() OVER (ORDER BY id) FROM customer`, /row_number|near/],
  ['an aggregate over a window', `SELECT sum(id) OVER (ORDER BY id) FROM customer`, /window function/],
  [
    'recursion',
    `WITH RECURSIVE n (i) AS (SELECT 1 UNION SELECT i + 1 FROM n WHERE i < 3) SELECT i FROM n`,
    /RECURSIVE/,
  ],
  ['VALUES', `VALUES (1), (2)`, /VALUES/],
  ['the schema', `SELECT name FROM sqlite_master`, /reads "sqlite_master", which is not on the target/],
  ['a table that is gone', `SELECT * FROM gone`, /broken in SQLite as well \(.*no such table: main\.gone\)/],
  ['a view that is left out', `SELECT * FROM bad`, /reads view "bad", which is left out/],
  ['letters of either case', `SELECT DISTINCT code FROM "Order"`, /another way than PostgreSQL/],
  ['several types in one column', `SELECT id FROM customer UNION SELECT name FROM customer`, /several types/],
  ['an open order', `SELECT group_concat(name) FROM customer`, /order in group_concat/],
  ['a number beside a text', `SELECT id FROM "Order" WHERE at > '1997'`, /near/],
])('leaves out a view with %s, and says so', async (_, select, reason) => {
  const plan = await planOf(`${SCHEMA} ${view('bad', 'SELECT random() AS r')} ${view('v', select)}`);
  expect(plan.views).toBeUndefined();
  const finding = plan.notices.find(({ code, table }) => code === 'view-left-out' && table === 'v');
  expect(finding!.message).toMatch(reason);
  expect(plan.blockers).toEqual([]);
});

it('drops what returns other rows there, or what PostgreSQL refuses, and names it', async () => {
  const { migration, report } = await migrated(`${SCHEMA}
    ${view('bare', 'SELECT customer, note FROM "Order" GROUP BY customer')}
    ${view('over bare', 'SELECT * FROM bare')}
    ${view('overflow', 'SELECT sum(n * 9223372036854775807) AS n FROM event')}
    ${view('fine', 'SELECT name FROM customer')}`);
  expect(await viewsOf(migration)).toEqual(['fine']);
  expect(report.created).toBe(1);
  expect(
    report.leftOut.map(({ table, message }) => [table, message.replace(/.*?: /, '').slice(0, 70)]),
  ).toEqual([
    ['bare', expect.stringMatching(/^PostgreSQL refuses it \(column "Order\.note" must appear/)],
    ['over bare', expect.stringMatching(/^PostgreSQL refuses it \(relation "public\.bare" does not exist/)],
    ['overflow', expect.stringMatching(/^(PostgreSQL refuses it|the source cannot read it)/)],
  ]);
});

it('drops a view whose rows differ', async () => {
  const migration = await TestMigration.create(`${SCHEMA} ${view('v', 'SELECT id, name FROM customer')}`);
  made = migration;
  await migration.begin();
  await migration.copy();
  await migration.catchUp();
  const change = async (sql: string): Promise<ViewsReport> => {
    await migration.target.query(
      `ALTER TABLE customer DISABLE TRIGGER ALL; ${sql}; ALTER TABLE customer ENABLE TRIGGER ALL`,
    );
    return migration.index();
  };
  const changed = await change(`UPDATE customer SET name = 'Bob' WHERE id = 2`);
  expect(changed.leftOut[0]!.message).toMatch(
    /returns other rows there, for example \["n2","tBöb"\] on the source and \["n2","tBob"\] there/,
  );
  const fewer = await change('DELETE FROM customer WHERE id = 2');
  expect(fewer.leftOut[0]!.message).toMatch(/it has 4 rows on the source and 3 there/);
  expect(await viewsOf(migration)).toEqual([]);
  const mended = await change(`INSERT INTO customer VALUES (2, 'Böb', 'b', 1)`);
  expect(mended.created).toBe(1);
  expect(await viewsOf(migration)).toEqual(['v']);
});

it('compares only where replay has passed what changed in the tables of the view', async () => {
  const migration = await TestMigration.create(
    `${SCHEMA} ${view('v', 'SELECT * FROM customer')} ${view('w', 'SELECT * FROM event')}
    ${view('refused', 'SELECT customer, note FROM "Order" GROUP BY customer')}
    ${view('large', 'SELECT o.id, name FROM "Order" o, customer')}`,
  );
  made = migration;
  await migration.begin();
  await migration.copy();
  await migration.catchUp();
  const reader = new ViewReader(migration.endpoints.sourcePath);
  const tried = (name: string) =>
    tryView(
      migration.target,
      reader,
      migration.plan.views!.find((one) => one.name === name)!,
      10_000,
      never,
    );
  try {
    migration.app.exec(`UPDATE customer SET name = 'new' WHERE id = 1`);
    expect([await tried('v'), await tried('w')]).toEqual(['changed', 'same']);
    await migration.catchUp();
    expect(await tried('v')).toBe('same');
    // What was begun for a view that is refused is no answer for the next one.
    await expect(tried('refused')).rejects.toThrow(NotTheSame);
    expect([await tried('large'), await tried('large'), await tried('w')]).toEqual(['same', 'same', 'same']);
  } finally {
    reader.stop();
  }
});

it('gives up a view that takes too long on the source', async () => {
  const migration = await TestMigration.create(
    `${SCHEMA} ${view('v', 'SELECT count(*) AS n FROM "Order" a, "Order" b, "Order" c, "Order" d')}`,
  );
  made = migration;
  await migration.begin();
  const reader = new ViewReader(migration.endpoints.sourcePath);
  const tried = tryView(migration.target, reader, migration.plan.views![0]!, 500, never);
  await expect(tried).rejects.toThrow(new NotTheSame('its rows could not be compared within 0.5 s'));
});

it('may be repeated, and goes with the tables', async () => {
  const { migration } = await migrated(
    `${SCHEMA} ${view('z', 'SELECT * FROM customer')} ${view('a', 'SELECT * FROM z')} ${view('no table', 'SELECT 1 AS one')}`,
  );
  expect((await migration.index()).created).toBe(3);
  expect(await viewsOf(migration)).toEqual(['a', 'no table', 'z']);
  await leaveTarget(migration.endpoints, migration.name, 'drop');
  expect(await viewsOf(migration)).toEqual([]);
});

it('keeps the names, or puts them in lower case, where they can be had', async () => {
  const sql = `CREATE TABLE t (id INTEGER PRIMARY KEY, Name TEXT); CREATE TABLE "x y" (id INTEGER PRIMARY KEY);
    CREATE INDEX iv ON t (Name); ${view('pg_v', 'SELECT Name AS ctid, id AS "" FROM t')}
    ${view('IV_', 'SELECT NAME AS Name FROM T')} ${view('ÜBER "q"', 'SELECT id FROM "X Y"')}`;
  const exact = await planOf(sql);
  expect(exact.views!.map(({ name, targetName, columns }) => [name, targetName, columns])).toEqual([
    ['IV_', undefined, [{ name: 'Name' }]],
    [
      'pg_v',
      '_pg_v',
      [
        { name: 'ctid', targetName: 'ctid_' },
        { name: '', targetName: 'unnamed' },
      ],
    ],
    ['ÜBER "q"', undefined, [{ name: 'id' }]],
  ]);
  const lower = await planOf(sql, { ...REFUSE, identifiers: 'lower' });
  expect(lower.views!.map(({ targetName, columns }) => [targetName, columns[0]!.targetName])).toEqual([
    ['iv_', 'name'],
    ['_pg_v', 'ctid_'],
    ['Über "q"', undefined],
  ]);
  expect(brief(exact.notices)).toEqual(['renamed pg_v', 'renamed pg_v.ctid', 'renamed pg_v.']);
});

it('are in the way of nothing: a VACUUM, the cutover, writes through them, the way back', async () => {
  const { migration, report } = await migrated(`
    CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT NOT NULL); CREATE TABLE k (a INT, b TEXT);
    INSERT INTO t VALUES (1, 'x'); INSERT INTO k VALUES (1, 'x'), (2, 'y');
    ${view('v', 'SELECT a, id FROM t')} ${view('kv', 'SELECT rowid AS r, * FROM k')}`);
  expect(report.created).toBe(2);
  await migration.verify();
  migration.app.exec('DELETE FROM k WHERE a = 1; VACUUM');
  await migration.catchUp();
  expect(await migration.verify()).toMatchObject({ equal: true });
  expect((await migration.cutOver()).outcome).toBe('moved');
  expect((await migration.target.query('SELECT * FROM kv')).rows).toEqual([{ r: '1', a: '2', b: 'y' }]);
  // PostgreSQL lets simple views be written; what comes of it is logged as any write.
  await migration.target.query(`INSERT INTO v (a) VALUES ('through the view')`);
  await migration.reverseCatchUp();
  expect(migration.app.prepare('SELECT a FROM t ORDER BY id').pluck().all()).toEqual([
    'x',
    'through the view',
  ]);
  const lease = migration.lease('reverse');
  expect((await moveWritesBack({ endpoints: migration.endpoints, lease, maxPauseMs: 10_000 })).outcome).toBe(
    'moved',
  );
});

it('may be read by the roles that may read their tables', async () => {
  const role = `reader_${randomUUID().slice(0, 8)}`;
  const migration = await TestMigration.create(
    `${SCHEMA} ${view('both', 'SELECT name FROM customer JOIN "Order" USING (id)')} ${view('one', 'SELECT * FROM customer')} ${view('other', 'SELECT n FROM event')}
    ${view('public', 'SELECT * FROM "Order"')}`,
  );
  made = migration;
  await migration.begin();
  await migration.copy();
  await migration.catchUp();
  await migration.target.query(`CREATE ROLE "${role}"`);
  try {
    await migration.target.query(
      `GRANT SELECT ON customer TO "${role}"; GRANT SELECT ON "Order" TO PUBLIC; GRANT INSERT ON event TO "${role}"`,
    );
    expect((await migration.index()).created).toBe(4);
    const { rows } = await migration.target.query<{ name: string }>(
      `SELECT viewname AS name FROM pg_views WHERE schemaname = 'public' AND has_table_privilege($1, format('%I.%I', schemaname, viewname), 'SELECT') ORDER BY 1`,
      [role],
    );
    expect(rows.map(({ name }) => name)).toEqual(['both', 'one', 'public']);
  } finally {
    await migration.target.query(`DROP OWNED BY "${role}"; DROP ROLE "${role}"`);
  }
});
