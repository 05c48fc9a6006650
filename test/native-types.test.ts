/** Types that applications on PostgreSQL expect and the plan does not choose by itself: integer, uuid, timestamptz(3). */
import { instantMs, instantSql, instantText, FIRST_INSTANT, LAST_INSTANT } from '../src/databases/instant.ts';
import { momentText } from '../src/databases/moment.ts';
import Database from 'better-sqlite3';
import { PostgresAdapter } from '../src/router/adapters/postgres.ts';
import { TestMigration } from './support/migration.ts';
import { brief, column, planOf, REFUSE, seededRandom } from './support/plan.ts';
import { differences } from './support/same.ts';
import { tamper } from './support/tamper.ts';

type Type = 'integer' | 'uuid' | 'timestamptz(3)';
const types = (columns: Record<string, Type>) => ({
  skip: false,
  columns: Object.fromEntries(Object.entries(columns).map(([name, type]) => [name, { type }])),
});

const [A, B, C] = ['a', 'b', 'c'].map((digit) => digit.repeat(8) + '-0000-4000-8000-' + digit.repeat(12));

const SCHEMA = `
  CREATE TABLE users (id CHAR(36) PRIMARY KEY, n INTEGER NOT NULL DEFAULT -5, seen DATETIME, made DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CHECK (id <> '00000000-0000-0000-0000-000000000000'), CHECK (n * 3 < 7000000000));
  CREATE UNIQUE INDEX users_seen ON users (seen DESC);
  CREATE TABLE posts (id INTEGER PRIMARY KEY AUTOINCREMENT, author UUID REFERENCES users (id), at DATETIME);
  INSERT INTO users VALUES ('${A}', 2147483647, ${FIRST_INSTANT}, 0), ('${B}', -2147483648, ${LAST_INSTANT}, 1795597488566), ('${C}', 0, NULL, -1);
  INSERT INTO posts (author, at) VALUES ('${A}', 1700000000000), ('${B}', 1700000000500), (NULL, 1700000000050)`;
const OVERRIDES = {
  users: types({ id: 'uuid', n: 'integer', seen: 'timestamptz(3)', made: 'timestamptz(3)' }),
  posts: types({ id: 'integer', author: 'uuid', at: 'timestamptz(3)' }),
};

describe('milliseconds as timestamptz(3)', () => {
  const db = new Database(':memory:');
  afterAll(() => db.close());

  it('are written alike by SQLite and JavaScript, and read back', () => {
    const { seed, below } = seededRandom();
    const sql = db.prepare(`SELECT ${instantSql('ms')} FROM (SELECT ? AS ms)`).pluck();
    const span = Number(LAST_INSTANT - FIRST_INSTANT);
    for (let i = 0; i < 2_000; i++) {
      const ms =
        i === 0
          ? FIRST_INSTANT
          : i === 1
            ? LAST_INSTANT
            : FIRST_INSTANT + BigInt(Math.floor((below(2 ** 31) / 2 ** 31) * span));
      const text = instantText(ms)!;
      expect({ seed, ms, text: sql.get(ms) }).toEqual({ seed, ms, text });
      expect({ seed, back: instantMs(text) }).toEqual({ seed, back: ms });
    }
  });

  it.each([
    ['2024-01-31 12:00:00+00', 1706702400000n],
    ['2024-01-31 12:00:00.5+00', 1706702400500n],
    ['2024-01-31 17:30:00.05+05:30', 1706702400050n],
    ['1890-01-01 00:53:28+00:53:28', -2524521600000n],
    ['2024-01-31 09:00:00-03', 1706702400000n],
    ['2024-01-31 12:00:00.500001+00', null],
    ['0001-12-31 20:29:17-03:30:43 BC', FIRST_INSTANT],
    ['10000-01-01 05:29:59.999+05:30', LAST_INSTANT],
    ['infinity', null],
    ['0044-03-15 00:00:00+00 BC', null],
  ])('%s is %s', (text, ms) => {
    expect(instantMs(text)).toBe(ms);
    if (ms !== null) expect(momentText('timestamptz', text)).toBe(new Date(Number(ms)).toISOString());
  });
});

describe('native types of the operator’s choice', () => {
  it('carry every value over, keys included, under writes, and back', async () => {
    const migration = await TestMigration.create(SCHEMA);
    try {
      await migration.begin(REFUSE, undefined, OVERRIDES);
      const got = migration.plan.tables.flatMap((t) =>
        t.columns.map((c) => `${t.name}.${c.name} ${c.targetType}`),
      );
      expect(got).toEqual([
        'posts.id integer',
        'posts.author uuid',
        'posts.at timestamptz(3)',
        'users.id uuid',
        'users.n integer',
        'users.seen timestamptz(3)',
        'users.made timestamptz(3)',
      ]);
      expect(brief(migration.plan.notices)).toEqual(['default-of-other-class users.made']);
      await migration.copy();
      migration.app.exec(`UPDATE users SET seen = -62135596799999 WHERE id = '${C}';
        DELETE FROM posts WHERE id = 3; INSERT INTO posts (author, at) VALUES ('${C}', 1)`);
      await migration.catchUp();
      await migration.index();
      expect(await migration.foreignKeys()).toBe(true);
      expect((await migration.verify()).equal).toBe(true);
      expect((await migration.verify('sample')).equal).toBe(true);
      expect(await differences(migration.app, migration.target, migration.plan)).toEqual([]);
      await tamper(
        migration.target,
        ['users'],
        `UPDATE users SET seen = seen + interval '2 ms' WHERE id = '${A}'`,
      );
      expect((await migration.verify()).mismatches).toMatchObject([{ table: 'users', column: 'seen' }]);
      await tamper(
        migration.target,
        ['users'],
        `UPDATE users SET seen = seen - interval '2 ms' WHERE id = '${A}'`,
      );

      await migration.cutOver();
      // An application's session may have any time zone, in which the log's keys are written.
      await migration.target.query(`SET TimeZone = 'Asia/Kolkata'`);
      await migration.target
        .query(`INSERT INTO users (id, seen) VALUES ('DDDDDDDD00004000800000000000000D', '2024-01-31 12:00:00.0004+00');
        INSERT INTO posts (author, at) VALUES ('${A}', now()); DELETE FROM users WHERE id = '${C}' AND FALSE;
        UPDATE users SET id = 'eeeeeeee-0000-4000-8000-eeeeeeeeeeee' WHERE id = '${B}' AND NOT EXISTS (SELECT FROM posts WHERE author = '${B}')`);
      await migration.reverseCatchUp();
      expect(await differences(migration.app, migration.target, migration.plan)).toEqual([]);
      const row = migration.app
        .prepare(`SELECT seen, typeof(made) AS made, n FROM users WHERE id LIKE 'dddd%'`)
        .get();
      expect(row).toEqual({ seen: 1706702400000, made: 'integer', n: -5 });
      await expect(migration.target.query(`UPDATE users SET seen = 'infinity'`)).rejects.toThrow(
        /crossfade_seen/,
      );
    } finally {
      await migration.dispose();
    }
  });

  it('give DatabaseConnection the values of the source', async () => {
    const migration = await TestMigration.create(SCHEMA);
    const adapter = new PostgresAdapter(migration.endpoints.targetUrl);
    try {
      await migration.begin(REFUSE, undefined, OVERRIDES);
      await migration.copy();
      for (const sql of ['SELECT * FROM users ORDER BY id', 'SELECT * FROM posts ORDER BY id']) {
        expect(await adapter.query(sql)).toEqual(migration.app.prepare(sql).all());
      }
      // What no migrated column holds stays as PostgreSQL writes it.
      await migration.target.query(
        `CREATE TABLE later (at timestamptz); INSERT INTO later VALUES ('infinity')`,
      );
      expect(await adapter.query('SELECT at FROM later')).toEqual([{ at: 'infinity' }]);
    } finally {
      await adapter.close();
      await migration.dispose();
    }
  });

  it.each<[string, Type, string, string]>([
    ['INTEGER', 'integer', '2147483648, 1, 1.5', 'override t.c 2'],
    ['TEXT', 'integer', `'1'`, 'override t.c'],
    [
      'DATETIME',
      'timestamptz(3)',
      `1700000000000, '2024-01-31 12:00:00', ${LAST_INSTANT + 1n}`,
      'override t.c 2',
    ],
    ['TEXT', 'uuid', `'${A}', upper('${B}'), '${C}' || char(10), x'00'`, 'override t.c 3'],
  ])('%s is refused as %s where values do not fit', async (declared, type, values, finding) => {
    const rows = values.split(/, (?=[^)]*(?:\(|$))/).map((value) => `INSERT INTO t (c) VALUES (${value});`);
    const plan = await planOf(
      `CREATE TABLE t (id INTEGER PRIMARY KEY, c ${declared}); ${rows.join('')}`,
      REFUSE,
      {
        t: types({ c: type }),
      },
    );
    expect(brief(plan.blockers)).toEqual([finding]);
  });

  it('set aside by key what comes later and does not fit', async () => {
    const migration = await TestMigration.create(SCHEMA);
    try {
      await migration.begin(REFUSE, undefined, OVERRIDES);
      await migration.copy();
      migration.app
        .exec(`INSERT INTO users (id) VALUES ('00000000-0000-4000-8000-000000000001'); UPDATE posts SET at = '2024-01-31 12:00:00' WHERE id = 1;
        INSERT INTO users VALUES ('not a uuid', 1, NULL, 1)`);
      await migration.catchUp();
      const { rows } = await migration.target.query(
        'SELECT table_id, key FROM crossfade.quarantine ORDER BY 1, 2',
      );
      expect(rows).toEqual([
        { table_id: 1, key: '["i:1"]' },
        { table_id: 2, key: '["t:00000000-0000-4000-8000-000000000001"]' },
        { table_id: 2, key: '["t:not a uuid"]' },
      ]);
    } finally {
      await migration.dispose();
    }
  });

  it('keep CHECKs and defaults', async () => {
    const plan = await planOf(SCHEMA, REFUSE, OVERRIDES);
    expect(plan.tables[1]!.checks).toHaveLength(2);
    expect(column(plan, 'users', 'n').defaultSql).toBe('-5');
    expect(column(plan, 'users', 'made').defaultSql).toBe('statement_timestamp()');
  });
});
