/** jsonb on request: the JSON value is kept, compared as one, and the source's own text stays where it does not change. */
import pg from 'pg';
import { canonicalJson } from '../src/databases/json-value.ts';
import { TestMigration } from './support/migration.ts';
import { brief, column, planOf, REFUSE, seededRandom } from './support/plan.ts';
import { createTestDatabase, type TestDatabase } from './support/postgres.ts';
import { tamper } from './support/tamper.ts';

const JSONB = { t: { skip: false, columns: { meta: { type: 'jsonb' as const } } } };

describe('the canonical text', () => {
  let database: TestDatabase;
  let client: pg.Client;
  beforeAll(async () => {
    database = await createTestDatabase();
    client = new pg.Client({ connectionString: database.url });
    await client.connect();
  });
  afterAll(async () => {
    await client.end();
    await database.drop();
  });

  /** Does PostgreSQL take both for the same value? Null where it refuses one of them. */
  async function same(a: string, b: string): Promise<boolean | null> {
    try {
      const { rows } = await client.query<{ same: boolean }>('SELECT $1::jsonb = $2::jsonb AS same', [a, b]);
      return rows[0]!.same;
    } catch {
      return null;
    }
  }

  it.each([
    ['{"b": 1, "a": [2, {}]}', ' {"a":[2,{ }],\n"b":1.0 }'],
    ['{"a": 1, "a": 2}', '{"a": 2}'],
    ['1e2', '100'],
    ['-0', '0'],
    ['0.10', '1E-1'],
    ['12345678901234567890.5', '12345678901234567890.50'],
    ['"\\u00e9\\n\\/"', '"é\\n/"'],
    ['"\\ud83d\\ude00"', '"😀"'],
    ['[]', '{}'],
    ['1', '"1"'],
    ['9007199254740993', '9007199254740992'],
    ['{"a": null}', '{}'],
    ['[1, 2]', '[2, 1]'],
    ['"\\u0000"', '""'],
    ['"\\ud83d"', '""'],
    ['1e200000', '1'],
    ['1e-20000', '1'],
    ['01', '1'],
    ['.5', '0.5'],
    ['{"a":1,}', '{"a":1}'],
    ['"a\tb"', '"a\\tb"'],
    ["{'a':1}", '{}'],
    ['NaN', 'null'],
    ['', 'null'],
    ['[1', '[1]'],
    ['1 2', '1'],
    ['\u00a01', '1'],
  ])('%j and %j: as PostgreSQL says', async (a, b) => {
    const [left, right] = [canonicalJson(a), canonicalJson(b)];
    expect(left === null || right === null ? null : left === right).toBe(await same(a, b));
  });

  it('agrees with PostgreSQL on random documents', async () => {
    const { seed, below, pick } = seededRandom();
    const document = (depth: number): string => {
      const space = pick(['', ' ', '\n']);
      const atoms = ['1', '1.0', '10e-1', '-0', '0', 'true', 'null', '"a"', '"\\u0061"', '"\\\\"', '""'];
      const inner = (): string => document(depth - 1);
      const items = depth === 0 ? 0 : below(3);
      const names = ['"a"', '"b"', '"\\u0062"', '"aa"'];
      const kinds = [
        () => pick(atoms),
        () => `[${Array.from({ length: items }, inner).join(`${space},`)}]`,
        () => `{${Array.from({ length: items }, () => `${pick(names)}${space}:${inner()}`).join(',')}}`,
      ];
      return `${space}${kinds[below(depth === 0 ? 1 : 3)]!()}${space}`;
    };
    const pairs = Array.from({ length: 400 }, () => [document(2), document(2)] as const);
    const { rows } = await client.query<{ same: boolean; text: string }>(
      'SELECT a::jsonb = b::jsonb AS same, a::jsonb::text AS text FROM unnest($1::text[], $2::text[]) AS pair (a, b)',
      [pairs.map(([a]) => a), pairs.map(([, b]) => b)],
    );
    pairs.forEach(([a, b], i) => {
      const told = {
        seed,
        a,
        b,
        same: canonicalJson(a) === canonicalJson(b),
        text: canonicalJson(rows[i]!.text),
      };
      expect(told).toEqual({ seed, a, b, same: rows[i]!.same, text: canonicalJson(a) });
    });
  });
});

describe('a column that is asked to be jsonb', () => {
  it('says what that means', async () => {
    const sql = `CREATE TABLE t (id INTEGER PRIMARY KEY, meta TEXT NOT NULL DEFAULT '{"a": 1}'); INSERT INTO t (id) VALUES (1)`;
    const plan = await planOf(sql, REFUSE, JSONB);
    expect(brief(plan.blockers)).toEqual([]);
    expect(brief(plan.notices)).toEqual(['jsonb t.meta']);
    expect(plan.notices[0]!.message).toContain('order of names');
    expect(column(plan, 't', 'meta').defaultSql).toBe(`'{"a": 1}'::jsonb`);
  });

  it('is refused where a value is no JSON, or none that jsonb holds', async () => {
    const sql = `CREATE TABLE t (id INTEGER PRIMARY KEY, meta TEXT);
      INSERT INTO t (meta) VALUES ('{}'), ('{a}'), ('"\\u0000"'), (CAST(x'22ff22' AS TEXT)), (NULL)`;
    const plan = await planOf(sql, REFUSE, JSONB);
    expect(brief(plan.blockers)).toEqual(['override t.meta 3']);
    expect(plan.blockers[0]!.keys).toEqual(['2', '3', '4']);
  });

  it('moves, is verified as JSON, and comes back', async () => {
    const texts = [
      '{"b": 1,  "a": 2}',
      '{"a":1,"a":2}',
      '[1.0, 1e2, "\\u00e9"]',
      '"x\ty"'.replace('\t', '\\t'),
      ' null ',
    ];
    const migration = await TestMigration.create('CREATE TABLE t (id INTEGER PRIMARY KEY, n INT, meta TEXT)');
    const { app, target } = migration;
    const sourceTexts = (): unknown[] => app.prepare('SELECT meta FROM t ORDER BY id').pluck().all();
    try {
      const insert = app.prepare('INSERT INTO t (n, meta) VALUES (0, ?)');
      for (const text of texts) insert.run(text);
      await migration.begin(REFUSE, undefined, JSONB);
      await migration.copy();
      await migration.catchUp();
      await migration.index();
      expect((await migration.verify()).equal).toBe(true);

      // Not JSON: set aside by its key until it is.
      insert.run('{a}');
      await migration.catchUp();
      expect((await target.query('SELECT key FROM crossfade.quarantine')).rows).toEqual([{ key: '["i:6"]' }]);
      app.exec(`UPDATE t SET meta = '{}' WHERE id = 6`);
      await migration.catchUp();
      expect((await target.query('SELECT key FROM crossfade.quarantine')).rows).toEqual([]);

      // Another value is a difference, in both ways of looking.
      await tamper(target, ['t'], `UPDATE t SET meta = '{"a": 3, "b": 1}' WHERE id = 1`);
      const wrong = await migration.verify();
      expect(wrong.mismatches).toMatchObject([{ table: 't', key: '1', column: 'meta', kind: 'different' }]);
      await tamper(target, ['t'], `UPDATE t SET meta = '{"a": 2, "b": 1.0}' WHERE id = 1`);
      expect((await migration.verify()).equal).toBe(true);

      await migration.cutOver();
      await target.query(`UPDATE t SET n = n + 1; UPDATE t SET meta = '{"new":true,"a":[1]}' WHERE id = 2`);
      await migration.reverseCatchUp();
      const [, , ...others] = texts;
      expect(sourceTexts()).toEqual([texts[0], '{"a": [1], "new": true}', ...others, '{}']);
      expect((await migration.verify()).equal).toBe(true);
    } finally {
      await migration.dispose();
    }
  });
});
