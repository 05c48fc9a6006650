/** What surprises people of SQLite and PostgreSQL, each by its name; what has a suite of its own is there. */
import Database from 'better-sqlite3';
import { DEFAULT_INPUT } from '../src/contract.ts';
import { openSource } from '../src/databases/sqlite/connection.ts';
import { captureFault, installCapture } from '../src/databases/sqlite/capture.ts';
import { createControl, LOG_TABLE } from '../src/databases/sqlite/control.ts';
import { planMigration } from '../src/engine/plan.ts';
import { TestMigration } from './support/migration.ts';
import { brief, planOf, table } from './support/plan.ts';
import { differences } from './support/same.ts';
import { schemaDifferences } from './support/same-schema.ts';

async function captured(
  schema: string,
): Promise<{ db: Database.Database; logged: () => unknown[]; fault: () => string | null }> {
  const db = new Database(':memory:');
  db.exec(schema);
  const { tables } = await planMigration(db, { policies: DEFAULT_INPUT.policies, overrides: {} });
  createControl(db, 'test', 2);
  installCapture(db, tables, DEFAULT_INPUT.capture.maxLogRows);
  let seen = db.prepare(`SELECT max(seq) FROM ${LOG_TABLE}`).pluck().get() as number;
  const logged = (): unknown[] => {
    const keys = db
      .prepare(`SELECT DISTINCT k0 FROM ${LOG_TABLE} WHERE seq > ? ORDER BY k0`)
      .pluck()
      .all(seen);
    seen = db.prepare(`SELECT max(seq) FROM ${LOG_TABLE}`).pluck().get() as number;
    return keys;
  };
  return { db, logged, fault: () => captureFault(db, tables) };
}

describe('capture', () => {
  it('REPLACE deletes rows and fires no delete trigger: the deleted keys are logged all the same', async () => {
    const { db, logged } = await captured(`
      CREATE TABLE t (id INTEGER PRIMARY KEY, a INT UNIQUE, b INT UNIQUE ON CONFLICT REPLACE, c INT);
      CREATE UNIQUE INDEX u ON t (c) WHERE c > 5;
      INSERT INTO t VALUES (1, 1, 1, 1), (2, 2, 2, 2), (3, 3, 3, 3), (4, 4, 4, 7);`);
    db.exec(
      'CREATE TEMP TABLE fired (id); CREATE TEMP TRIGGER d AFTER DELETE ON t BEGIN INSERT INTO fired VALUES (OLD.id); END',
    );
    db.exec('INSERT OR REPLACE INTO t VALUES (5, 1, 50, 50)');
    expect(logged()).toEqual([1, 5]);
    db.exec('INSERT INTO t VALUES (6, 60, 2, 60)');
    expect(logged()).toEqual([2, 6]);
    db.exec('UPDATE OR REPLACE t SET c = 7 WHERE id = 3');
    expect(logged()).toEqual([3, 4]);
    expect(db.prepare('SELECT id FROM fired').all()).toEqual([]);
    expect(db.prepare('SELECT id FROM t ORDER BY id').pluck().all()).toEqual([3, 5, 6]);
  });

  it.each(['OR IGNORE', 'OR REPLACE', 'OR FAIL', 'OR ROLLBACK', ''])(
    'the clause of the application’s statement overrides a trigger’s: under "%s" no log row is lost',
    async (clause) => {
      const { db, logged } = await captured(
        `CREATE TABLE t (id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 0), (2, 0)`,
      );
      db.exec(`UPDATE ${clause} t SET v = 1; UPDATE ${clause} t SET v = 2`);
      expect(logged()).toEqual([1, 2]);
      expect(db.prepare(`SELECT count(*) FROM ${LOG_TABLE} WHERE t <> 0`).pluck().get()).toBe(4);
    },
  );

  it('cascades and a DELETE without condition are logged, a changed key by both its values', async () => {
    const { db, logged } = await captured(`
      CREATE TABLE p (id INTEGER PRIMARY KEY);
      CREATE TABLE c (id INTEGER PRIMARY KEY, p INT REFERENCES p ON DELETE CASCADE ON UPDATE CASCADE);
      INSERT INTO p VALUES (1), (2); INSERT INTO c VALUES (10, 1), (11, 1), (12, 2);`);
    db.pragma('foreign_keys = ON');
    db.exec('UPDATE p SET id = 3 WHERE id = 1');
    expect(logged()).toEqual([1, 3, 10, 11]);
    db.exec('DELETE FROM p');
    expect(logged()).toEqual([2, 3, 10, 11, 12]);
  });

  it('DROP COLUMN fails where a trigger names the column: ours name keys alone, and notice nothing wrong', async () => {
    const { db, logged, fault } = await captured(
      'CREATE TABLE t (id INTEGER PRIMARY KEY, v, w); INSERT INTO t VALUES (1, 1, 1)',
    );
    db.exec('ALTER TABLE t DROP COLUMN w; ALTER TABLE t ADD COLUMN x; UPDATE t SET x = 5');
    expect(logged()).toEqual([1]);
    expect(fault()).toBeNull();
  });
});

describe('reading', () => {
  it('a long read keeps the WAL from its checkpoint: those of census, copy and verification end with each step', async () => {
    const migration = await TestMigration.create(`CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT);
      WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
      INSERT INTO t SELECT i, printf('%.100c', 'x') FROM n;`);
    const { app } = migration;
    const reader = openSource(migration.endpoints.sourcePath, 'read');
    try {
      app.pragma('busy_timeout = 0');
      let writes = 0;
      const isPinned = (): boolean => {
        app.prepare('UPDATE t SET v = ? WHERE id = ?').run(`written ${++writes}`, 1 + (writes % 20_000));
        const [row] = app.pragma('wal_checkpoint(TRUNCATE)') as { busy: number }[];
        return row!.busy === 1;
      };
      const longRead = reader.prepare('SELECT id FROM t').iterate();
      longRead.next();
      expect(isPinned()).toBe(true);
      longRead.return!();
      expect(isPinned()).toBe(false);

      const census: boolean[] = [];
      await planMigration(reader, { policies: DEFAULT_INPUT.policies, overrides: {} }, () =>
        census.push(isPinned()),
      );
      await migration.begin();
      const copy: boolean[] = [];
      await migration.copy({ batchRows: 1_000, batchBytes: 65_536 }, () => copy.push(isPinned()));
      await migration.catchUp();
      await migration.index();
      const verification: boolean[] = [];
      expect(await migration.verify('full', () => verification.push(isPinned()))).toMatchObject({
        equal: true,
      });
      for (const [what, seen] of Object.entries({ census, copy, verification })) {
        expect({ what, several: seen.length > 2, pinned: seen.includes(true) }).toEqual({
          what,
          several: true,
          pinned: false,
        });
      }
    } finally {
      reader.close();
      await migration.dispose();
    }
  });
});

describe('values', () => {
  it('STRING, BOOLEAN and DATETIME are numbers to SQLite: 007 is stored as 7, and true as a text', async () => {
    const migration = await TestMigration.create(`
      CREATE TABLE t (id INTEGER PRIMARY KEY, s STRING, b BOOLEAN, d DATETIME);
      INSERT INTO t (s, b, d) VALUES ('007', 'true', '1700000000'), ('x7', TRUE, '2024'), ('1e3', 0, '5.0');`);
    try {
      expect(migration.app.prepare('SELECT s, b, d FROM t').raw().all()).toEqual([
        [7, 'true', 1_700_000_000],
        ['x7', 1, 2024],
        [1000, 0, 5],
      ]);
      await migration.upToVerified();
      expect(await differences(migration.app, migration.target, migration.plan)).toEqual([]);
    } finally {
      await migration.dispose();
    }
  });

  it('STRICT columns and INTEGER PRIMARY KEY take one class, every other column any: all arrive', async () => {
    const migration = await TestMigration.create(`
      CREATE TABLE loose (id INTEGER PRIMARY KEY, i INTEGER, r REAL, t TEXT, b BLOB, n NUMERIC, x);
      CREATE TABLE strict (id INTEGER PRIMARY KEY, i INT, r REAL, t TEXT, b BLOB, a ANY) STRICT;
      INSERT INTO strict VALUES (1, '5', 5, 5, x'05', '007'), (2, 5.0, '5', '5', NULL, 5.0), (3, NULL, NULL, NULL, x'', x'05');`);
    try {
      for (const value of [
        '5',
        '5.5',
        `'5'`,
        `'text'`,
        `x'05'`,
        '9223372036854775808',
        '9e999',
        '9e999 - 9e999',
        '0.1 + 0.2',
      ])
        migration.app.exec(
          `INSERT INTO loose (i, r, t, b, n, x) VALUES (${Array(6).fill(value).join(', ')})`,
        );
      const stored = migration.app
        .prepare(`SELECT typeof(i), typeof(r), typeof(x) FROM loose WHERE id IN (1, 6, 8)`)
        .raw()
        .all();
      // 5 in a REAL column, 2^63 in an INTEGER one, and NaN.
      expect(stored).toEqual([
        ['integer', 'real', 'integer'],
        ['real', 'real', 'real'],
        ['null', 'null', 'null'],
      ]);
      expect(() => migration.app.exec(`INSERT INTO strict (i) VALUES ('x')`)).toThrow(/cannot store TEXT/);
      expect(() => migration.app.exec(`INSERT INTO loose (id) VALUES ('x')`)).toThrow(/datatype mismatch/);
      await migration.upToVerified();
      expect(await differences(migration.app, migration.target, migration.plan)).toEqual([]);
    } finally {
      await migration.dispose();
    }
  });

  it('numbers, texts and blobs in one untyped key sort by class, and a text bound as cursor would skip the numbers: every row is copied', async () => {
    const migration = await TestMigration.create(`CREATE TABLE t (k PRIMARY KEY NOT NULL, v);
      INSERT INTO t VALUES (10, 'n'), (9, 'n'), ('10', 't'), ('9', 't'), ('', 't'), (x'', 'b'), (x'39', 'b');`);
    try {
      expect(migration.app.prepare(`SELECT count(*) FROM t WHERE k > '9'`).pluck().get()).toBe(2);
      await migration.begin();
      expect(await migration.copy({ batchRows: 1 })).toMatchObject({ rows: 7 });
      await migration.index();
      expect(await differences(migration.app, migration.target, migration.plan)).toEqual([]);
    } finally {
      await migration.dispose();
    }
  });
});

describe('schema', () => {
  it('without AUTOINCREMENT ids are given again, and sqlite_sequence has no row before the first: the target goes on after both', async () => {
    const migration = await TestMigration.create(`
      CREATE TABLE never (id INTEGER PRIMARY KEY AUTOINCREMENT, v);
      CREATE TABLE gone (id INTEGER PRIMARY KEY AUTOINCREMENT, v);
      CREATE TABLE again (id INTEGER PRIMARY KEY, v);
      INSERT INTO gone (id, v) VALUES (41, 0); DELETE FROM gone;
      INSERT INTO again (id, v) VALUES (1, 0), (9, 0); DELETE FROM again WHERE id = 9;`);
    try {
      expect(migration.app.prepare('SELECT name, seq FROM sqlite_sequence').raw().all()).toEqual([
        ['gone', 41],
      ]);
      await migration.upToVerified();
      await migration.foreignKeys();
      await migration.cutOver();
      const next = async (table: string): Promise<unknown> =>
        (await migration.target.query(`INSERT INTO ${table} (v) VALUES (1) RETURNING id`)).rows;
      expect([await next('never'), await next('gone'), await next('again')]).toEqual([
        [{ id: '1' }],
        [{ id: '42' }],
        [{ id: '2' }],
      ]);
    } finally {
      await migration.dispose();
    }
  });

  it('NOCASE folds ASCII alone: É and é are two values there and on the target, A and a are one', async () => {
    const migration = await TestMigration.create(`
      CREATE TABLE t (name TEXT COLLATE NOCASE UNIQUE); INSERT INTO t VALUES ('É'), ('é'), ('a');`);
    try {
      await migration.upToVerified();
      await migration.cutOver();
      const put = (name: string): Promise<unknown> =>
        migration.target.query('INSERT INTO t (name) VALUES ($1)', [name]);
      await put('ß');
      await put('ẞ');
      await expect(put('A')).rejects.toMatchObject({ code: '23505' });
    } finally {
      await migration.dispose();
    }
  });

  it('INT PRIMARY KEY and INTEGER PRIMARY KEY DESC are not numbered, and not NOT NULL', async () => {
    const plan = await planOf(`
      CREATE TABLE a (id INT PRIMARY KEY); CREATE TABLE b (id INTEGER PRIMARY KEY DESC); CREATE TABLE c (id INTEGER PRIMARY KEY);
      INSERT INTO a VALUES (NULL), (NULL); INSERT INTO b VALUES (NULL); INSERT INTO c VALUES (NULL);`);
    expect(brief(plan.blockers)).toEqual(['null-in-key a.id 2', 'null-in-key b.id 1']);
    expect(plan.tables.map(({ columns }) => columns[0]!.identity)).toEqual([false, false, true]);
  });

  it('names of tables and columns do not regard case: keys and indexes that spell them otherwise are found', async () => {
    const migration = await TestMigration.create(`
      CREATE TABLE Parent (Id INTEGER PRIMARY KEY, "Code" TEXT UNIQUE, CHECK (CODE <> ''));
      CREATE TABLE child (id INTEGER PRIMARY KEY, PARENT_ID INT REFERENCES pArEnT (ID), code TEXT REFERENCES PARENT ("cODE"));
      CREATE INDEX by_parent ON CHILD (Parent_Id) WHERE parent_ID IS NOT NULL;
      INSERT INTO PARENT VALUES (1, 'x'); INSERT INTO Child VALUES (1, 1, 'x');`);
    try {
      await migration.upToVerified();
      expect(await migration.foreignKeys()).toBe(true);
      expect(table(migration.plan, 'child').foreignKeys).toHaveLength(2);
      expect(table(migration.plan, 'child').indexes.map(({ name }) => name)).toEqual(['by_parent']);
      expect(await differences(migration.app, migration.target, migration.plan)).toEqual([]);
      await migration.cutOver();
      expect(await schemaDifferences(migration.app, migration.target, migration.plan)).toEqual([]);
    } finally {
      await migration.dispose();
    }
  });

  it('PRAGMA table_info hides generated columns, and index_info their conditions: both are carried over', async () => {
    const migration = await TestMigration.create(`
      CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, low TEXT AS (lower(a)), kept TEXT AS (a || '!') STORED);
      CREATE UNIQUE INDEX part ON t (a) WHERE a > 'm'; CREATE UNIQUE INDEX expr ON t (lower(a) || 'x') WHERE a IS NOT NULL;
      INSERT INTO t (a) VALUES ('B'), ('z');`);
    try {
      expect((migration.app.pragma('table_info(t)') as unknown[]).length).toBe(2);
      await migration.upToVerified();
      await migration.foreignKeys();
      await migration.cutOver();
      expect(await differences(migration.app, migration.target, migration.plan)).toEqual([]);
      expect(await schemaDifferences(migration.app, migration.target, migration.plan)).toEqual([]);
      const put = (value: string): Promise<unknown> =>
        migration.target.query('INSERT INTO t (a) VALUES ($1)', [value]);
      await put('b2');
      await expect(put('z')).rejects.toMatchObject({ code: '23505' });
      await expect(put('b')).rejects.toMatchObject({ code: '23505' });
    } finally {
      await migration.dispose();
    }
  });

  it('a CHECK passes NULL on both, one with glob becomes LIKE, and one with typeof has no certain form', async () => {
    const plan =
      await planOf(`CREATE TABLE t (id INTEGER PRIMARY KEY, a INT CHECK (a > 0), b TEXT CHECK (b GLOB 'x*'), c CHECK (typeof(c) = 'text'));
      INSERT INTO t VALUES (1, NULL, NULL, 'x')`);
    expect(table(plan, 't').checks).toEqual(['("a" > 0)', `("b" LIKE 'x%' ESCAPE '\\')`]);
    expect(brief(plan.notices.filter(({ code }) => code === 'check-left-out'))).toEqual(['check-left-out t']);
  });
});

describe('PostgreSQL', () => {
  it('takes a gigabyte at once, and a blob twice its bytes: a row beyond half of that is refused by its key', async () => {
    const plan = await planOf(`
      CREATE TABLE files (id INTEGER PRIMARY KEY, name TEXT, data BLOB);
      INSERT INTO files VALUES (1, 'small', x'00'), (7, 'large', zeroblob(500000000));`);
    expect(plan.blockers).toMatchObject([
      {
        code: 'row-too-large',
        table: 'files',
        count: 500_000_006,
        keys: ['7'],
        message: expect.stringMatching(
          /has a row of 500000006 bytes, and 500000000 are sure to fit: move .*; first key 7$/,
        ),
      },
    ]);
  });

  it('has 1,600 columns at most: a wider table is refused by name', async () => {
    const columns = (count: number): string => Array.from({ length: count }, (_, i) => `c${i}`).join(', ');
    const plan = await planOf(
      `CREATE TABLE wide (${columns(1_601)}); CREATE TABLE narrow (id INTEGER PRIMARY KEY, ${columns(10)})`,
    );
    expect(brief(plan.blockers)).toEqual(['too-many-columns wide 1601']);
    const keyless = await planOf(
      `CREATE TABLE most (${columns(1_599)}); CREATE TABLE full (${columns(1_600)}); CREATE TABLE keyed (${columns(1_600)}, PRIMARY KEY (c0)) WITHOUT ROWID;`,
    );
    expect(brief(keyless.blockers)).toEqual(['too-many-columns full 1600']);
    expect(keyless.blockers[0]!.message).toContain('no key, so that its row numbers take one more');
  });
});
