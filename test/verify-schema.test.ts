/** Verification of the schema: every object that a phase has made is missed when it is gone, and none before its phase. */
import { finishMigration } from '../src/engine/finish.ts';
import { verifyDatabases } from '../src/engine/verify.ts';
import type { Verdict } from '../src/contract.ts';
import { TestMigration } from './support/migration.ts';

const SCHEMA = `
  CREATE TABLE maker (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL DEFAULT 'it''s');
  CREATE TABLE part (
    "maker" INT NOT NULL REFERENCES maker (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    code TEXT NOT NULL, price REAL DEFAULT 0.5, on_sale BOOLEAN, at DATETIME DEFAULT CURRENT_TIMESTAMP,
    twice INT GENERATED ALWAYS AS (length(code) * 2) STORED,
    CHECK (price >= 0), PRIMARY KEY ("maker", code)
  );
  CREATE UNIQUE INDEX part_code ON part (code DESC) WHERE on_sale = 1;
  CREATE INDEX part_price ON part (price, lower(code));
  INSERT INTO maker (name) VALUES ('a'), ('b'), ('c');
  DELETE FROM maker WHERE name = 'c';
  INSERT INTO part (maker, code, at, on_sale) VALUES (1, 'x', '2024-01-01 00:00:00', 1), (2, 'y', '2024-01-01 00:00:00', 0);
`;

let migration: TestMigration;

beforeEach(async () => {
  migration = await TestMigration.create(SCHEMA);
});
afterEach(() => migration.dispose());

const verify = (): Promise<Verdict> =>
  verifyDatabases({ ...migration.endpoints, mode: 'full', sampleRows: 10 });

const EQUAL = { equal: true, schema: [], schemaCount: 0 };

it('misses nothing that is still to come, from the copy to the end', async () => {
  await migration.begin();
  await expect(verify()).rejects.toMatchObject({ code: 'NotCopied', retryable: true });
  await migration.copy();
  await migration.catchUp();
  expect(await verify()).toMatchObject(EQUAL);
  await migration.index();
  expect(await verify()).toMatchObject(EQUAL);
  await migration.verify();
  await migration.foreignKeys();
  expect(await verify()).toMatchObject(EQUAL);
  expect(await migration.cutOver()).toMatchObject({ outcome: 'moved' });
  // An id of the application's own choice, and the highest one taken away again.
  await migration.target.query(
    `INSERT INTO maker VALUES (50, 'd'), (60, 'e'); DELETE FROM maker WHERE id = 60`,
  );
  await migration.reverseCatchUp();
  expect(await verify()).toMatchObject(EQUAL);
  await finishMigration(migration.endpoints, migration.lease('reverse'), 'fenced');
  expect(await verify()).toMatchObject(EQUAL);
  const { rows } = await migration.target.query(
    `SELECT relname FROM pg_class WHERE relname LIKE '%planned%'`,
  );
  expect(rows).toEqual([]);
});

describe('where everything is built', () => {
  beforeEach(async () => {
    await migration.upToVerified();
    await migration.foreignKeys();
  });

  const rebuilt = (sql: string): string => `ALTER INDEX part_code RENAME TO before; CREATE ${sql}`;
  // Each a damage and what is told of it; those of one group do not meet.
  const groups: [string, [string, ...string[]][]][] = [
    [
      'columns and CHECKs',
      [
        [
          'ALTER TABLE part ALTER price TYPE real',
          'column "price" has type real instead of double precision',
          'index "part_price" has another direction, collation or operator class than ("price" NULLS FIRST, (lower("code")) NULLS FIRST)',
        ],
        ['ALTER TABLE maker ALTER name TYPE text', 'column "name" sorts by collation default instead of C'],
        ['ALTER TABLE maker ALTER name DROP NOT NULL', 'column "name" lacks NOT NULL'],
        ['ALTER TABLE part ALTER at SET NOT NULL', 'column "at" is NOT NULL, and was not in the source'],
        ['ALTER TABLE maker ALTER id DROP IDENTITY', 'column "id" is not numbered by the target'],
        [
          'ALTER TABLE maker ALTER name DROP DEFAULT',
          `column "name" has none as its default instead of 'it''s'::text`,
        ],
        ['ALTER TABLE part ALTER twice DROP EXPRESSION', 'column "twice" is not a generated column'],
        [
          'ALTER TABLE part DROP CONSTRAINT part_price_check',
          'CHECK ((price >= (0)::double precision)) is missing',
        ],
      ],
    ],
    [
      'a key and what an index holds',
      [
        [
          'ALTER TABLE part DROP CONSTRAINT part_pkey, ADD CONSTRAINT part_pkey PRIMARY KEY (code)',
          'primary key is over ("code") instead of ("maker", "code")',
        ],
        [
          rebuilt('INDEX part_code ON part (code)'),
          'unique index "part_code" is not unique',
          'unique index "part_code" has another direction, collation or operator class than ("code" DESC)',
          'unique index "part_code" holds all rows instead of (on_sale = true)',
        ],
        ['ALTER TABLE part DROP CONSTRAINT part_maker_fkey', 'foreign key "part_maker_fkey" is missing'],
        ['DROP INDEX part_price', 'index "part_price" is missing'],
      ],
    ],
    [
      'what is not valid',
      [
        ['ALTER TABLE part DROP CONSTRAINT part_pkey', 'primary key ("maker", "code") is missing'],
        [
          `UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'part_code'::regclass`,
          'unique index "part_code" is not valid',
        ],
        [
          rebuilt('INDEX part_price ON part (code)').replace('part_code', 'part_price'),
          'index "part_price" is over (code) instead of (price, lower(code))',
        ],
        [
          `ALTER TABLE part ALTER CONSTRAINT part_maker_fkey NOT DEFERRABLE;
           UPDATE pg_constraint SET convalidated = false WHERE conname = 'part_maker_fkey'`,
          'foreign key "part_maker_fkey" is another than planned: FOREIGN KEY (maker) REFERENCES maker(id) ON DELETE CASCADE NOT VALID',
          'foreign key "part_maker_fkey" is not validated',
        ],
      ],
    ],
  ];
  it.each(groups)('tells of %s', async (_, damages) => {
    for (const [sql] of damages) await migration.target.query(sql);
    const verdict = await verify();
    expect(verdict.schema.map(({ what }) => what).sort()).toEqual(
      damages.flatMap(([, ...whats]) => whats).sort(),
    );
    expect(verdict.equal).toBe(false);
    expect(verdict.tables.find(({ table }) => table === 'part')).toMatchObject({ equal: false });
  });

  it('tells of a table or column that is gone, and compares the others', async () => {
    await migration.target.query('ALTER TABLE maker DROP name; ');
    expect(await verify()).toMatchObject({
      equal: false,
      schema: [{ table: 'maker', what: 'column "name" is missing' }],
      tables: [
        { table: 'maker', rows: 0, equal: false },
        { table: 'part', rows: 2, equal: true },
      ],
    });
    await migration.target.query('DROP TABLE maker CASCADE');
    const { schema } = await verify();
    expect(schema.map(({ table, what }) => `${table}: ${what}`)).toEqual([
      'maker: the table is missing',
      'part: foreign key "part_maker_fkey" is missing',
    ]);
  });

  it('keeps the cutover back', async () => {
    await migration.target.query('DROP INDEX part_code');
    expect(await migration.cutOver()).toMatchObject({
      outcome: 'returned',
      reason: expect.stringContaining('unique index "part_code" is missing') as string,
    });
  });

  it('tells of a sequence that would give a number out twice', async () => {
    expect(await migration.cutOver()).toMatchObject({ outcome: 'moved' });
    await migration.target.query(`SELECT setval(pg_get_serial_sequence('maker', 'id'), 2)`);
    const { schema } = await verify();
    expect(schema).toEqual([
      { table: 'maker', what: 'the sequence of column "id" stands at 2, and the source had given out 3' },
    ]);
    await migration.target.query(`SELECT setval(pg_get_serial_sequence('maker', 'id'), 1)`);
    expect((await verify()).schema.map(({ what }) => what)).toContain(
      'the sequence of column "id" stands at 1, and id 2 is taken',
    );
  });
});
