/** Findings about rows name the first of them, so that the operator can look at them. */
import Database from 'better-sqlite3';
import type { Finding } from '../src/contract.ts';
import { findRows } from '../src/databases/sqlite/find-rows.ts';
import { readSchema } from '../src/databases/sqlite/schema.ts';
import { planOf } from './support/plan.ts';

async function findings(sql: string): Promise<Finding[]> {
  const plan = await planOf(sql);
  return [...plan.blockers, ...plan.notices];
}

describe('the keys of a finding', () => {
  it.each<[string, string, string, number | undefined, string[]]>([
    [
      'orphans',
      `PRAGMA foreign_keys = OFF; CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (a TEXT, b INT REFERENCES p, PRIMARY KEY (a, b));
       INSERT INTO p VALUES (1); INSERT INTO c VALUES ('x', 1), ('it''s', 2), ('y', 3)`,
      'orphans',
      2,
      [`('it''s', 2)`, `('y', 3)`],
    ],
    [
      'NULL in a key',
      'CREATE TABLE t (a TEXT, b TEXT, PRIMARY KEY (a, b)); INSERT INTO t VALUES (1, 1), (NULL, 1), (2, 2), (NULL, NULL)',
      'null-in-key',
      2,
      ['rowid 2', 'rowid 4'],
    ],
    [
      'one text among integers',
      `CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER);
       WITH RECURSIVE i (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < 9000) INSERT INTO t SELECT x, x FROM i;
       UPDATE t SET n = 'many' WHERE id = 8765; UPDATE t SET n = 1.5 WHERE id = 4321`,
      'mixed-classes',
      2,
      ['4321', '8765'],
    ],
    [
      'texts that are not UTF-8, in a table without a key',
      `CREATE TABLE t (x TEXT); INSERT INTO t VALUES ('ö'), (CAST(x'ff' AS TEXT)), ('z')`,
      'invalid-utf8',
      1,
      ['rowid 2'],
    ],
    [
      'texts with a NUL, by a blob',
      `CREATE TABLE t (k BLOB PRIMARY KEY, x TEXT) WITHOUT ROWID; INSERT INTO t VALUES (x'00ff', 'a' || char(0)), (x'01', 'b')`,
      'nul-in-text',
      1,
      [`x'00ff'`],
    ],
    [
      'numbers that nothing holds exactly',
      'CREATE TABLE t (k TEXT PRIMARY KEY, n NUMERIC); INSERT INTO t VALUES (1, 9007199254740993), (2, 1e15 / 3), (3, 0.5)',
      'inexact-number',
      1,
      [`'2'`],
    ],
    [
      'rows that break a CHECK',
      `CREATE TABLE t (k TEXT PRIMARY KEY, n INT CHECK (n > 0)); PRAGMA ignore_check_constraints = ON;
       INSERT INTO t VALUES ('line' || char(10) || 'break', 0), ('ok', 1)`,
      'check-broken',
      1,
      [`'line\\x0abreak'`],
    ],
    [
      'a reference in another case',
      `CREATE TABLE p (a TEXT COLLATE NOCASE PRIMARY KEY); CREATE TABLE c (id INTEGER PRIMARY KEY, a TEXT REFERENCES p);
       INSERT INTO p VALUES ('Ada'); INSERT INTO c VALUES (1, 'Ada'), (2, 'ada'), (3, NULL)`,
      'nocase-parent',
      1,
      ['2'],
    ],
    [
      'values too long for an index',
      `CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT UNIQUE); INSERT INTO t VALUES (1, 'x'), (2, hex(zeroblob(2000)))`,
      'index-too-large',
      4000,
      ['2'],
    ],
  ])('%s', async (_, sql, code, count, keys) => {
    const found = (await findings(sql)).filter((finding) => finding.code === code);
    expect(found[0]).toMatchObject({ count, keys });
    expect(found[0]!.message).toMatch(/; (first )?keys? [^\n]+$/);
    expect(found[0]!.message.endsWith(keys.join(', '))).toBe(true);
  });

  it('are five at most, each short, and the message tells that there are more', async () => {
    const [first] = await findings(`CREATE TABLE t (k TEXT PRIMARY KEY, n INTEGER);
      WITH RECURSIVE i (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < 99) INSERT INTO t SELECT x || hex(zeroblob(500)), x FROM i;
      INSERT INTO t SELECT 'a' || k, 'text' FROM t WHERE n <= 50`);
    expect(first).toMatchObject({ code: 'mixed-classes', count: 50 });
    expect(first!.keys).toHaveLength(5);
    for (const key of first!.keys!) expect(key.length).toBeLessThan(50);
    expect(first!.message).toContain('; first keys ');
  });
});

it('findRows stops where it has enough', async () => {
  const db = new Database(':memory:');
  try {
    db.exec(`CREATE TABLE t (id INTEGER PRIMARY KEY);
      WITH RECURSIVE i (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < 50000) INSERT INTO t SELECT x FROM i`);
    const table = readSchema(db).tables[0]!;
    expect(await findRows(db, table, 't.id > 3')).toEqual({ count: 49_997, keys: ['4', '5', '6', '7', '8'] });
    const some = await findRows(db, table, 't.id > 3', 2);
    expect(some.count).toBeLessThan(5_000);
    expect(await findRows(db, table, 't.id < 0')).toEqual({ count: 0, keys: [] });
  } finally {
    db.close();
  }
});
