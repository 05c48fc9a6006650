import type { Finding } from '../src/contract.ts';
import { renderPlan, summarise } from '../src/engine/plan-text.ts';
import { planOf } from './support/plan.ts';

describe('the plan as text', () => {
  it('shows every table, column, index, key and finding on a line of its own', async () => {
    const plan = await planOf(`
      CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, email TEXT NOT NULL UNIQUE, active BOOLEAN NOT NULL DEFAULT 1);
      CREATE TABLE posts (id INTEGER PRIMARY KEY, author INT REFERENCES users ON DELETE CASCADE, body TEXT);
      CREATE INDEX by_author ON posts (author DESC) WHERE author > 0;
      CREATE TABLE log (line DEFAULT (changes()) NOT NULL); CREATE VIEW v AS SELECT 1;
      INSERT INTO users VALUES (1, 'a@b', 1); INSERT INTO posts VALUES (1, 1, 'x'), (2, NULL, NULL)`);
    expect(renderPlan(plan)).toBe(`3 tables, 3 rows, ${(plan.sourceBytes / 1000).toFixed(1)} kB

log  (0 rows, key rowid)
  line                      text NOT NULL    no values yet; no declared type
  rowid → _crossfade_rowid  bigint identity  the row number, because no column tells rows apart; numbered by the target

posts  (2 rows, key id)
  id      bigint identity  holds only integers (2 values); declared INTEGER; numbered by the target
  author  bigint           holds only integers (1 value); declared INT
  body    text             holds only text (1 value); declared TEXT
  index by_author ("author" DESC NULLS LAST) WHERE ("author" > 0)
  foreign key (author) → users (id) ON DELETE CASCADE

users  (1 row, key id)
  id      bigint identity                holds only integers (1 value); declared INTEGER; numbered by the target
  email   text NOT NULL                  holds only text (1 value); declared TEXT
  active  boolean NOT NULL DEFAULT true  holds only 0 and 1 (1 value); declared BOOLEAN
  unique index users_email_key ("email")

Notices (2)
  view: view "v" is not created on the target: CREATE VIEW v AS SELECT 1
  no-key: table "log" has no primary key and no unique index over NOT NULL columns: its rows are told apart by SQLite's row numbers, which the column "_crossfade_rowid" holds on the target; DatabaseConnection leaves it out of results, and after a VACUUM the table is copied again

Blockers (1)
  default-not-null: column "log"."line": its default changes() has no certain form as text, and the column is NOT NULL, so inserts that leave it out would fail: let the application write "line" itself and take the default out of the schema, or set policies.defaults to "leave-out"

This migration is refused: 1 blocker.
`);
  });

  it('ends well where nothing stands against it', async () => {
    const plan = await planOf('CREATE TABLE t (id INTEGER PRIMARY KEY)');
    expect(renderPlan(plan)).toMatch(/\nNothing stands against this migration\.\n$/);
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
