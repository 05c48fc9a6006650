/**
 * Capture: whatever is written, the log names every key whose row is another one now. Judged by a replica that knows
 * nothing but the log and copies the current row of each key that it names.
 */
import Database from 'better-sqlite3';
import { DEFAULT_INPUT, type Plan, type TablePlan } from '../src/contract.ts';
import { captureFault, installCapture } from '../src/databases/sqlite/capture.ts';
import { createControl, LOG_TABLE } from '../src/databases/sqlite/control.ts';
import { quoted } from '../src/databases/identifiers.ts';
import { planMigration } from '../src/engine/plan.ts';
import { seeded } from './support/random.ts';
import { attack, type Target } from './support/workload.ts';

const SCHEMA = `
  CREATE TABLE many (
    id INTEGER PRIMARY KEY, a INT UNIQUE, b TEXT COLLATE NOCASE UNIQUE, c INT, d TEXT, e REAL,
    UNIQUE (c DESC, d));
  CREATE UNIQUE INDEX many_partial ON many (d) WHERE c > 2;
  CREATE UNIQUE INDEX many_expression ON many (abs(c) + 1, lower(d) COLLATE RTRIM);
  CREATE UNIQUE INDEX many_partial_expression ON many (substr(b, 1, 1)) WHERE e IS NOT NULL AND a < 3;
  CREATE TABLE pair (k TEXT, n INTEGER, u INT UNIQUE, v, PRIMARY KEY (k, n)) WITHOUT ROWID;
  CREATE TABLE named (k TEXT PRIMARY KEY COLLATE NOCASE, u INT, v TEXT UNIQUE);
  CREATE UNIQUE INDEX named_trimmed ON named (v COLLATE RTRIM);
  CREATE TABLE untyped (k PRIMARY KEY NOT NULL, v UNIQUE);
  CREATE TABLE tree (
    id INTEGER PRIMARY KEY, parent INT REFERENCES tree ON DELETE CASCADE ON UPDATE CASCADE,
    u INT NOT NULL DEFAULT 0 UNIQUE, s TEXT NOT NULL DEFAULT 'it''s' UNIQUE);
  CREATE TABLE own (id INTEGER PRIMARY KEY, parent INT REFERENCES own ON DELETE CASCADE);
  CREATE TABLE owned (k TEXT, n INT, parent INT, PRIMARY KEY (k, n), FOREIGN KEY (k, parent) REFERENCES owned ON DELETE CASCADE) WITHOUT ROWID;
  CREATE TABLE leaf (
    k TEXT NOT NULL, tree INT REFERENCES tree ON DELETE SET NULL ON UPDATE SET NULL, v INT, UNIQUE (k, v));
  CREATE UNIQUE INDEX leaf_key ON leaf (k);
  CREATE TABLE hidden (rowid TEXT NOT NULL, y INT NOT NULL, v INT UNIQUE, UNIQUE (rowid, y));
  CREATE TABLE derived (
    id INTEGER PRIMARY KEY, a TEXT NOT NULL DEFAULT 'B', b INT, c NOT NULL DEFAULT 2,
    both TEXT AS (low || twice) UNIQUE, low TEXT AS (lower(a)) STORED UNIQUE, twice INT AS (b * 2) UNIQUE);
  CREATE UNIQUE INDEX derived_expression ON derived (c, twice % 4);
  CREATE TABLE wrapped (id INT PRIMARY KEY ON CONFLICT REPLACE NOT NULL, v INT UNIQUE ON CONFLICT REPLACE);
  -- The application's own: they write elsewhere, refuse rows, and make what was written be kept or skipped.
  CREATE TRIGGER app_spread AFTER INSERT ON many WHEN NEW.a < 3
    BEGIN INSERT OR IGNORE INTO pair VALUES (NEW.b, NEW.a, NEW.c, 'spread'); UPDATE named SET u = NEW.c WHERE v = NEW.d; END;
  CREATE TRIGGER app_ignore AFTER UPDATE ON pair WHEN NEW.u = 4 BEGIN SELECT RAISE(IGNORE); END;
  CREATE TRIGGER app_skip BEFORE INSERT ON named WHEN NEW.u = 5 BEGIN SELECT RAISE(IGNORE); END;
  CREATE TRIGGER app_refuse BEFORE DELETE ON untyped WHEN OLD.v = 3 BEGIN SELECT RAISE(FAIL, 'kept'); END;
`;

const NUMBERS = ['NULL', '0', '1', '2', '3', '4', '5'];
const TEXTS = ['NULL', `'a'`, `'A'`, `'b'`, `'B '`, `'b '`, `''`];
const TARGETS: Target[] = [
  {
    table: 'many',
    columns: { id: NUMBERS, a: NUMBERS, b: TEXTS, c: ['-2', ...NUMBERS], d: TEXTS, e: NUMBERS },
  },
  { table: 'pair', columns: { k: TEXTS, n: NUMBERS, u: NUMBERS, v: TEXTS } },
  { table: 'named', columns: { k: TEXTS.slice(1), u: NUMBERS, v: TEXTS }, rowid: 'rowid' },
  {
    table: 'untyped',
    columns: { k: ['0', '0.0', '-0.0', '1', '1.0', `'1'`, `x'31'`, `'a'`, `'A'`], v: NUMBERS },
    rowid: 'rowid',
  },
  { table: 'tree', columns: { id: NUMBERS, parent: NUMBERS, u: NUMBERS, s: ['NULL', `'it''s'`, `'x'`] } },
  { table: 'own', columns: { id: NUMBERS, parent: NUMBERS } },
  { table: 'owned', columns: { k: [`'a'`, `'b'`], n: NUMBERS.slice(1), parent: NUMBERS } },
  { table: 'leaf', columns: { k: TEXTS.slice(1), tree: NUMBERS, v: NUMBERS }, rowid: 'rowid' },
  { table: 'hidden', columns: { rowid: TEXTS.slice(1), y: NUMBERS.slice(1), v: NUMBERS }, rowid: '_rowid_' },
  { table: 'derived', columns: { id: NUMBERS, a: TEXTS, b: NUMBERS, c: NUMBERS } },
  { table: 'wrapped', columns: { id: NUMBERS.slice(1), v: NUMBERS } },
];

/** A value with its class, exactly. */
const form = (expression: string): string =>
  `iif(typeof(${expression}) = 'real', format('r%!.17g', ${expression}), typeof(${expression}) || hex(${expression}))`;

class Replica {
  private readonly rows = new Map<string, string>();
  private position: number;
  private readonly db: Database.Database;
  private readonly tables: TablePlan[];

  constructor(db: Database.Database, tables: TablePlan[]) {
    this.db = db;
    this.tables = tables;
    this.position = this.head();
    for (const [name, row] of this.source()) this.rows.set(name, row);
  }

  private head(): number {
    return this.db.prepare(`SELECT max(seq) FROM ${LOG_TABLE}`).pluck().get() as number;
  }

  private source(): Map<string, string> {
    const all = new Map<string, string>();
    for (const table of this.tables) {
      const key = table.key.map((column) => form(quoted(column))).join(` || ',' || `);
      const row = table.columns.map((column) => form(quoted(column.name))).join(` || ',' || `);
      const rows = this.db
        .prepare(`SELECT ${key}, ${row} FROM ${quoted(table.name)}`)
        .raw()
        .all();
      for (const [name, text] of rows as [string, string][]) all.set(`${table.id}: ${name}`, text);
    }
    return all;
  }

  /** Copies the current row of every key that the log names since the last time. */
  replay(): void {
    const source = this.source();
    for (const table of this.tables) {
      const key = table.key.map((_, i) => form(`k${i}`)).join(` || ',' || `);
      const logged = this.db
        .prepare(`SELECT DISTINCT ${key} FROM ${LOG_TABLE} WHERE seq > ? AND t = ?`)
        .pluck()
        .all(this.position, table.id) as string[];
      for (const name of logged) {
        const row = source.get(`${table.id}: ${name}`);
        if (row === undefined) this.rows.delete(`${table.id}: ${name}`);
        else this.rows.set(`${table.id}: ${name}`, row);
      }
    }
    this.position = this.head();
  }

  /** Keys whose rows are not the source's. */
  differences(): string[] {
    const source = this.source();
    const keys = new Set([...source.keys(), ...this.rows.keys()]);
    return [...keys].filter((key) => source.get(key) !== this.rows.get(key));
  }
}

async function captured(
  schema: string,
  maxLogRows = DEFAULT_INPUT.capture.maxLogRows,
): Promise<{ db: Database.Database; plan: Plan }> {
  const db = new Database(':memory:');
  db.exec(schema);
  const plan = await planMigration(db, {
    policies: { ...DEFAULT_INPUT.policies, triggers: 'drop' },
    overrides: {},
  });
  createControl(db, 'test', 2);
  installCapture(db, plan.tables, maxLogRows);
  return { db, plan };
}

describe('capture', () => {
  it('names every key that a random workload changes, and needs its BEFORE triggers for that', async () => {
    const random = seeded('capture');
    let [diverged, blind] = [0, 0];
    for (let run = 0; run < 60; run++) {
      const { db, plan } = await captured(SCHEMA);
      // NOCASE keys are refused for the target, not for capture.
      expect(plan.tables).toHaveLength(TARGETS.length);
      db.pragma(`foreign_keys = ${random.below(2)}`);
      db.pragma(`recursive_triggers = ${random.below(2)}`);
      const hobbled = run % 3 === 0;
      if (hobbled) {
        const names = db
          .prepare(`SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE '%conflict%'`)
          .pluck()
          .all() as string[];
        for (const name of names) db.exec(`DROP TRIGGER ${quoted(name)}`);
      }
      const replica = new Replica(db, plan.tables);
      for (let round = 0; round < 12; round++) {
        attack(db, random, TARGETS, 40);
        replica.replay();
        const found = replica.differences();
        if (hobbled) {
          if (found.length > 0) blind++;
        } else {
          expect(found).toEqual([]);
          diverged += found.length;
        }
      }
      db.close();
    }
    expect(diverged).toBe(0);
    expect(blind).toBeGreaterThan(0);
  });

  it('logs a key of every class and a changed case, in one statement that touches every row', async () => {
    const { db, plan } = await captured(
      `CREATE TABLE t (k PRIMARY KEY NOT NULL COLLATE NOCASE, v); INSERT INTO t VALUES (1, 0), ('abc', 0), (x'00', 0), (1.5, 0)`,
    );
    const replica = new Replica(db, plan.tables);
    db.exec(`UPDATE t SET k = 'ABC' WHERE k = 'abc'; UPDATE t SET v = 1`);
    replica.replay();
    expect(replica.differences()).toEqual([]);
    // A truncation in all but name.
    db.exec('DELETE FROM t');
    replica.replay();
    expect(replica.differences()).toEqual([]);
  });

  it('logs the victim of a REPLACE whose deletion takes the row that moved with it', async () => {
    const { db, plan } = await captured(
      `CREATE TABLE own (id INTEGER PRIMARY KEY, parent INT REFERENCES own ON DELETE CASCADE);
       INSERT INTO own VALUES (2, 2), (9, 2)`,
    );
    db.pragma('foreign_keys = ON');
    const replica = new Replica(db, plan.tables);
    db.exec('UPDATE OR REPLACE own SET id = 2 WHERE id = 9');
    expect(db.prepare('SELECT count(*) FROM own').pluck().get()).toBe(0);
    replica.replay();
    expect(replica.differences()).toEqual([]);
  });

  it('leaves what the application learns of its writes as it was', async () => {
    const { db } = await captured(`CREATE TABLE t (id INTEGER PRIMARY KEY, u INT UNIQUE)`);
    db.exec('INSERT INTO t VALUES (7, 1)');
    expect(db.prepare('INSERT OR REPLACE INTO t (u) VALUES (1)').run()).toEqual({
      changes: 1,
      lastInsertRowid: 8,
    });
    expect(db.prepare('INSERT OR IGNORE INTO t VALUES (8, 2)').run().changes).toBe(0);
    expect(db.prepare('UPDATE t SET u = 3 RETURNING id, u').all()).toEqual([{ id: 8, u: 3 }]);
  });

  it('finds a rebuilt table and a newer trigger of the application', async () => {
    const { db, plan } = await captured(
      `CREATE TABLE t (id INTEGER PRIMARY KEY, v); CREATE TABLE u (id INTEGER PRIMARY KEY)`,
    );
    expect(captureFault(db, plan.tables)).toBeNull();
    db.exec(`CREATE TRIGGER late AFTER INSERT ON u BEGIN SELECT RAISE(IGNORE); END`);
    expect(captureFault(db, plan.tables)).toMatch(/"u" got a trigger/);
    // It is not a false alarm: the row is kept and nothing logs it.
    const replica = new Replica(db, plan.tables);
    db.exec('INSERT INTO u VALUES (1)');
    replica.replay();
    expect(replica.differences()).toHaveLength(1);
    db.exec(`DROP TRIGGER late; CREATE TABLE t2 (id INTEGER PRIMARY KEY, v); INSERT INTO t2 SELECT * FROM t; DROP TABLE t;
      ALTER TABLE t2 RENAME TO t`);
    expect(captureFault(db, plan.tables)).toMatch(/of table "t" is gone/);
  });

  it('finds a trigger of ours that was replaced by another of that name', async () => {
    const { db, plan } = await captured(`CREATE TABLE t (id INTEGER PRIMARY KEY, v)`);
    const name = db
      .prepare(`SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE '%delete'`)
      .pluck()
      .get() as string;
    db.exec(
      `DROP TRIGGER ${quoted(name)}; CREATE TRIGGER ${quoted(name)} AFTER DELETE ON t BEGIN SELECT 1; END`,
    );
    expect(captureFault(db, plan.tables)).toMatch(/gone or changed/);
  });

  it('keeps the log under its cap whatever the statement, and never numbers a change twice', async () => {
    const { db } = await captured(`CREATE TABLE t (id INTEGER PRIMARY KEY, v)`, 2_000);
    const log = (): { rows: number; head: number } =>
      db.prepare(`SELECT count(*) AS "rows", max(seq) AS head FROM ${LOG_TABLE}`).get() as never;
    db.exec(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5500)
      INSERT OR IGNORE INTO t SELECT i, 'a' FROM n`);
    expect(log().rows).toBeGreaterThanOrEqual(2_000);
    expect(log()).toEqual({ rows: expect.any(Number), head: 5_501 });
    expect(log().rows).toBeLessThan(3_001);
    for (let i = 0; i < 5_500; i++) db.prepare('INSERT OR REPLACE INTO t VALUES (?, ?)').run(BigInt(i), 'b');
    expect(log().rows).toBeLessThan(3_001);
    expect(log().head).toBeGreaterThan(11_000);
  });

  it('takes an index for every look at a conflict', async () => {
    const { db, plan } = await captured(SCHEMA);
    for (const trigger of db
      .prepare(`SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name LIKE '%insert_conflict%'`)
      .pluck()
      .all() as string[]) {
      const select = trigger
        .slice(trigger.indexOf('SELECT'), trigger.lastIndexOf(';'))
        .replaceAll(/NEW\./g, ':x || ');
      const plan = db.prepare(`EXPLAIN QUERY PLAN ${select.replaceAll(/:x \|\| ("[^"]*")/g, '7')}`).all();
      const table = /FROM "(\w+)" WHERE/.exec(select)![1]!;
      expect(plan.map((step) => (step as { detail: string }).detail)).not.toContain(`SCAN ${table}`);
    }
    expect(plan.tables).toHaveLength(TARGETS.length);
  });
});
