import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { schemaFingerprint } from '../src/databases/sqlite/fingerprint.ts';
import { DEFAULT_INPUT } from '../src/contract.ts';
import { planMigration } from '../src/engine/plan.ts';
import { brief, planOf, REFUSE, table } from './support/plan.ts';

describe('blockers', () => {
  it.each<[string, string, string[]]>([
    [
      'NULL in the primary key',
      'CREATE TABLE t (a TEXT, b TEXT, PRIMARY KEY (a, b)); INSERT INTO t VALUES (NULL, 1), (NULL, NULL)',
      ['null-in-key t.a 2', 'null-in-key t.b 1'],
    ],
    [
      'generated columns',
      `CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, a AS (v LIKE lower(v)), b AS (a + 1) STORED, c AS (typeof(v)))`,
      ['generated-column t.a', 'generated-column t.b', 'generated-column t.c'],
    ],
    [
      'a parent that is unique but for its case',
      'CREATE TABLE p (id INTEGER PRIMARY KEY, a TEXT COLLATE NOCASE UNIQUE); CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT REFERENCES p (a))',
      ['nocase-parent t'],
    ],
    [
      'a unique expression of no certain meaning',
      `CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT); CREATE UNIQUE INDEX u ON t (a LIKE 'x%')`,
      ['unique-index t'],
    ],
    [
      'a unique index on a condition of no certain meaning',
      `CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT); CREATE UNIQUE INDEX u ON t (a) WHERE typeof(a) = 'text'`,
      ['unique-index t'],
    ],
    [
      'application triggers',
      'CREATE TABLE t (id INTEGER PRIMARY KEY); CREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; END',
      ['application-trigger t'],
    ],
    [
      'virtual tables',
      'CREATE TABLE t (id INTEGER PRIMARY KEY); CREATE VIRTUAL TABLE f USING fts5 (body)',
      ['virtual-table f'],
    ],
    ['an empty database', 'CREATE VIEW v AS SELECT 1', ['no-tables']],
    [
      'a database in UTF-16',
      `PRAGMA encoding = 'UTF-16le'; CREATE TABLE t (id INTEGER PRIMARY KEY)`,
      ['encoding'],
    ],
    [
      'a default that nothing can stand for where NULL is not allowed',
      'CREATE TABLE t (id INTEGER PRIMARY KEY, a INT NOT NULL DEFAULT (changes()))',
      ['default-not-null t.a'],
    ],
    ['columns that hide every name of the rowid', 'CREATE TABLE t (rowid, _rowid_, oid)', ['hidden-rowid t']],
    [
      'a unique index in which SQLite finds nothing, so that capture would scan',
      'CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, gone INT NOT NULL); CREATE UNIQUE INDEX u ON t (a) WHERE gone IS NULL',
      ['capture-scan t'],
    ],
    [
      'values too long for a unique index',
      `CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT UNIQUE); INSERT INTO t VALUES (1, hex(zeroblob(2000)))`,
      ['index-too-large t 4000'],
    ],
  ])('%s', async (_, sql, blockers) => {
    const plan = await planOf(sql);
    expect(brief(plan.blockers)).toEqual(blockers);
    for (const { message } of plan.blockers) expect(message).not.toMatch(/\n|undefined|NaN/);
  });

  it('orphans are counted, and refused', async () => {
    const plan =
      await planOf(`PRAGMA foreign_keys = OFF; CREATE TABLE p (id INTEGER PRIMARY KEY, k INT, l INT, UNIQUE (l, k));
      CREATE TABLE c (id INTEGER PRIMARY KEY, p REFERENCES p, k INT, l INT, FOREIGN KEY (k, l) REFERENCES p (k, l));
      INSERT INTO p VALUES (1, 10, 20); INSERT INTO c VALUES (1, 1, 10, 20), (2, 2, 10, 10), (3, 3, NULL, 5), (4, NULL, 20, 10)`);
    expect(brief(plan.blockers)).toEqual(['orphans c.p 2', 'orphans c 2']);
  });

  it('a foreign key whose sides hold different things', async () => {
    const plan =
      await planOf(`PRAGMA foreign_keys = OFF; CREATE TABLE p (id INTEGER PRIMARY KEY); INSERT INTO p VALUES (1);
      CREATE TABLE c (id INTEGER PRIMARY KEY, p TEXT REFERENCES p); INSERT INTO c VALUES (1, NULL), (7, '1'), (9, '1')`);
    expect(brief(plan.blockers)).toEqual(['key-type-mismatch c.p 2']);
    expect(plan.blockers).toMatchObject([
      { keys: ['7', '9'], message: expect.stringMatching(/; keys 7, 9$/) },
    ]);
  });
});

describe('policies', () => {
  it('turn blockers into notices', async () => {
    const sql = `CREATE TABLE t (id INTEGER PRIMARY KEY); CREATE VIRTUAL TABLE f USING fts5 (body);
      CREATE TRIGGER x AFTER INSERT ON t BEGIN INSERT INTO f VALUES (new.id); END`;
    const plan = await planOf(sql, { ...REFUSE, triggers: 'drop', virtualTables: 'skip' });
    expect(brief(plan.blockers)).toEqual([]);
    expect(brief(plan.notices)).toEqual(['application-trigger t', 'virtual-table f']);
    expect(plan.notices[1]!.message).toContain('"f_content"');
    expect(plan.tables.map((t) => t.name)).toEqual(['t']);
    expect(table(plan, 't').triggers.map((trigger) => trigger.name)).toEqual(['x']);
  });
});

describe('notices', () => {
  it('nothing is left out without a line', async () => {
    const plan = await planOf(`
      CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT COLLATE NOCASE CHECK (a GLOB upper(a)), b DEFAULT (changes()), c INT UNIQUE ON CONFLICT REPLACE,
        d REFERENCES gone, e REFERENCES t (a), CHECK (c > 0));
      CREATE VIEW v AS SELECT * FROM t; CREATE INDEX folded ON t (a); CREATE INDEX strange ON t (a COLLATE RTRIM); CREATE INDEX expr ON t (hex(c))`);
    expect(brief(plan.blockers)).toEqual([]);
    expect(brief(plan.notices).sort()).toEqual(
      [
        'check-left-out t',
        'conflict-clause t',
        'default-left-out t.b',
        'foreign-key-left-out t',
        'foreign-key-left-out t',
        'index-left-out t',
        'nocase-column t.a',
        'nocase-index t',
        'rtrim-index t',
      ].sort(),
    );
  });
});

describe('the plan as a whole', () => {
  it('numbers tables in name order, counts rows and reports progress', async () => {
    const db = new Database(':memory:');
    try {
      db.exec(`CREATE TABLE b (id INTEGER PRIMARY KEY, x); CREATE TABLE a (k TEXT PRIMARY KEY) WITHOUT ROWID; CREATE TABLE C (u INT NOT NULL UNIQUE);
        INSERT INTO b (x) VALUES ('1234567890'), ('12'); INSERT INTO a VALUES ('k')`);
      const progress: number[] = [];
      const plan = await planMigration(db, DEFAULT_INPUT, (rows) => progress.push(rows));
      expect(
        plan.tables.map((t) => [t.id, t.name, t.rows, t.largestRow, t.key, t.rowidAlias, t.withoutRowid]),
      ).toEqual([
        [1, 'C', 0, 0, ['u'], false, false],
        [2, 'a', 1, 1, ['k'], false, true],
        [3, 'b', 2, 11, ['id'], true, false],
      ]);
      expect(progress.at(-1)).toBe(3);
      expect(plan.fingerprint).toBe(schemaFingerprint(db));
      expect(plan.sourceBytes).toBeGreaterThan(0);
    } finally {
      db.close();
    }
  });

  it('takes the narrowest unique index as key where there is no primary key', async () => {
    const plan =
      await planOf(`CREATE TABLE t (a INT NOT NULL, b INT NOT NULL, c TEXT NOT NULL); CREATE UNIQUE INDEX two ON t (a, b);
      CREATE UNIQUE INDEX one ON t (c)`);
    expect([table(plan, 't').key, table(plan, 't').keyName]).toEqual([['c'], 'one']);
    expect(table(plan, 't').indexes.map((index) => index.name)).toEqual(['two']);
  });

  it('starts again where the schema changes under it, and gives up where it never rests', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'crossfade-plan-'));
    const db = new Database(join(folder, 'source.db'));
    try {
      db.pragma('journal_mode = WAL');
      db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)');
      let changes = 0;
      const once = await planMigration(db, DEFAULT_INPUT, () => {
        if (changes++ === 0)
          db.exec('CREATE TABLE later (id INTEGER PRIMARY KEY); ALTER TABLE t RENAME TO renamed');
      });
      expect(once.tables.map((t) => t.name)).toEqual(['later', 'renamed']);
      const never = planMigration(db, DEFAULT_INPUT, () =>
        db.exec(`ALTER TABLE renamed ADD COLUMN c${changes++}`),
      );
      await expect(never).rejects.toMatchObject({ code: 'SchemaChanged' });
    } finally {
      db.close();
      rmSync(folder, { recursive: true });
    }
  });

  it('reads a source that is being written', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'crossfade-plan-'));
    const path = join(folder, 'source.db');
    const writer = new Database(path);
    const reader = new Database(path, { readonly: true });
    try {
      writer.pragma('journal_mode = WAL');
      writer.exec(`CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT);
        WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 20000) INSERT INTO t SELECT i, 'x' FROM c`);
      const insert = writer.prepare(`INSERT OR REPLACE INTO t VALUES (?, 'y')`);
      writer.exec('BEGIN IMMEDIATE; DELETE FROM t WHERE id = 5');
      const plan = await planMigration(reader, DEFAULT_INPUT, (rows) => {
        if (writer.inTransaction) writer.exec('COMMIT');
        insert.run(20_000 + rows);
      });
      expect(plan.blockers).toEqual([]);
      expect(table(plan, 't').rows).toBeGreaterThanOrEqual(20_000);
    } finally {
      reader.close();
      writer.close();
      rmSync(folder, { recursive: true });
    }
  });
});
