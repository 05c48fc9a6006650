import type { Finding } from '../src/contract.ts';
import { renderPlan } from '../src/cli/view/plan.ts';
import { summarise } from '../src/engine/plan-summary.ts';
import { planOf, REFUSE } from './support/plan.ts';

/** One of everything that a schema can have. */
const EVERYTHING = `
  CREATE TABLE parent (id INTEGER PRIMARY KEY AUTOINCREMENT, code TEXT COLLATE NOCASE UNIQUE, name VARCHAR(3) CHECK (length(name) < 99));
  CREATE TABLE child (a INT, b TEXT NOT NULL DEFAULT 'none', at DATETIME DEFAULT CURRENT_TIMESTAMP, odd DEFAULT (changes()),
    parent INT CONSTRAINT of_parent REFERENCES parent ON DELETE CASCADE, lost INT CONSTRAINT of_nothing REFERENCES gone (id),
    up TEXT AS (upper(b)) STORED, twice INT AS (a * 2), strange AS (a LIKE 'x%'),
    price DECIMAL(5,2) CHECK (price GLOB '1*'), trimmed TEXT COLLATE RTRIM, PRIMARY KEY (a, b) ON CONFLICT REPLACE) WITHOUT ROWID;
  CREATE TABLE keyless (x BLOB, y ANY) STRICT;
  CREATE INDEX plain_index ON child (b DESC); CREATE UNIQUE INDEX unique_index ON child (at, b); CREATE INDEX partial_index ON child (b) WHERE a > 5;
  CREATE INDEX expression_index ON child (lower(b)); CREATE INDEX folded_index ON child (b COLLATE NOCASE);
  CREATE INDEX strange_index ON child (typeof(b)); CREATE INDEX strange_partial ON child (b) WHERE typeof(b) = 'text'; CREATE INDEX trimmed_index ON child (trimmed);
  CREATE VIEW shown AS SELECT a FROM child; CREATE VIEW broken AS SELECT lost FROM nowhere;
  CREATE TRIGGER after_insert AFTER INSERT ON child BEGIN SELECT 1; END;
  CREATE TRIGGER instead_of INSTEAD OF INSERT ON shown BEGIN SELECT 1; END;
  CREATE VIRTUAL TABLE words USING fts5 (body);
  INSERT INTO parent (code, name) VALUES ('x', 'too long')`;

const EVERY_PART = [
  ...['parent (1 row, key id)', 'child (0 rows, key a, b)', 'keyless (0 rows', '_crossfade_rowid'],
  ...['identity', 'COLLATE NOCASE', `check (length("name")`, 'declared VARCHAR(3)'],
  ...[
    `DEFAULT 'none'`,
    'its default changes()',
    'foreign key of_parent (parent) → parent (id) ON DELETE CASCADE',
    'foreign key (lost)',
  ],
  ...[
    'generated (stored) as (upper(b))',
    'generated (virtual) as (a * 2)',
    '"strange"',
    `CHECK (price GLOB '1*')`,
    'COLLATE RTRIM',
  ],
  ...[
    'ON CONFLICT REPLACE',
    '"plain_index"',
    '"unique_index"',
    '"partial_index"',
    '"expression_index"',
    '"folded_index"',
  ].map((name) => name.replaceAll('"', '')),
  ...[
    '"strange_index"',
    '"strange_partial"',
    '"trimmed_index"',
    '\n  shown\n',
    '"broken"',
    '"after_insert"',
    '"instead_of"',
  ],
  ...['"words"', '"words_content"', '"words_idx"', 'unique index parent_code_key'],
];

describe('the plan as text', () => {
  it('shows every table, column, index, key and finding on a line of its own', async () => {
    const plan = await planOf(`
      CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, email TEXT NOT NULL UNIQUE, active BOOLEAN NOT NULL DEFAULT 1);
      CREATE TABLE posts (id INTEGER PRIMARY KEY, author INT REFERENCES users ON DELETE CASCADE, body TEXT);
      CREATE INDEX by_author ON posts (author DESC) WHERE author > 0;
      CREATE TABLE log (line DEFAULT (changes()) NOT NULL); CREATE VIEW v AS SELECT 1;
      INSERT INTO users VALUES (1, 'a@b', 1); INSERT INTO posts VALUES (1, 1, 'x'), (2, NULL, NULL)`);
    expect(renderPlan({ ...plan, censusMs: 4_000 }, { width: 120 }))
      .toBe(`3 tables, 3 rows, ${(plan.sourceBytes / 1000).toFixed(1)} kB, 1 blocker, 1 notice
Expected: 16 s to copy, index and verify, estimated as 4 times what this census took; then the stages of the reads, and
the soak.

log (0 rows, key rowid)
  line                      text NOT NULL    no values yet; no declared type
  rowid → _crossfade_rowid  bigint identity  the row number, because no column tells rows apart; numbered by the target

posts (2 rows, key id)
  id      bigint identity  holds only integers (2 values); declared INTEGER; numbered by the target; from 1 to 2
  author  bigint           holds only integers (1 value); declared INT; 1 NULL; from 1 to 1
  body    text             holds only text (1 value); declared TEXT; 1 NULL; longest 1 B
  index by_author ("author" DESC NULLS LAST) WHERE ("author" > 0)
  foreign key posts_author_fkey (author) → users (id) ON DELETE CASCADE

users (1 row, key id)
  id      bigint identity                holds only integers (1 value); declared INTEGER; numbered by the target; from 1
                                         to 1
  email   text NOT NULL                  holds only text (1 value); declared TEXT; longest 3 B
  active  boolean NOT NULL DEFAULT true  holds only 0 and 1 (1 value); declared BOOLEAN
  unique index users_email_key ("email")

Views, tried after the copy, and kept if they return the same rows
  v

Notices (1)
  no-key: table "log" has no primary key and no unique index over NOT NULL columns: its rows are told apart by
      SQLite's row numbers, which the column "_crossfade_rowid" holds on the target; DatabaseConnection leaves it out of
      results, and after a VACUUM the table is copied again

Blockers (1)
  default-not-null: column "log"."line": its default changes() has no certain form as text, and the column is NOT
      NULL, so inserts that leave it out would fail: let the application write "line" itself and take the default out of
      the schema, or set policies.defaults to "leave-out"

This migration is refused: 1 blocker.
`);
  });

  it('fits a terminal of 80 and of 120 cells', async () => {
    const plan = await planOf(EVERYTHING);
    for (const width of [80, 120]) {
      for (const line of renderPlan(plan, { width, all: true }).split('\n'))
        expect([...line].length).toBeLessThanOrEqual(width);
    }
  });

  it('has a line for every object of the schema, by name', async () => {
    const plan = await planOf(EVERYTHING);
    const text = renderPlan(plan, { width: 10_000, all: true });
    for (const part of EVERY_PART) expect(text).toContain(part);
  });

  it('tells of 500 tables in a line each, and in full of one that is asked for or refused', async () => {
    const plan = await planOf(
      `${Array.from({ length: 500 }, (_, i) => `CREATE TABLE t${i} (x TEXT);`).join(' ')} CREATE TABLE bad (a TEXT, b TEXT, PRIMARY KEY (a, b));
       INSERT INTO bad VALUES (NULL, NULL)`,
      { ...REFUSE, keys: 'refuse' } as typeof REFUSE,
    );
    const lines = (view: { all?: boolean; table?: string } = {}): string[] =>
      renderPlan(plan, { width: 80, ...view }).split('\n');
    const brief = lines();
    expect(brief.length).toBeLessThan(560);
    expect(brief).toContain('  no-key: … and 495 more; --all shows them');
    for (let i = 0; i < 500; i++) expect(brief.filter((line) => line.startsWith(`t${i} `))).toHaveLength(1);
    expect(brief.join('\n')).toMatch(/\nbad \(1 row, key a, b\)\n/);
    expect(lines({ all: true }).filter((line) => line.includes('no-key: table')).length).toBe(500);
    expect(lines({ table: 'T7' }).join('\n')).toContain('t7 (0 rows, key rowid)');
    expect(lines({ table: 'T7' }).length).toBeLessThan(20);
  });

  it('ends well where nothing stands against it', async () => {
    const plan = await planOf('CREATE TABLE t (id INTEGER PRIMARY KEY)');
    expect(renderPlan(plan, { width: 80 })).toMatch(/\nNothing stands against this migration\.\n$/);
  });

  it('is summarised by counts and the first ten findings', async () => {
    const plan = await planOf('CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1), (2)');
    const findings: Finding[] = Array.from({ length: 25 }, (_, i) => ({
      code: 'x',
      message: `finding ${i}`,
    }));
    const summary = summarise({ ...plan, blockers: findings, notices: findings.slice(0, 3) });
    expect(summary).toEqual({
      tables: 1,
      rows: 2,
      bytes: plan.sourceBytes,
      blockers: findings.slice(0, 10),
      notices: findings.slice(0, 3),
      blockerCount: 25,
      noticeCount: 3,
    });
  });
});
