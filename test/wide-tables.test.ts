/** Tables with more columns than most: up to PostgreSQL's limits they arrive, beyond them the plan says so. */
import { TestMigration } from './support/migration.ts';
import { brief, planOf } from './support/plan.ts';
import { differences } from './support/same.ts';

const TYPES = ['INT', 'TEXT', 'REAL', 'BOOLEAN'];
const wide = (count: number, type: (i: number) => string): string =>
  `CREATE TABLE w (id INTEGER PRIMARY KEY, ${Array.from({ length: count }, (_, i) => `c${i} ${type(i)}`).join(', ')});`;
const full = (count: number, value: (i: number) => unknown): string =>
  `INSERT INTO w VALUES (1, ${Array.from({ length: count }, (_, i) => value(i)).join(', ')});`;

let made: TestMigration | undefined;

afterEach(async () => {
  await made?.dispose();
  made = undefined;
});

async function migrated(schema: string): Promise<TestMigration> {
  const migration = await TestMigration.create(schema);
  made = migration;
  await migration.begin();
  await migration.copy();
  await migration.catchUp();
  return migration;
}

it('with 1,599 columns arrive, are replayed and verified', async () => {
  const migration = await migrated(
    wide(1_598, (i) => TYPES[i % 4]!) +
      `INSERT INTO w (id, c0, c1, c1597) VALUES (1, 5, 'x', 'y'), (2, NULL, 'z', NULL);`,
  );
  expect(brief(migration.plan.notices)).toEqual(['wide-table w']);
  migration.app.exec(
    `UPDATE w SET c2 = 0.5, c1595 = 1 WHERE id = 2; INSERT INTO w (id, c1596) VALUES (3, 7)`,
  );
  await migration.catchUp();
  expect(await migration.verify()).toMatchObject({ equal: true, rows: 3, quarantined: 0 });
  expect(await differences(migration.app, migration.target, migration.plan)).toEqual([]);
});

it.each<[string, number, string, unknown]>([
  ['numbers', 990, 'INT', 7],
  ['long texts', 335, 'TEXT', `hex(zeroblob(500))`],
  ['short texts', 1_598, 'TEXT', `'abc'`],
])('that are full of %s fill a page', async (_, count, type, value) => {
  const migration = await migrated(wide(count, () => type) + full(count, () => value));
  expect(await migration.verify()).toMatchObject({ equal: true, quarantined: 0 });
});

it.each<[string, number, string, unknown]>([
  ['numbers', 1_100, 'INT', 7],
  ['long texts', 500, 'TEXT', `hex(zeroblob(500))`],
])('that are too full of %s are refused', async (_, count, type, value) => {
  const plan = await planOf(wide(count, () => type) + full(count, () => value));
  expect(brief(plan.blockers)).toEqual(['row-too-wide w 1']);
});

it('with more columns than PostgreSQL has are refused', async () => {
  const plan = await planOf(wide(1_600, () => 'INT'));
  expect(brief(plan.blockers)).toEqual(['too-many-columns w 1601']);
});
