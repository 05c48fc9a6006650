/** Dates as JavaScript's toISOString() writes them: timestamptz on PostgreSQL, and the same text wherever they are read. */
import { PostgresAdapter } from '../src/router/adapters/postgres.ts';
import { TestMigration } from './support/migration.ts';
import { column, table } from './support/plan.ts';
import { differences } from './support/same.ts';
import { tamper } from './support/tamper.ts';

const SCHEMA = `
  CREATE TABLE visits (place INTEGER, at DATETIME, left_at TIMESTAMP CHECK (left_at >= at),
    made DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')), day TEXT AS (substr(at, 1, 10)) STORED, PRIMARY KEY (place, at));
  CREATE UNIQUE INDEX visits_late ON visits (left_at DESC) WHERE left_at > '2024-01-31T00:00:00.000Z';
  CREATE VIEW latest AS SELECT place, max(at) AS at, left_at FROM visits GROUP BY place, left_at HAVING max(at) > '2024-01-31';
  CREATE TABLE notes (id INTEGER PRIMARY KEY, place INTEGER, visit DATETIME, FOREIGN KEY (place, visit) REFERENCES visits (place, at));
  INSERT INTO visits (place, at, left_at, made) VALUES (1, '0001-01-01T00:00:00.000Z', NULL, '2024-01-31T12:34:56.700Z'),
    (1, '2024-01-31T12:34:56.500Z', '9999-12-31T23:59:59.999Z', '2024-01-31T12:34:56.000Z'), (1, '2024-01-31T12:34:56.450Z', NULL, '1899-12-31T23:59:59.001Z'),
    (2, '2024-01-31T12:34:56.000Z', '2024-01-31T12:34:56.001Z', '9999-12-31T23:59:59.999Z');
  INSERT INTO notes (place, visit) VALUES (1, '0001-01-01T00:00:00.000Z'), (2, '2024-01-31T12:34:56.000Z'), (NULL, NULL);`;
/** Not a whole number of minutes from UTC before 1935, where it writes the year 1 as BC. */
const ODD_ZONE = 'America/St_Johns';

let migration: TestMigration;

beforeEach(async () => {
  migration = await TestMigration.create(SCHEMA);
  await migration.target.query(
    `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET TimeZone = ''${ODD_ZONE}''', current_database()); END $$`,
  );
});

afterEach(() => migration.dispose());

it('arrive, are compared by every value, and come back byte for byte, as keys too', async () => {
  await migration.begin();
  const kinds = ['at', 'left_at', 'made'].map((name) => column(migration.plan, 'visits', name).kind);
  expect(kinds).toEqual(['timestamptz', 'timestamptz', 'timestamptz']);
  expect(table(migration.plan, 'visits').checks).toHaveLength(1);
  await migration.copy();
  migration.app.exec(`UPDATE visits SET left_at = '2024-06-01T00:00:00.010Z' WHERE at < '0002';
    UPDATE visits SET at = '2024-01-31T12:34:56.550Z' WHERE at = '2024-01-31T12:34:56.500Z'`);
  await migration.catchUp();
  await migration.index();
  expect(await migration.foreignKeys()).toBe(true);
  await migration.catchUp();
  expect(await migration.verify()).toMatchObject({ equal: true });
  expect(await migration.verify('sample')).toMatchObject({ equal: true });
  expect(await differences(migration.app, migration.target, migration.plan)).toEqual([]);

  const later = (by: string): Promise<void> =>
    tamper(migration.target, ['visits'], `UPDATE visits SET made = made + interval '${by}' WHERE place = 2`);
  await later('-1 ms');
  for (const mode of ['full', 'sample'] as const) {
    expect((await migration.verify(mode)).mismatches).toMatchObject([
      {
        table: 'visits',
        column: 'made',
      },
    ]);
  }
  await later('1 ms');

  await migration.cutOver();
  await migration.target.query(`SET TimeZone = '${ODD_ZONE}'`);
  await migration.target
    .query(`UPDATE visits SET left_at = '2024-06-01 00:00:00.5+02' WHERE place = 1 AND at < '1900-01-01';
    INSERT INTO visits (place, at) VALUES (3, '2024-01-31T00:00:00.000Z'), (3, '0001-01-01T00:00:00.001Z');
    DELETE FROM notes WHERE visit < '1900-01-01'`);
  await expect(
    migration.target.query(`UPDATE visits SET left_at = '2024-06-01 00:00:00.0005+00' WHERE place = 3`),
  ).rejects.toThrow(/crossfade_left_at/);
  await migration.reverseCatchUp();
  expect(await differences(migration.app, migration.target, migration.plan)).toEqual([]);
  const back = migration.app.prepare(
    `SELECT at, left_at FROM visits WHERE at < '1900-01-01' OR place = 3 ORDER BY place, at`,
  );
  expect(back.all()).toEqual([
    { at: '0001-01-01T00:00:00.000Z', left_at: '2024-05-31T22:00:00.500Z' },
    { at: '0001-01-01T00:00:00.001Z', left_at: null },
    { at: '2024-01-31T00:00:00.000Z', left_at: null },
  ]);
});

it('are read through the adapter as the source has them, whatever time zone the URL asks for', async () => {
  await migration.begin();
  await migration.copy();
  await migration.index();
  const url = new URL(migration.endpoints.targetUrl);
  url.searchParams.set('options', `-c TimeZone=${ODD_ZONE}`);
  const adapter = new PostgresAdapter(url.toString());
  try {
    for (const sql of [
      'SELECT place, at, left_at, made, day FROM visits ORDER BY place, at',
      'SELECT * FROM notes ORDER BY id',
      'SELECT * FROM latest ORDER BY place, at',
      'SELECT min(at) AS a, max(left_at) AS b, count(DISTINCT made) AS c FROM visits',
    ]) {
      expect(await adapter.query(sql)).toEqual(migration.app.prepare(sql).all());
    }
    expect(await adapter.query(`SELECT id FROM notes WHERE visit = ?`, ['0001-01-01T00:00:00.000Z'])).toEqual([{ id: 1 }]); // prettier-ignore
    // A migrated column has no microseconds before finish; later none is lost.
    expect(await adapter.query(`SELECT timestamptz '2024-01-31 12:00:00.00005+01' AS t, timestamptz 'infinity' AS i`)).toEqual([{ t: '2024-01-31T11:00:00.000050Z', i: 'infinity' }]); // prettier-ignore
  } finally {
    await adapter.close();
  }
});

it.each([
  `'2024-01-31 12:34:56'`,
  `'2024-01-31T12:34:56Z'`,
  `'2024-01-31T12:34:56.789z'`,
  `'2024-01-31T12:34:56.789+00:00'`,
  `'2024-02-30T12:34:56.789Z'`,
  `'2024-01-31T24:00:00.000Z'`,
  `'0000-01-31T12:34:56.789Z'`,
  `'2024-01-31T12:34:56.789Z' || char(0)`,
  `'infinity'`,
  '1700000000000',
  `CAST('2024-01-31T12:34:56.789Z' AS BLOB)`,
])('a later value in another form, %s, is set aside by its key', async (value) => {
  await migration.begin();
  await migration.copy();
  migration.app.exec(`UPDATE visits SET made = ${value} WHERE place = 2; UPDATE notes SET place = NULL`);
  await migration.catchUp();
  const aside = 'SELECT key FROM crossfade.quarantine';
  expect((await migration.target.query(aside)).rows).toEqual([
    { key: '["i:2","t:2024-01-31T12:34:56.000Z"]' },
  ]);
  migration.app.exec(`UPDATE visits SET made = '2024-01-31T12:34:56.789Z' WHERE place = 2`);
  await migration.catchUp();
  expect((await migration.target.query(aside)).rows).toEqual([]);
  expect(await differences(migration.app, migration.target, migration.plan)).toEqual([]);
});
