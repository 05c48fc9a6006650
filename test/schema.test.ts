import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { affinityOf } from '../src/databases/sqlite/affinity.ts';
import { createControl } from '../src/databases/sqlite/control.ts';
import { schemaFingerprint } from '../src/databases/sqlite/fingerprint.ts';
import { readSchema, uniqueIndexesOf } from '../src/databases/sqlite/schema.ts';

let db: Database.Database;
beforeEach(() => {
  db = new Database(':memory:');
});
afterEach(() => {
  db.close();
});

describe('readSchema', () => {
  it('reads the application’s tables only, in name order', () => {
    db.exec(`CREATE TABLE b (id INTEGER PRIMARY KEY AUTOINCREMENT); CREATE TABLE "A 'quoted'" (x);
      CREATE TABLE _cf_KV (key TEXT PRIMARY KEY); CREATE VIEW v AS SELECT 1; ANALYZE;
      CREATE TRIGGER tr AFTER INSERT ON b BEGIN SELECT 1; END;`);
    createControl(db, 'm', 1);
    db.exec(`CREATE TRIGGER _crossfade_1_insert AFTER INSERT ON b BEGIN SELECT 1; END`);
    const schema = readSchema(db);
    expect(schema.tables.map((table) => table.name)).toEqual(["A 'quoted'", 'b']);
    expect(schema.triggers.map(({ name, table }) => [name, table])).toEqual([['tr', 'b']]);
    expect(schema.views.map((view) => view.name)).toEqual(['v']);
  });

  it('tells a rowid alias from its look-alikes', () => {
    db.exec(`CREATE TABLE alias (id INTEGER PRIMARY KEY); CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT);
      CREATE TABLE int_key (id INT PRIMARY KEY); CREATE TABLE desc_key (id INTEGER PRIMARY KEY DESC);
      CREATE TABLE no_rowid (id INTEGER PRIMARY KEY) WITHOUT ROWID; CREATE TABLE by_constraint (id INTEGER, PRIMARY KEY (id));
      CREATE TABLE two (a INTEGER, b INTEGER, PRIMARY KEY (b, a)); CREATE TABLE none (a "AUTOINCREMENT");`);
    const facts = readSchema(db).tables.map((t) => [
      t.name,
      t.rowidAlias,
      t.autoincrement,
      t.withoutRowid,
      t.primaryKey,
    ]);
    expect(facts).toEqual([
      ['alias', true, false, false, ['id']],
      ['by_constraint', true, false, false, ['id']],
      ['counted', true, true, false, ['id']],
      ['desc_key', false, false, false, ['id']],
      ['int_key', false, false, false, ['id']],
      ['no_rowid', false, false, true, ['id']],
      ['none', false, false, false, []],
      ['two', false, false, false, ['b', 'a']],
    ]);
  });

  it('reads columns with affinity, default, collation and generation', () => {
    db.exec(`CREATE TABLE t (a TEXT COLLATE NOCASE NOT NULL DEFAULT "x", b ANY, c AS (a || 'x'), d INT AS (1) STORED);
      CREATE TABLE s (a ANY, b INT) STRICT`);
    const [s, t] = readSchema(db).tables;
    expect(t!.columns).toEqual([
      {
        name: 'a',
        declared: 'TEXT',
        affinity: 'TEXT',
        notNull: true,
        defaultText: '"x"',
        keyPlace: 0,
        generated: 'no',
        collation: 'NOCASE',
      },
      {
        name: 'b',
        declared: 'ANY',
        affinity: 'NUMERIC',
        notNull: false,
        defaultText: null,
        keyPlace: 0,
        generated: 'no',
        collation: 'BINARY',
      },
      {
        name: 'c',
        declared: '',
        affinity: 'BLOB',
        notNull: false,
        defaultText: null,
        keyPlace: 0,
        generated: 'virtual',
        expression: `(a || 'x')`,
        collation: 'BINARY',
      },
      {
        name: 'd',
        declared: 'INT',
        affinity: 'INTEGER',
        notNull: false,
        defaultText: null,
        keyPlace: 0,
        generated: 'stored',
        expression: '(1)',
        collation: 'BINARY',
      },
    ]);
    expect(s!.strict).toBe(true);
    expect(s!.columns.map((column) => column.affinity)).toEqual(['BLOB', 'INTEGER']);
  });

  it('reads indexes with expressions and conditions that no pragma tells', () => {
    db.exec(`CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT UNIQUE COLLATE NOCASE, b);
      CREATE UNIQUE INDEX partial ON t (b DESC, a) WHERE b > 0 AND a <> ')';
      CREATE INDEX expr ON t (lower(a) DESC, b COLLATE RTRIM, (b + 1));`);
    const [t] = readSchema(db).tables;
    expect(t!.indexes).toEqual([
      {
        name: 'expr',
        unique: false,
        origin: 'c',
        plain: false,
        understood: true,
        terms: [
          { expression: 'lower(a)', collation: 'BINARY', descending: true },
          { column: 'b', collation: 'RTRIM', descending: false },
          { expression: '(b + 1)', collation: 'BINARY', descending: false },
        ],
      },
      {
        name: 'partial',
        unique: true,
        origin: 'c',
        plain: true,
        understood: true,
        predicate: "b > 0 AND a <> ')'",
        terms: [
          { column: 'b', collation: 'BINARY', descending: true },
          { column: 'a', collation: 'NOCASE', descending: false },
        ],
      },
      {
        name: 'sqlite_autoindex_t_1',
        unique: true,
        origin: 'u',
        plain: true,
        understood: true,
        terms: [{ column: 'a', collation: 'NOCASE', descending: false }],
      },
    ]);
  });

  it('reads foreign keys in the order of the text, composite ones whole', () => {
    db.exec(`CREATE TABLE p (a, b, PRIMARY KEY (a, b));
      CREATE TABLE c (x REFERENCES p, y, z REFERENCES missing (k) DEFERRABLE INITIALLY DEFERRED,
        CONSTRAINT both FOREIGN KEY (x, y) REFERENCES P (A, B) ON DELETE CASCADE ON UPDATE SET NULL);`);
    const [c] = readSchema(db).tables;
    expect(c!.foreignKeys).toEqual([
      {
        columns: ['x'],
        parent: 'p',
        parentColumns: null,
        onDelete: 'NO ACTION',
        onUpdate: 'NO ACTION',
        deferred: false,
      },
      {
        columns: ['z'],
        parent: 'missing',
        parentColumns: ['k'],
        onDelete: 'NO ACTION',
        onUpdate: 'NO ACTION',
        deferred: true,
      },
      {
        name: 'both',
        columns: ['x', 'y'],
        parent: 'P',
        parentColumns: ['A', 'B'],
        onDelete: 'CASCADE',
        onUpdate: 'SET NULL',
        deferred: false,
      },
    ]);
  });

  it('keeps virtual tables apart with the tables that hold their contents', () => {
    db.exec(`CREATE TABLE notes_x (a); CREATE VIRTUAL TABLE notes USING fts5 (body);
      CREATE VIRTUAL TABLE notes_more USING fts5 (body);`);
    const schema = readSchema(db);
    expect(schema.tables.map((table) => table.name)).toEqual(['notes_x']);
    expect(schema.virtualTables.map(({ name, shadows }) => [name, shadows.length])).toEqual([
      ['notes', 5],
      ['notes_more', 5],
    ]);
  });
});

describe('affinity as SQLite applies it', () => {
  it.each([
    'INT',
    'VARCHAR(3)',
    'BLOB',
    '',
    'DOUBLE',
    'DATETIME',
    'STRING',
    'FLOATING POINT',
    'CHARINT',
    'ANY',
  ])('%s', (declared) => {
    db.exec(`CREATE TABLE t (v ${declared}); INSERT INTO t VALUES ('5'), (5)`);
    const stored = db.prepare('SELECT typeof(v) FROM t').pluck().all();
    const expected = {
      INTEGER: ['integer', 'integer'],
      NUMERIC: ['integer', 'integer'],
      REAL: ['real', 'real'],
      TEXT: ['text', 'text'],
      BLOB: ['text', 'integer'],
    };
    expect(stored).toEqual(expected[affinityOf(declared)]);
  });
});

describe('uniqueIndexesOf', () => {
  it('lists every constraint that a REPLACE may resolve', () => {
    db.exec(`CREATE TABLE t (id INTEGER PRIMARY KEY, email TEXT UNIQUE, a, b);
      CREATE UNIQUE INDEX one_active ON t (a) WHERE b = 1; CREATE UNIQUE INDEX folded ON t (lower(email)); CREATE INDEX plain ON t (b);
      CREATE TABLE w (k TEXT COLLATE NOCASE PRIMARY KEY) WITHOUT ROWID; CREATE TABLE none (a);`);
    const brief = (name: string): unknown[] =>
      uniqueIndexesOf(db, name).map(({ terms, predicate, plain }) => [
        terms.map((term) => `${term.column ?? `(${term.expression})`} ${term.collation}`).join(', '),
        predicate,
        plain,
      ]);
    expect(brief('t')).toEqual([
      ['id BINARY', undefined, true],
      ['(lower(email)) BINARY', undefined, false],
      ['a BINARY', 'b = 1', true],
      ['email BINARY', undefined, true],
    ]);
    expect(brief('w')).toEqual([['k NOCASE', undefined, true]]);
    expect(brief('none')).toEqual([]);
  });
});

describe('schemaFingerprint', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'crossfade-schema-'));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  it('ignores our own objects, triggers, statistics and rows, and notices every other DDL', () => {
    db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, a)');
    const first = schemaFingerprint(db);
    createControl(db, 'm', 2);
    db.exec(
      `CREATE TRIGGER _crossfade_1_insert AFTER INSERT ON t BEGIN SELECT 1; END; INSERT INTO t (a) VALUES (1); ANALYZE;`,
    );
    expect(schemaFingerprint(db)).toBe(first);
    const seen = new Set([first]);
    for (const ddl of [
      'ALTER TABLE t ADD COLUMN b',
      'CREATE INDEX i ON t (a)',
      'DROP INDEX i',
      'CREATE TABLE u (a)',
      'CREATE VIEW v AS SELECT 1',
      'ALTER TABLE u RENAME TO w',
    ]) {
      db.exec(ddl);
      seen.add(schemaFingerprint(db));
    }
    // Dropping the index leads back to the schema before it, which is counted already.
    expect(seen.size).toBe(6);
    const last = schemaFingerprint(db);
    db.exec('CREATE TRIGGER tr AFTER INSERT ON t BEGIN SELECT 1; END');
    expect(schemaFingerprint(db)).toBe(last);
  });

  it('sees the DDL of another connection, and of its own transaction that is rolled back', () => {
    const path = join(folder, 'source.db');
    const writer = new Database(path);
    writer.pragma('journal_mode = WAL');
    writer.exec('CREATE TABLE t (a)');
    const reader = new Database(path, { readonly: true });
    try {
      const first = schemaFingerprint(reader);
      writer.exec('BEGIN; CREATE TABLE mine (a)');
      expect(schemaFingerprint(writer)).not.toBe(first);
      expect(schemaFingerprint(reader)).toBe(first);
      writer.exec('ROLLBACK');
      expect(schemaFingerprint(writer)).toBe(first);
      const other = new Database(path);
      other.exec('CREATE TABLE theirs (a)');
      other.close();
      const second = schemaFingerprint(reader);
      expect(second).not.toBe(first);
      expect(schemaFingerprint(writer)).toBe(second);
    } finally {
      reader.close();
      writer.close();
    }
  });
});
