/** Names: kept exactly where PostgreSQL can, told where not; a migration goes there and back under any of them. */
import { DEFAULT_INPUT } from '../src/contract.ts';
import { readSchema } from '../src/databases/sqlite/schema.ts';
import { cleanSource } from '../src/engine/finish.ts';
import { moveWritesBack } from '../src/engine/rollback.ts';
import { leaveTarget } from '../src/engine/target-schema.ts';
import { TestMigration } from './support/migration.ts';
import { brief, planOf } from './support/plan.ts';
import { differences } from './support/same.ts';

const LOWER = { ...DEFAULT_INPUT.policies, identifiers: 'lower' as const };
const LONG = 't'.repeat(70);
/** PostgreSQL would cut both to the same 63 bytes. */
const [LONG_A, LONG_B] = [`${'ä'.repeat(31)}_a`, `${'ä'.repeat(31)}_b`];

const SCHEMA = `
  CREATE TABLE "User ""Q"" 🎉" (Id INTEGER PRIMARY KEY AUTOINCREMENT, "select" TEXT NOT NULL UNIQUE, xmin INT, "" INT,
    "${LONG_A}" TEXT, "${LONG_B}" TEXT CHECK ("${LONG_B}" <> 'no'), CamelCase BOOLEAN DEFAULT 1);
  CREATE TABLE "${LONG}" ("a b" TEXT, "Group" INT, ref INT REFERENCES "User ""Q"" 🎉" (Id) ON DELETE CASCADE,
    PRIMARY KEY ("a b", "Group")) WITHOUT ROWID;
  CREATE TABLE "${LONG}x" (id INTEGER PRIMARY KEY, v TEXT);
  CREATE TABLE pg_class (Oid TEXT PRIMARY KEY, v INT);
  CREATE INDEX "Odd ""index""" ON "User ""Q"" 🎉" ("${LONG_B}" DESC, CamelCase) WHERE xmin IS NOT NULL;
  CREATE INDEX "${LONG}y" ON pg_class (v);
`;

function write(migration: TestMigration, from: number): void {
  const user = migration.app.prepare(
    `INSERT INTO "User ""Q"" 🎉" ("select", xmin, "", "${LONG_A}", "${LONG_B}") VALUES (?, ?, ?, 'a', 'b')`,
  );
  for (let i = from; i < from + 50; i++) {
    const { lastInsertRowid } = user.run(`user ${i}`, i % 3 === 0 ? null : i, i);
    migration.app.prepare(`INSERT INTO "${LONG}" VALUES ('x', ?, ?)`).run(i, lastInsertRowid);
    migration.app.prepare(`INSERT INTO "${LONG}x" (v) VALUES (?)`).run(`v${i}`);
    migration.app.prepare(`INSERT INTO pg_class VALUES (?, ?)`).run(`o${i}`, i);
  }
}

describe.each([
  ['exact', DEFAULT_INPUT.policies],
  ['lower', LOWER],
])('identifiers: %s', (_, policies) => {
  let migration: TestMigration;

  beforeEach(async () => {
    migration = await TestMigration.create(SCHEMA);
    write(migration, 0);
  });

  afterEach(() => migration.dispose());

  it('goes there and back', async () => {
    await migration.begin(policies);
    write(migration, 100);
    await migration.copy();
    migration.app.exec(
      `DELETE FROM "User ""Q"" 🎉" WHERE Id % 7 = 0; UPDATE pg_class SET Oid = upper(Oid) WHERE v < 9`,
    );
    await migration.catchUp();
    await migration.index();
    expect(await migration.verify()).toMatchObject({ equal: true, quarantined: 0 });
    expect(await differences(migration.app, migration.target, migration.plan)).toEqual([]);
    expect(await migration.foreignKeys()).toBe(true);
    expect(await migration.cutOver()).toMatchObject({ outcome: 'moved' });

    const [users] = migration.plan.tables.filter((table) => table.name.startsWith('User'));
    const name = (thing: { name: string; targetName?: string }): string =>
      `"${(thing.targetName ?? thing.name).replaceAll('"', '""')}"`;
    const [id, select] = users!.columns.map(name);
    const { rows } = await migration.target.query<{ id: string }>(
      `INSERT INTO ${name(users!)} (${select!}) VALUES ('from PostgreSQL') RETURNING ${id!} AS id`,
    );
    await migration.target.query(`DELETE FROM ${name(users!)} WHERE ${id!} = 1`);
    await migration.reverseCatchUp();
    expect(await differences(migration.app, migration.target, migration.plan)).toEqual([]);
    const back = await moveWritesBack({
      endpoints: migration.endpoints,
      lease: migration.lease('reverse'),
      maxPauseMs: 10_000,
    });
    expect(back.outcome).toBe('moved');
    await cleanSource(migration.endpoints, migration.name);
    await leaveTarget(migration.endpoints, migration.name, 'drop');
    const there = migration.app
      .prepare(`SELECT "select" FROM "User ""Q"" 🎉" WHERE Id = ?`)
      .pluck()
      .get(Number(rows[0]!.id));
    expect(there).toBe('from PostgreSQL');
    const left = await migration.target.query(
      `SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace`,
    );
    expect(left.rows).toEqual([]);
  });
});

it('are told where they cannot stay, and cut as PostgreSQL cuts them', async () => {
  const plan = await planOf(SCHEMA);
  expect(brief(plan.blockers)).toEqual([]);
  expect(brief(plan.notices.filter(({ code }) => code === 'renamed'))).toEqual([
    'renamed User "Q" 🎉.xmin',
    'renamed User "Q" 🎉.',
    `renamed User "Q" 🎉.${LONG_A}`,
    `renamed User "Q" 🎉.${LONG_B}`,
    'renamed pg_class',
    `renamed ${LONG}`,
    `renamed ${LONG}x`,
  ]);
  const names = plan.tables.map((table) => table.targetName ?? table.name);
  expect(names.slice(0, 3)).toEqual(['User "Q" 🎉', '_pg_class', LONG.slice(0, 63)]);
  expect(names[3]).toMatch(/^t{54}_[0-9a-f]{8}$/);
  expect(plan.tables[0]!.columns.map((column) => column.targetName)).toEqual([
    undefined,
    undefined,
    'xmin_',
    'unnamed',
    `${'ä'.repeat(31)}_`,
    expect.stringMatching(/^ä{27}_[0-9a-f]{8}$/),
    undefined,
  ]);
});

it('in lower case are told only where they change more than their case', async () => {
  const plan = await planOf(
    'CREATE TABLE Users (Id INTEGER PRIMARY KEY, userName TEXT); CREATE INDEX ByName ON Users (userName)',
    LOWER,
  );
  expect(plan.notices).toEqual([]);
  const [table] = plan.tables;
  expect([table!.targetName, ...table!.columns.map((column) => column.targetName)]).toEqual([
    'users',
    'id',
    'username',
  ]);
  expect(table!.indexes.map(({ name, targetSql }) => `${name} ${targetSql}`)).toEqual([
    'byname "username" NULLS FIRST',
  ]);
});

it('are found for indexes and constraints that have none, or one that is taken once it is cut', async () => {
  const cut = 'é'.repeat(40);
  const migration = await TestMigration.create(`
    CREATE TABLE "${cut}" (a TEXT PRIMARY KEY, b TEXT REFERENCES "${cut}" (a), c TEXT, CONSTRAINT "" FOREIGN KEY (c) REFERENCES "${cut}" (a));
    CREATE UNIQUE INDEX "" ON "${cut}" (b);
    INSERT INTO "${cut}" VALUES ('x', 'x', 'x');`);
  try {
    await migration.upToVerified();
    expect(await migration.foreignKeys()).toBe(true);
    const { rows } = await migration.target.query(
      `SELECT conname FROM pg_constraint WHERE contype = 'f' AND convalidated AND conrelid = $1::regclass`,
      [`"${'é'.repeat(31)}"`],
    );
    expect(rows).toHaveLength(2);
  } finally {
    await migration.dispose();
  }
});

it('that begin as ours are refused or told, but for ours', async () => {
  const sql = `CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT); CREATE TABLE _crossfade_mine (id INTEGER PRIMARY KEY);
    CREATE INDEX _Crossfade_i ON t (a); CREATE VIEW _crossfade_v AS SELECT 1; CREATE TABLE _cf_KV (id INTEGER PRIMARY KEY);
    CREATE TRIGGER _crossfade_t AFTER INSERT ON t BEGIN SELECT 1; END; CREATE TABLE k (_crossfade_rowid TEXT, b);`;
  const plan = await planOf(sql);
  expect(brief(plan.blockers)).toEqual([
    'reserved-name _Crossfade_i',
    'reserved-name _crossfade_mine',
    'reserved-name _crossfade_t',
    'reserved-name _crossfade_v',
  ]);
  expect(brief(plan.notices)).toEqual(['reserved-name _cf_KV', 'renamed k._crossfade_rowid', 'no-key k']);
  expect(plan.tables[0]!.columns.map((column) => column.targetName)).toEqual([
    '_crossfade_rowid_',
    undefined,
    '_crossfade_rowid',
  ]);
  const migration = await TestMigration.create(
    'CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT UNIQUE); CREATE TABLE k (a)',
  );
  try {
    await migration.upToVerified();
    await migration.cutOver();
    expect(readSchema(migration.app).reserved).toEqual([]);
    expect(readSchema(migration.app).tables.map(({ name }) => name)).toEqual(['k', 't']);
  } finally {
    await migration.dispose();
  }
});
