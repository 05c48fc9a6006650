/** Tables without a key: told apart by row numbers, which a VACUUM gives anew; no row is lost, doubled or mistaken. */
import { DEFAULT_INPUT } from '../src/contract.ts';
import { numberingOf } from '../src/databases/sqlite/numbering.ts';
import { copyTables } from '../src/engine/copy.ts';
import { moveWritesBack } from '../src/engine/rollback.ts';
import { PostgresAdapter } from '../src/router/adapters/postgres.ts';
import { SqliteAdapter } from '../src/router/adapters/sqlite.ts';
import { never, TestMigration } from './support/migration.ts';
import { brief, planOf, table } from './support/plan.ts';
import { seeded, type Random } from './support/random.ts';
import { differences } from './support/same.ts';
import { tamper } from './support/tamper.ts';

const SCHEMA = `
  CREATE TABLE log (at INT, who TEXT, note);
  CREATE TABLE tag (name TEXT UNIQUE, "rowid" TEXT, n INT);
  CREATE TABLE keyed (id INTEGER PRIMARY KEY, v TEXT);
`;

let migration: TestMigration;

beforeEach(async () => {
  migration = await TestMigration.create(SCHEMA);
});

afterEach(() => migration.dispose());

function write(random: Random, count: number): void {
  const { app } = migration;
  for (let i = 0; i < count; i++) {
    const n = random.below(40);
    app.prepare('INSERT INTO log VALUES (?, ?, ?)').run(n, `who ${n % 5}`, random.pick([null, 5, 'x', 0.5]));
    app.prepare('INSERT OR REPLACE INTO tag VALUES (?, ?, ?)').run(random.pick([null, `t${n}`]), 'r', i);
    app.prepare('INSERT INTO keyed (v) VALUES (?)').run(`v${i}`);
    if (i % 3 === 0) app.prepare('DELETE FROM log WHERE at = ?').run(random.below(40));
    if (i % 4 === 0) app.prepare('UPDATE log SET note = at WHERE at = ?').run(random.below(40));
    if (i % 5 === 0)
      app.prepare('UPDATE OR REPLACE tag SET name = ? WHERE n = ?').run(`t${n}`, random.below(i + 1));
    if (i % 9 === 0)
      app.prepare('UPDATE OR REPLACE log SET _rowid_ = _rowid_ + 100000 WHERE at = ?').run(random.below(40));
  }
}

/** Removes the first row, so that every other gets another number. */
function vacuum(): void {
  migration.app.exec(`DELETE FROM log WHERE _rowid_ = (SELECT min(_rowid_) FROM log)`);
  renumber();
}

/** Proves that it has. */
function renumber(): void {
  const { app } = migration;
  const first = app.prepare('SELECT min(_rowid_) FROM log').pluck();
  const before = first.get();
  app.exec('VACUUM');
  expect(first.get()).toBe(1);
  expect(before).toBeGreaterThan(1);
}

async function expectSame(): Promise<void> {
  for (const [name, columns] of [
    ['log', 'at, who, note'],
    ['tag', 'name, "rowid", n'],
    ['keyed', 'id, v'],
  ] as const) {
    const source = new SqliteAdapter(migration.endpoints.sourcePath);
    const target = new PostgresAdapter(migration.endpoints.targetUrl);
    try {
      const rows = async (adapter: SqliteAdapter | PostgresAdapter): Promise<string[]> =>
        (await adapter.query(`SELECT ${columns} FROM ${name}`)).map((row) => JSON.stringify(row)).sort();
      expect(await rows(target)).toEqual(await rows(source));
    } finally {
      await source.close();
      await target.close();
    }
  }
}

it('arrive, go over and come back, whenever a VACUUM comes', async () => {
  const random = seeded('keyless');
  write(random, 200);
  await migration.begin();
  expect(brief(migration.plan.notices.filter(({ code }) => code === 'no-key'))).toEqual([
    'no-key log',
    'no-key tag',
  ]);
  let reports = 0;
  await copyTables({
    endpoints: migration.endpoints,
    lease: migration.lease('copy'),
    tables: migration.plan.tables,
    settings: { ...DEFAULT_INPUT.copy, batchRows: 9, batchBytes: 100, parallel: 1 },
    signal: never,
    onProgress: () => {
      reports++;
      if (reports === 5 || reports === 12) vacuum();
      if (reports % 3 === 0) write(random, 2);
    },
  });
  vacuum();
  write(random, 20);
  await migration.catchUp();
  await expectSame();
  await migration.index();
  expect(await migration.verify()).toMatchObject({ equal: true, quarantined: 0 });
  const numbering = numberingOf(migration.app);
  write(random, 50);
  vacuum();
  write(random, 50);
  await migration.catchUp();
  await expectSame();
  expect(numberingOf(migration.app)).not.toBe(numbering);
  // Nothing but the VACUUM: replay has nothing to apply, and verification must not see every row differ.
  vacuum();
  await migration.catchUp();
  expect(await migration.verify()).toMatchObject({ equal: true });
  await migration.foreignKeys();
  expect(await migration.cutOver()).toMatchObject({ outcome: 'moved' });

  const { target } = migration;
  await target.query(
    `INSERT INTO log VALUES (1000, 'on PostgreSQL', '7'); DELETE FROM log WHERE _crossfade_rowid = 1`,
  );
  await migration.reverseCatchUp();
  await expectSame();
  renumber();
  await target.query(
    `UPDATE log SET who = 'late' WHERE at = 5; INSERT INTO tag VALUES (NULL, 'r', 1), (NULL, 'r', 1)`,
  );
  await migration.reverseCatchUp();
  await expectSame();
  await target.query(`DELETE FROM log WHERE at = 6`);
  const back = await moveWritesBack({
    endpoints: migration.endpoints,
    lease: migration.lease('reverse'),
    maxPauseMs: 10_000,
  });
  expect(back.outcome).toBe('moved');
  await expectSame();
});

it('are verified row by row, equal rows included', async () => {
  migration.app.exec(`INSERT INTO log VALUES (1, 'a', 1), (1, 'a', 1), (2, 'b', 2)`);
  await migration.upToVerified();
  expect(await migration.verify()).toMatchObject({ equal: true, rows: 3 });
  await tamper(
    migration.target,
    ['log'],
    `DELETE FROM log WHERE _crossfade_rowid = 2; UPDATE log SET who = 'x' WHERE at = 2`,
  );
  const { mismatches } = await migration.verify();
  expect(mismatches.map(({ key, kind }) => `${key} ${kind}`).sort()).toEqual([
    '2 missing-on-secondary',
    '3 different',
  ]);
});

it('show the application no column of ours', async () => {
  migration.app.exec(`INSERT INTO log VALUES (1, 'a', 1)`);
  await migration.upToVerified();
  const source = new SqliteAdapter(migration.endpoints.sourcePath);
  const target = new PostgresAdapter(migration.endpoints.targetUrl);
  try {
    expect(await target.query('SELECT * FROM log')).toEqual(await source.query('SELECT * FROM log'));
  } finally {
    await source.close();
    await target.close();
  }
});

it.each([
  ['no key at all', 'CREATE TABLE t (a, b)'],
  ['a unique index over a column that may be NULL', 'CREATE TABLE t (a UNIQUE)'],
  [
    'a unique index over some rows',
    'CREATE TABLE t (a NOT NULL, b INT); CREATE UNIQUE INDEX u ON t (a) WHERE b > 0',
  ],
])('are those with %s', async (_, sql) => {
  const plan = await planOf(sql);
  expect(brief(plan.notices)).toContain('no-key t');
  expect(table(plan, 't')).toMatchObject({ key: ['rowid'], rowNumbered: true });
});

it('are refused where their columns hide the row numbers', async () => {
  const plan = await planOf('CREATE TABLE t (rowid, _rowid_, oid)');
  expect(brief(plan.blockers)).toEqual(['hidden-rowid t']);
  const other = await planOf('CREATE TABLE t (a, rowid TEXT)');
  expect(table(other, 't').key).toEqual(['_rowid_']);
});

it('follow a table without a key whose columns leave one name to the row number', async () => {
  const small =
    await TestMigration.create(`CREATE TABLE t (oid INT, "rowid" TEXT, v TEXT, UNIQUE ("rowid", oid));
    INSERT INTO t VALUES (1, 'a', 'x'), (1, 'a2', 'y'), (NULL, NULL, 'z')`);
  try {
    await small.upToVerified();
    expect(table(small.plan, 't')).toMatchObject({ key: ['_rowid_'], rowNumbered: true });
    small.app.exec(`INSERT OR REPLACE INTO t VALUES (1, 'a', 'new'); UPDATE t SET _rowid_ = 9 WHERE v = 'z'`);
    await small.catchUp();
    expect(await differences(small.app, small.target, small.plan)).toEqual([]);
    expect(await small.verify()).toMatchObject({ equal: true });
    await small.cutOver();
    await small.target.query(`UPDATE t SET v = v || '!'; INSERT INTO t VALUES (2, 'b', 'there')`);
    await small.reverseCatchUp();
    expect(await differences(small.app, small.target, small.plan)).toEqual([]);
  } finally {
    await small.dispose();
  }
});
