/** Policies: what the operator lets go, and that everything else still arrives, is verified and comes back. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { DEFAULT_POLICIES, POLICY_CHOICES } from '../src/choices.ts';
import { DEFAULT_INPUT, type Policies } from '../src/contract.ts';
import { BLOCKERS, wayOn, type BlockerCode } from '../src/engine/blockers.ts';
import { moveWritesBack } from '../src/engine/rollback.ts';
import { parseMigrationInput } from '../src/input.ts';
import { TestMigration } from './support/migration.ts';
import { brief, planOf, table } from './support/plan.ts';
import { differences } from './support/same.ts';

function policies(chosen: Partial<Policies>): Policies {
  return { ...DEFAULT_INPUT.policies, ...chosen };
}

describe('every kind of blocker', () => {
  const codes = Object.keys(BLOCKERS) as BlockerCode[];
  const docs = readFileSync(join(import.meta.dirname, '../docs/operations.md'), 'utf8');

  it.each(codes)('%s is documented with its way on', (code) => {
    const row = docs.split('\n').find((line) => line.startsWith('|') && line.includes(`\`${code}\``));
    expect(row).toBeDefined();
    const way = BLOCKERS[code];
    if (way === 'none') return;
    expect(row).toContain(way === 'skip' ? 'overrides' : `\`${way}\``);
    expect(wayOn(code, 't')).toContain(way === 'skip' ? '{"t":{"skip":true}}' : `policies.${way}`);
  });

  it('every policy refuses unless it is told otherwise, and has a row in the docs', () => {
    const { identifiers, ...others } = DEFAULT_POLICIES;
    expect(identifiers).toBe('exact');
    expect(new Set(Object.values(others))).toEqual(new Set(['refuse']));
    for (const [name, [first, ...choices]] of Object.entries(POLICY_CHOICES)) {
      expect(DEFAULT_POLICIES[name as keyof Policies]).toBe(first);
      for (const choice of choices) {
        expect(parseMigrationInput({ policies: { [name]: choice } }).policies).toEqual({
          ...DEFAULT_POLICIES,
          [name]: choice,
        });
        if (name !== 'identifiers') expect(docs).toContain(`\`${name}\`: \`${choice}\``);
      }
    }
  });

  it('is raised somewhere in the engine', () => {
    const folder = join(import.meta.dirname, '../src/engine');
    const engine = readdirSync(folder)
      .filter((name) => name !== 'blockers.ts')
      .map((name) => readFileSync(join(folder, name), 'utf8'))
      .join('\n');
    for (const code of codes) expect(engine).toContain(`'${code}'`);
  });
});

/** A schema with everything that only a policy lets pass, and a policy for each. */
const SCHEMA = `
  PRAGMA foreign_keys = OFF;
  CREATE TABLE nulls (a TEXT, b INT, v, PRIMARY KEY (a, b));
  CREATE TABLE reals (k PRIMARY KEY, v TEXT);
  CREATE TABLE long (k TEXT PRIMARY KEY, v INT);
  CREATE TABLE parent (id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE UNIQUE);
  CREATE TABLE orphan (id INTEGER PRIMARY KEY, parent INT REFERENCES parent ON DELETE CASCADE, v INT);
  CREATE TABLE typed (id INTEGER PRIMARY KEY, parent TEXT REFERENCES parent, name TEXT REFERENCES parent (name));
  CREATE TABLE loose (id INTEGER PRIMARY KEY, a TEXT, at TEXT NOT NULL DEFAULT (datetime('now', 'localtime')));
  CREATE UNIQUE INDEX strange ON loose (hex(a));
  INSERT INTO nulls VALUES ('x', 1, 'one'), (NULL, 1, 'two'), (NULL, 1, 'three'), (NULL, NULL, 4);
  INSERT INTO reals VALUES (1, 'i'), (2.5, 'r'), ('a', 't'), (x'00', 'b');
  INSERT INTO long VALUES (hex(zeroblob(2000)), 1), ('short', 2);
  INSERT INTO parent VALUES (1, 'Ann'), (2, 'Bob');
  INSERT INTO orphan VALUES (1, 1, 0), (2, 99, 0), (3, NULL, 0);
  INSERT INTO typed VALUES (1, '1', 'Ann');
  INSERT INTO loose (a, at) VALUES ('x', 'now');
`;
const GO_ON = policies({
  keys: 'row-numbers',
  orphans: 'not-valid',
  foreignKeys: 'leave-out',
  uniqueIndexes: 'leave-out',
  defaults: 'leave-out',
});

it('refuses all of it by default, and each line says how to go on', async () => {
  const plan = await planOf(SCHEMA);
  expect(brief(plan.blockers).sort()).toEqual(
    [
      'default-not-null loose.at',
      'key-too-large long 4000',
      'key-type-mismatch typed.parent 1',
      'mixed-classes reals.k 1',
      'nocase-parent typed',
      'null-in-key nulls.a 3',
      'null-in-key nulls.b 1',
      'orphans orphan.parent 1',
      'unique-index loose',
    ].sort(),
  );
  for (const { message } of plan.blockers) expect(message).toMatch(/, or set policies\.\w+ to "/);
});

it('with the policies it is a plan without blockers, and each choice is a notice', async () => {
  const plan = await planOf(SCHEMA, GO_ON);
  expect(brief(plan.blockers)).toEqual([]);
  const asked = plan.notices.filter(({ message }) => /as policies\.\w+ asks/.test(message));
  expect(brief(asked).sort()).toEqual(
    [
      'default-not-null loose.at',
      'index-too-large long 4000',
      'key-type-mismatch typed.parent 1',
      'no-key long',
      'no-key nulls',
      'no-key reals',
      'nocase-parent typed',
      'orphans orphan.parent 1',
      'unique-index loose',
    ].sort(),
  );
  expect(table(plan, 'nulls')).toMatchObject({ rowNumbered: true, key: ['rowid'] });
  expect(table(plan, 'nulls').indexes).toMatchObject([{ unique: true, name: 'nulls_a_b_key' }]);
  expect(table(plan, 'orphan').foreignKeys).toMatchObject([{ notValid: true, onDelete: 'CASCADE' }]);
  expect(table(plan, 'typed').foreignKeys).toEqual([]);
  const without = await planOf(SCHEMA, { ...GO_ON, orphans: 'leave-out' });
  expect(table(without, 'orphan').foreignKeys).toEqual([]);
});

it('everything else arrives, is verified, goes over and comes back', async () => {
  const migration = await TestMigration.create(SCHEMA);
  const { app, target } = migration;
  try {
    await migration.begin(GO_ON);
    await migration.copy({ batchRows: 2 });
    app.exec(`INSERT INTO nulls VALUES (NULL, NULL, 'new'), ('y', 1, 0.5); UPDATE nulls SET v = 'other' WHERE v = 'two';
      REPLACE INTO nulls VALUES ('x', 1, 'replaced'); UPDATE reals SET k = 3.25 WHERE v = 'r'; REPLACE INTO reals VALUES ('a', 'again');
      DELETE FROM long WHERE v = 2; INSERT INTO orphan VALUES (4, 98, 0); INSERT INTO loose (a) VALUES ('y')`);
    await migration.catchUp();
    await migration.index();
    expect(await migration.verify()).toMatchObject({ equal: true, quarantined: 0 });
    expect(await differences(app, target, migration.plan)).toEqual([]);
    expect(await migration.foreignKeys()).toBe(true);

    expect(await migration.cutOver()).toMatchObject({ outcome: 'moved' });
    await target.query(`UPDATE orphan SET v = 1`);
    await expect(target.query('INSERT INTO orphan VALUES (5, 97, 0)')).rejects.toMatchObject({
      code: '23503',
    });
    await expect(target.query(`INSERT INTO nulls VALUES ('x', 1, 'twice')`)).rejects.toMatchObject({
      code: '23505',
    });
    await expect(target.query(`INSERT INTO loose (id, a) VALUES (9, 'z')`)).rejects.toMatchObject({
      code: '23502',
    });
    await target.query(`INSERT INTO nulls (a, b, v) VALUES (NULL, 1, 'there'); DELETE FROM nulls WHERE v = 'three';
      INSERT INTO reals (k, v) VALUES ('7.5', 'there'); UPDATE reals SET v = 'changed' WHERE k = '3.25'`);
    await migration.reverseCatchUp();
    expect(await differences(app, target, migration.plan)).toEqual([]);
    expect(app.prepare(`SELECT typeof(k) AS class, v FROM reals WHERE k = 7.5`).get()).toEqual({
      class: 'real',
      v: 'there',
    });
    expect(app.prepare('SELECT count(*) FROM nulls WHERE a IS NULL').pluck().get()).toBe(4);
    const back = await moveWritesBack({
      endpoints: migration.endpoints,
      lease: migration.lease('reverse'),
      maxPauseMs: 10_000,
    });
    expect(back.outcome).toBe('moved');
  } finally {
    await migration.dispose();
  }
});

it('a primary key with NULLs makes way for another key, where there is one, without being asked', async () => {
  const plan = await planOf(`CREATE TABLE t (a TEXT PRIMARY KEY, u INT NOT NULL UNIQUE, v);
    INSERT INTO t VALUES ('x', 1, 1), (NULL, 2, 2), (NULL, 3, 3)`);
  expect(brief(plan.blockers)).toEqual([]);
  expect(brief(plan.notices)).toEqual(['other-key t']);
  expect(table(plan, 't')).toMatchObject({ key: ['u'], indexes: [{ name: 't_a_key', unique: true }] });
});

it('RTRIM forbids on the target what it forbids in the source', async () => {
  const migration =
    await TestMigration.create(`CREATE TABLE t (k TEXT COLLATE RTRIM PRIMARY KEY, a TEXT COLLATE RTRIM UNIQUE);
    INSERT INTO t VALUES ('a  ', 'x'), ('b', 'y '), ('B', 'y' || char(9))`);
  const { app, target } = migration;
  try {
    await migration.upToVerified();
    expect(brief(migration.plan.notices).sort()).toEqual([
      'collation t.a',
      'collation t.k',
      'rtrim-index t',
      'rtrim-index t',
    ]);
    app.exec(`REPLACE INTO t VALUES ('a', 'z'); UPDATE t SET k = 'b   ' WHERE k = 'b'`);
    await migration.catchUp();
    expect(await migration.verify()).toMatchObject({ equal: true });
    expect(await differences(app, target, migration.plan)).toEqual([]);
    await migration.cutOver();
    for (const values of [`('a ', 'new')`, `('new', 'z  ')`]) {
      await expect(target.query(`INSERT INTO t VALUES ${values}`)).rejects.toMatchObject({ code: '23505' });
    }
    await target.query(`INSERT INTO t VALUES ('A ', 'Z')`);
    await migration.reverseCatchUp();
    expect(await differences(app, target, migration.plan)).toEqual([]);
  } finally {
    await migration.dispose();
  }
});
