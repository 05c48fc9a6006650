/** Generated columns through a whole migration: computed on both sides, never written, compared like the others. */
import { DEFAULT_INPUT } from '../src/contract.ts';
import { cleanSource, finishMigration } from '../src/engine/finish.ts';
import { moveWritesBack } from '../src/engine/rollback.ts';
import { verifyDatabases } from '../src/engine/verify.ts';
import { PostgresAdapter } from '../src/router/adapters/postgres.ts';
import { SqliteAdapter } from '../src/router/adapters/sqlite.ts';
import { never, TestMigration } from './support/migration.ts';
import { brief, planOf, REFUSE, table } from './support/plan.ts';
import { differences } from './support/same.ts';
import { tamper } from './support/tamper.ts';

const SCHEMA = `
  CREATE TABLE person (
    handle TEXT GENERATED ALWAYS AS (lower(substr(email, 1, instr(email, '@') - 1))) STORED UNIQUE,
    id INTEGER PRIMARY KEY, first TEXT, last TEXT NOT NULL DEFAULT 'Doe', email TEXT NOT NULL,
    full_name AS (coalesce(first || ' ', '') || last), initials TEXT AS (substr(full_name, 1, 1) || '.') NOT NULL,
    CHECK (length(full_name) < 100));
  CREATE INDEX person_name ON person (full_name DESC, id);
  CREATE TABLE line (
    id INTEGER PRIMARY KEY, price DECIMAL(10, 2), quantity INTEGER NOT NULL, discount REAL, sold DATETIME,
    total NUMERIC AS (price * quantity), paid REAL AS (price * quantity * (1 - coalesce(discount, 0.0))) STORED,
    dozen INTEGER AS (quantity / 12), sold_on DATE AS (date(sold)), gift BOOLEAN AS (price IS NULL OR price = 0),
    seller TEXT, seller_handle TEXT AS (lower(seller)) REFERENCES person (handle));
  CREATE INDEX line_dozen ON line (dozen) WHERE gift = 0;
  INSERT INTO person (id, first, last, email) VALUES (1, 'Ada', 'Lovelace', 'Ada@example.com'), (2, NULL, 'É', 'e@x'), (3, 'Zoë 🎉', 'Doe', 'none');
  WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
    INSERT INTO line (id, price, quantity, discount, sold, seller)
    SELECT i, CASE i % 5 WHEN 0 THEN NULL WHEN 1 THEN i ELSE i / 100.0 END, i % 40, CASE WHEN i % 3 > 0 THEN i % 7 / 10.0 END,
           datetime(i * 86399, 'unixepoch'), CASE i % 4 WHEN 0 THEN 'ADA' WHEN 1 THEN 'e' END FROM n;
`;

let migration: TestMigration;
let made: TestMigration | undefined;

async function create(schema: string): Promise<void> {
  migration = await TestMigration.create(schema);
  made = migration;
}

afterEach(async () => {
  await made?.dispose();
  made = undefined;
});

const expectSame = async (): Promise<void> =>
  expect(await differences(migration.app, migration.target, migration.plan)).toEqual([]);
const verify = () => verifyDatabases({ ...migration.endpoints, mode: 'full', sampleRows: 50, signal: never });

describe('a migration', () => {
  beforeEach(async () => {
    await create(SCHEMA);
  });

  it('carries them through copy, replay, cutover and the way back, with their constraints', async () => {
    await migration.begin();
    migration.app.exec(`UPDATE person SET email = 'first@x' WHERE id = 3`);
    await migration.copy({ batchRows: 50 });
    migration.app.exec(`
      UPDATE person SET email = 'ADA@b', last = 'King' WHERE id = 1; UPDATE line SET quantity = quantity + 1 WHERE id % 7 = 0;
      INSERT OR REPLACE INTO person (id, email) VALUES (9, 'E@elsewhere'); UPDATE line SET price = 12.34, sold = NULL WHERE id < 20`);
    await migration.catchUp();
    await migration.index();
    migration.app.exec(
      `INSERT INTO line (quantity, price, seller) VALUES (5, 0, 'Ada'); DELETE FROM line WHERE id = 3`,
    );
    await migration.catchUp();
    expect(await migration.foreignKeys()).toBe(true);
    expect(await migration.verify()).toMatchObject({ equal: true, mismatches: [] });
    await expectSame();
    expect(await migration.cutOver()).toMatchObject({ outcome: 'moved' });

    const { target } = migration;
    await target.query(
      `INSERT INTO person VALUES (20, 'New', 'One', 'N.One@x'); UPDATE line SET seller = 'N.ONE' WHERE id < 9`,
    );
    const { rows } = await target.query(`SELECT handle, full_name, initials FROM person WHERE id = 20`);
    expect(rows).toEqual([{ handle: 'n.one', full_name: 'New One', initials: 'N.' }]);
    const refused = async (sql: string): Promise<string> =>
      target.query(sql).then(
        () => 'accepted',
        (error: { code: string }) => error.code,
      );
    expect(await refused(`INSERT INTO person (email) VALUES ('n.ONE@twice')`)).toBe('23505');
    expect(await refused(`UPDATE line SET seller = 'nobody' WHERE id = 1`)).toBe('23503');
    expect(await refused(`UPDATE person SET first = repeat('x', 100) WHERE id = 20`)).toBe('23514');
    expect(await refused(`UPDATE line SET total = 1`)).toBe('428C9');
    await migration.reverseCatchUp();
    await expectSame();
    expect(await verify()).toMatchObject({ equal: true, mismatches: [] });

    await target.query(`UPDATE person SET last = 'Last' WHERE id = 20; DELETE FROM line WHERE id % 2 = 0`);
    expect(
      await moveWritesBack({
        endpoints: migration.endpoints,
        lease: migration.lease('reverse'),
        maxPauseMs: 5_000,
      }),
    ).toMatchObject({ outcome: 'moved', epoch: 3 });
    await expectSame();
    await cleanSource(migration.endpoints, migration.name);
    migration.app.exec(`INSERT INTO person (first, email) VALUES ('After', 'after@x')`);
    expect(
      migration.app.prepare(`SELECT full_name FROM person WHERE handle = 'after'`).pluck().all(),
    ).toEqual(['After Doe']);
  });

  it('finishes with them, and both databases answer alike', async () => {
    await migration.upToVerified();
    const sqlite = new SqliteAdapter(migration.endpoints.sourcePath);
    const postgres = new PostgresAdapter(migration.endpoints.targetUrl);
    try {
      for (const sql of [
        'SELECT * FROM person ORDER BY id',
        'SELECT * FROM line ORDER BY id',
        `SELECT id FROM line WHERE total > 100 AND dozen < 3 AND sold_on < '1971-01-01' ORDER BY id`,
        `SELECT count(*) AS n FROM person WHERE full_name = 'Ada Lovelace' OR handle = 'e'`,
      ]) {
        const rows = await sqlite.query(sql);
        expect(rows.length).toBeGreaterThan(0);
        expect(await postgres.query(sql)).toEqual(rows);
      }
    } finally {
      await sqlite.close();
      await postgres.close();
    }
    await migration.cutOver();
    await finishMigration(migration.endpoints, migration.lease('reverse'), 'free');
    await migration.target.query(`INSERT INTO person (email) VALUES ('finished@x')`);
    const { rows } = await migration.target.query(`SELECT full_name FROM person WHERE handle = 'finished'`);
    expect(rows).toEqual([{ full_name: 'Doe' }]);
  });

  it('is told where the target computes something else', async () => {
    await migration.upToVerified();
    const total = table(migration.plan, 'line').generated!.find(({ name }) => name === 'total')!;
    await tamper(
      migration.target,
      ['person', 'line'],
      `ALTER TABLE line DROP COLUMN total; ALTER TABLE line ADD COLUMN total double precision GENERATED ALWAYS AS (${total.expressionSql} + CASE WHEN id = 57 THEN 0.01 ELSE 0 END) STORED;
       ALTER TABLE person DROP COLUMN full_name CASCADE;
       ALTER TABLE person ADD COLUMN full_name text GENERATED ALWAYS AS (coalesce(first, '') || ' ' || last) STORED`,
    );
    const verdict = await verify();
    expect(verdict.equal).toBe(false);
    expect(new Set(verdict.mismatches.map(({ table: of, column }) => `${of}.${column}`))).toEqual(
      new Set(['person.full_name', 'line.total']),
    );
    expect(verdict.mismatches).toContainEqual({
      table: 'person',
      key: '2',
      kind: 'different',
      column: 'full_name',
      primary: 'É',
      secondary: ' É',
    });
  });

  it('stands still at a column of ours that was changed on the target', async () => {
    await migration.upToVerified();
    await migration.cutOver();
    await migration.target.query(`ALTER TABLE person DROP COLUMN initials`);
    await expect(
      moveWritesBack({
        endpoints: migration.endpoints,
        lease: migration.lease('reverse'),
        maxPauseMs: 5_000,
      }),
    ).rejects.toMatchObject({ code: 'SchemaChanged', message: expect.stringContaining('"initials"') });
  });
});

it('a row that PostgreSQL cannot compute is set aside, and comes when it is mended', async () => {
  await create(
    `CREATE TABLE t (id INTEGER PRIMARY KEY, a INT, g INT AS (a * 2)); INSERT INTO t (a) VALUES (1), (2)`,
  );
  await migration.begin();
  migration.app.exec(`UPDATE t SET a = 9223372036854775807 WHERE id = 2`);
  await migration.copy();
  await migration.catchUp();
  const reasons = async () =>
    (await migration.target.query(`SELECT key, reason FROM crossfade.quarantine`)).rows;
  expect(await reasons()).toEqual([{ key: '["i:2"]', reason: 'bigint out of range' }]);
  await migration.index();
  expect(await migration.verify()).toMatchObject({ equal: false, mismatches: [], quarantined: 1 });
  migration.app.exec(`UPDATE t SET a = 3 WHERE id = 2`);
  await migration.catchUp();
  expect(await reasons()).toEqual([]);
  expect(await migration.verify()).toMatchObject({ equal: true });
});

it('an action that no database can do over them only refuses', async () => {
  const plan = await planOf(`CREATE TABLE p (id INTEGER PRIMARY KEY, n TEXT, k TEXT AS (upper(n)) UNIQUE);
    CREATE TABLE c (id INTEGER PRIMARY KEY, n INT, t TEXT REFERENCES p (k), g INT AS (n) REFERENCES p ON UPDATE CASCADE ON DELETE CASCADE,
      h TEXT AS (t || '') REFERENCES p (k) ON DELETE SET NULL, bad TEXT AS (t) REFERENCES p)`);
  expect(brief(plan.blockers)).toEqual(['key-type-mismatch c.bad']);
  expect(brief(plan.notices).filter((line) => line.startsWith('foreign'))).toEqual([
    'foreign-key-action c',
    'foreign-key-action c',
  ]);
  expect(
    table(plan, 'c').foreignKeys.map(({ columns, onUpdate, onDelete }) =>
      [...columns, onUpdate, onDelete].join(', '),
    ),
  ).toEqual(['t, NO ACTION, NO ACTION', 'g, NO ACTION, CASCADE', 'h, NO ACTION, NO ACTION']);
});

describe('a column whose expression is uncertain', () => {
  const SQL = `CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, p INT UNIQUE,
      g INT AS (a LIKE upper(a)) CHECK (g < 2) REFERENCES t (p), h AS (g + 1), k TEXT AS (upper(a)));
    CREATE INDEX t_g ON t (g); INSERT INTO t (a, p) VALUES ('x', 0), ('X', 1)`;

  it('is refused by name, with its expression', async () => {
    const plan = await planOf(SQL);
    expect(brief(plan.blockers)).toEqual(['generated-column t.g', 'generated-column t.h']);
    expect(plan.blockers[0]!.message).toMatch(
      /"t"\."g" .*\(a LIKE upper\(a\)\).*policies\.generatedColumns.*"leave-out"/,
    );
  });

  it('is left out where the policy says so, with everything over it, and the rest migrates', async () => {
    await create(SQL);
    await migration.begin({ ...DEFAULT_INPUT.policies, generatedColumns: 'leave-out' });
    expect(brief(migration.plan.notices).sort()).toEqual([
      'check-left-out t',
      'foreign-key-left-out t',
      'generated-column t.g',
      'generated-column t.h',
      'generated-stored t.k',
      'index-left-out t',
    ]);
    await migration.copy();
    await migration.catchUp();
    await migration.index();
    migration.app.exec(`INSERT OR REPLACE INTO t (a, p) VALUES ('xyz', 1)`);
    await migration.catchUp();
    expect(await migration.verify()).toMatchObject({ equal: true });
    expect((await migration.target.query('SELECT * FROM t ORDER BY id')).rows).toEqual([
      { id: '1', a: 'x', p: '0', k: 'X' },
      { id: '3', a: 'xyz', p: '1', k: 'XYZ' },
    ]);
  });

  it('stays refused where it keeps out duplicates', async () => {
    const plan = await planOf(`CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, g AS (typeof(a)) UNIQUE)`, {
      ...REFUSE,
      generatedColumns: 'leave-out',
    });
    expect(brief(plan.blockers)).toEqual(['unique-index t']);
    expect(table(plan, 't').generated).toBeUndefined();
  });
});

it('computed from a -0 that goes back as 0 are the same', async () => {
  await create(`CREATE TABLE z (r REAL PRIMARY KEY, c AS (coalesce(r, NULL)) VIRTUAL, n AS (coalesce(r, 0.0)) STORED);
    INSERT INTO z (r) VALUES (0.5), (1.5)`);
  await migration.upToVerified();
  await migration.cutOver();
  await migration.target.query(`INSERT INTO z (r) VALUES ('-0')`);
  await migration.reverseCatchUp();
  expect(await differences(migration.app, migration.target, migration.plan)).toEqual([]);
  expect(
    await verifyDatabases({ ...migration.endpoints, mode: 'full', sampleRows: 10, signal: never }),
  ).toMatchObject({ equal: true });
});
