/** Overrides: the operator's choice of types, checked against the data, and tables that stay behind. */
import type { Overrides } from '../src/contract.ts';
import { parseMigrationInput } from '../src/input.ts';
import { TestMigration } from './support/migration.ts';
import { brief, column, planOf, REFUSE } from './support/plan.ts';
import { differences } from './support/same.ts';

/** As an operator writes them. */
function overrides(raw: unknown): Overrides {
  return parseMigrationInput({ overrides: raw }).overrides;
}

function types(columns: Record<string, string>): unknown {
  return { columns: Object.fromEntries(Object.entries(columns).map(([name, type]) => [name, { type }])) };
}

const USERS = `CREATE TABLE Users (id INTEGER PRIMARY KEY, flag INTEGER, at TEXT, born TEXT, meta TEXT, n DECIMAL(10,2), free, seen TEXT);
  INSERT INTO Users VALUES (1, 0, '2024-01-31 12:34:56', '2024-02-29', '{"a": 1}', 5, 1, '2024-01-31T12:34:56.789Z'),
    (2, 1, '0001-01-01 00:00:00', '0001-01-01', '[]', 2.5, 2, '0001-01-01T00:00:00.000Z'), (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL)`;

describe('a type of the operator’s choice', () => {
  const asked = overrides({
    USERS: types({
      flag: 'boolean',
      AT: 'timestamp',
      born: 'date',
      meta: 'json',
      n: 'double precision',
      free: 'varchar',
      seen: 'timestamptz',
    }),
  });

  it('is taken where every value fits, by names in any case', async () => {
    const plan = await planOf(USERS, REFUSE, asked);
    expect(brief(plan.blockers)).toEqual([]);
    const got = Object.fromEntries(plan.tables[0]!.columns.map((c) => [c.name, c.targetType]));
    expect(got).toEqual({
      id: 'bigint',
      flag: 'boolean',
      at: 'timestamp',
      born: 'date',
      meta: 'json',
      n: 'double precision',
      free: 'varchar',
      seen: 'timestamptz',
    });
    expect(column(plan, 'Users', 'flag').why).toContain('as overrides ask');
  });

  it('carries every value over, and back', async () => {
    const migration = await TestMigration.create(USERS);
    try {
      await migration.begin(REFUSE, undefined, asked);
      await migration.copy();
      migration.app.exec(`UPDATE Users SET flag = 1 - flag, at = '9999-12-31 23:59:59'`);
      await migration.catchUp();
      await migration.index();
      expect((await migration.verify()).equal).toBe(true);
      expect(await differences(migration.app, migration.target, migration.plan)).toEqual([]);
      await migration.cutOver();
      await migration.target.query(
        `UPDATE "Users" SET flag = true, meta = '{"b":  2}', seen = '2024-06-01 00:00:00+02' WHERE id = 3`,
      );
      await migration.reverseCatchUp();
      const row = migration.app
        .prepare('SELECT flag, typeof(flag) AS class, meta, seen FROM Users WHERE id = 3')
        .get();
      expect(row).toEqual({ flag: 1, class: 'integer', meta: '{"b":  2}', seen: '2024-05-31T22:00:00.000Z' });
      expect(await differences(migration.app, migration.target, migration.plan)).toEqual([]);
    } finally {
      await migration.dispose();
    }
  });

  it.each([
    ['flag', 'boolean', 'flag INTEGER', '0, 1, 2, NULL', 1, /what fits is bigint \(holds only integers/],
    [
      'at',
      'timestamp',
      'at TEXT',
      `'2024-01-31 12:34:56', '2024-01-31T12:34:56Z', '2024-02-30 00:00:00'`,
      2,
      /is text/,
    ],
    ['at', 'date', 'at DATETIME', `'2024-01-31', 1700000000`, 1, /is varchar/],
    [
      'a',
      'timestamptz',
      'a TEXT',
      `'2024-01-31T12:34:56.789Z', '2024-01-31T12:34:56Z', '2024-02-30T00:00:00.000Z'`,
      2,
      /is text/,
    ],
    ['a', 'json', 'a TEXT', `'{}', '{a}', ''`, 2, /is text/],
    ['a', 'bigint', 'a NUMERIC', '1, 2.5', 1, /is numeric/],
    ['a', 'text', 'a', `'x', x'00', 'a' || char(0)`, 2, /is varchar/],
    ['a', 'bytea', 'a BLOB', `x'00', 'x'`, 1, /is varchar/],
    ['a', 'double precision', 'a NUMERIC', '1, 0.1, 9007199254740993', 1, /is numeric/],
    ['a', 'numeric', 'a NUMERIC', '1, 0.1, 0.30000000000000004', 1, /is double precision/],
  ])('%s as %s is refused where values do not fit: %s', async (name, type, declared, values, count, fits) => {
    const rows = values.split(/,(?![^(]*\))/).map((value) => `(${value})`);
    const plan = await planOf(
      `CREATE TABLE t (id INTEGER PRIMARY KEY, ${declared}); INSERT INTO t (${name}) VALUES ${rows.join(', ')}`,
      REFUSE,
      overrides({ t: types({ [name]: type }) }),
    );
    expect(brief(plan.blockers)).toEqual([`override t.${name} ${count}`]);
    expect(plan.blockers[0]!.message).toMatch(fits);
    expect(plan.blockers[0]!.keys).toHaveLength(count);
    expect(plan.blockers[0]!.message).toContain(`overrides ask for ${type}, and ${count} of its`);
  });

  it.each([
    ['id INTEGER PRIMARY KEY', 'id', 'text', 'it is the row number'],
    ['id INTEGER PRIMARY KEY, a JSON UNIQUE', 'a', 'json', 'part of a key'],
    ['id INTEGER PRIMARY KEY, a TEXT', 'a', 'bigint', 'affinity TEXT'],
    ['id INTEGER PRIMARY KEY, a REAL', 'a', 'boolean', 'affinity REAL'],
    ['id INTEGER PRIMARY KEY, a', 'a', 'numeric', 'affinity BLOB'],
  ])('(%s): %s as %s is never possible', async (columns, name, type, why) => {
    const plan = await planOf(
      `CREATE TABLE t (${columns})`,
      REFUSE,
      overrides({ t: types({ [name]: type }) }),
    );
    expect(brief(plan.blockers)).toEqual([`override t.${name}`]);
    expect(plan.blockers[0]!.message).toContain(why);
  });

  it('a STRICT table admits only what SQLite itself would take', async () => {
    const asks = overrides({ t: types({ a: 'text', b: 'boolean' }) });
    const plan = await planOf('CREATE TABLE t (id INTEGER PRIMARY KEY, a INT, b INT) STRICT', REFUSE, asks);
    expect(brief(plan.blockers)).toEqual(['override t.a']);
    expect(plan.blockers[0]!.message).toContain('STRICT');
  });

  it('holds against the other side of a foreign key', async () => {
    const sql = `CREATE TABLE p (k TEXT PRIMARY KEY); CREATE TABLE c (id INTEGER PRIMARY KEY, k TEXT REFERENCES p);
      INSERT INTO p VALUES ('2024-01-01'); INSERT INTO c VALUES (1, '2024-01-01')`;
    const one = await planOf(sql, REFUSE, overrides({ c: types({ k: 'date' }) }));
    expect(brief(one.blockers)).toEqual(['key-type-mismatch c.k']);
    expect(one.blockers[0]!.message).toContain('choose one type for both in overrides');
    const both = await planOf(sql, REFUSE, overrides({ c: types({ k: 'date' }), p: types({ k: 'date' }) }));
    expect(brief(both.blockers)).toEqual([]);
    expect(column(both, 'p', 'k').kind).toBe('date');
  });
});

describe('a table that stays behind', () => {
  const sql = `CREATE TABLE Old (id INTEGER PRIMARY KEY); CREATE TABLE kept (id INTEGER PRIMARY KEY, old REFERENCES Old);
    CREATE TRIGGER t AFTER INSERT ON Old BEGIN SELECT 1; END; CREATE VIRTUAL TABLE f USING fts5 (body)`;

  it('is named, and so are the foreign keys to it', async () => {
    const plan = await planOf(sql, REFUSE, overrides({ old: { skip: true }, F: { skip: true } }));
    expect(brief(plan.blockers)).toEqual([]);
    expect(brief(plan.notices)).toEqual([
      'table-skipped Old',
      'table-skipped f',
      'foreign-key-left-out kept',
    ]);
    expect(plan.tables.map(({ name }) => name)).toEqual(['kept']);
    expect(plan.tables[0]!.foreignKeys).toEqual([]);
  });

  it('goes on being written', async () => {
    const migration = await TestMigration.create(`${sql}; INSERT INTO kept VALUES (1, NULL)`);
    try {
      await migration.begin(REFUSE, undefined, overrides({ old: { skip: true }, f: { skip: true } }));
      await migration.copy();
      await migration.catchUp();
      await migration.index();
      await migration.verify();
      await migration.cutOver();
      migration.app.exec('INSERT INTO Old VALUES (7)');
      expect(() => migration.app.exec('INSERT INTO kept VALUES (2, 7)')).toThrow('fenced');
    } finally {
      await migration.dispose();
    }
  });
});

describe('overrides that are wrong', () => {
  it.each([
    [{ Usrs: {} }, 'overrides name a table "Usrs" that the source does not have: is "Users" meant?'],
    [{ 'no such thing': {} }, 'it has Users, f'],
    [
      { users: types({ flags: 'boolean' }) },
      'a column "flags" that table "Users" does not have: is "flag" meant?',
    ],
    [{ users: types({ g: 'text' }) }, 'is generated'],
    [{ f: types({ body: 'text' }) }, 'only "skip" has a meaning there'],
  ])('%j: an error that names it', async (raw, message) => {
    const sql = `CREATE TABLE Users (id INTEGER PRIMARY KEY, flag INTEGER, g TEXT AS ('x')); CREATE VIRTUAL TABLE f USING fts5 (body)`;
    const plan = planOf(sql, REFUSE, overrides(raw));
    await expect(plan).rejects.toMatchObject({ code: 'InvalidInput', exit: 2 });
    await expect(plan).rejects.toThrow(message);
  });

  it.each<[unknown, string]>([
    [[], 'input field "overrides" is an empty list: it must be one JSON object with a field per table'],
    [{ t: 5 }, 'input field "overrides.t" is 5: it must be one JSON object'],
    [{ t: { skip: 1 } }, 'input field "overrides.t.skip" is 1: it must be true or false'],
    [{ t: { colums: {} } }, 'unknown field "overrides.t.colums": is "columns" meant?'],
    [{ t: { columns: { a: 'text' } } }, 'input field "overrides.t.columns.a" is the text "text"'],
    [
      { t: { columns: { a: {} } } },
      'input field "overrides.t.columns.a.type" is undefined: it must be "bigint" or',
    ],
    [{ t: types({ a: 'int4' }) }, 'input field "overrides.t.columns.a.type" is the text "int4"'],
  ])('%j is no input', (raw, message) => {
    expect(() => overrides(raw)).toThrow(message);
  });
});
