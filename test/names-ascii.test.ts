/** SQLite folds the letters of ASCII in names, and no others: "é" and "É" are two columns, two tables. */
import { differences } from './support/same.ts';
import { TestMigration } from './support/migration.ts';
import { column, planOf, table } from './support/plan.ts';

const SCHEMA = `
  CREATE TABLE "É" (id INTEGER PRIMARY KEY, "ö" TEXT COLLATE NOCASE, "Ö" TEXT,
    "ä" TEXT GENERATED ALWAYS AS ("Ö" || 'x'), "Ä" INTEGER GENERATED ALWAYS AS (id + 1));
  CREATE TABLE "é" (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES "É" (ID));
  CREATE UNIQUE INDEX u ON "É" ("Ö");
  INSERT INTO "É" (id, "ö", "Ö") VALUES (1, 'a', 'b'), (2, 'A', 'B');
  INSERT INTO "é" VALUES (1, 2), (2, NULL);
`;

it('tells columns and tables apart that differ in the case of other letters', async () => {
  const migration = await TestMigration.create(SCHEMA);
  try {
    await migration.upToVerified();
    expect(table(migration.plan, 'É').generated).toMatchObject([
      { name: 'ä', kind: 'text' },
      { name: 'Ä', kind: 'bigint' },
    ]);
    expect(table(migration.plan, 'é').foreignKeys).toMatchObject([{ parent: 'É', parentColumns: ['id'] }]);
    expect(await differences(migration.app, migration.target, migration.plan)).toEqual([]);
  } finally {
    await migration.dispose();
  }
});

it('leaves behind, or gives a type to, the one that overrides name', async () => {
  const plan = await planOf(SCHEMA.replace(/CREATE TABLE "é"[^;]*;|INSERT INTO "é"[^;]*;/g, ''), undefined, {
    É: { skip: false, columns: { Ö: { type: 'varchar' } } },
  });
  expect(column(plan, 'É', 'Ö').kind).toBe('mixed');
  expect(column(plan, 'É', 'ö').kind).toBe('text');
  const skipped = await planOf(SCHEMA, undefined, { é: { skip: true, columns: {} } });
  expect(skipped.tables.map(({ name }) => name)).toEqual(['É']);
});
