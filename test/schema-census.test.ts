import Database from 'better-sqlite3';
import { tableFacts, type ColumnFacts, type TableFacts } from '../src/databases/sqlite/census.ts';
import { findOrphans } from '../src/databases/sqlite/orphans.ts';
import { rangesOf } from '../src/databases/sqlite/ranges.ts';
import { readSchema, type SourceTable } from '../src/databases/sqlite/schema.ts';

let db: Database.Database;
beforeEach(() => {
  db = new Database(':memory:');
});
afterEach(() => {
  db.close();
});

function source(name: string): SourceTable {
  return readSchema(db).tables.find((table) => table.name === name)!;
}

function facts(name: string): Promise<TableFacts> {
  return tableFacts(db, source(name));
}

/** The counts of a column that are not 0. */
function found(all: TableFacts, column: string): Partial<ColumnFacts> {
  const {
    longest: _bytes,
    longestText: _length,
    least: _least,
    greatest: _greatest,
    forms: _forms,
    ...counts
  } = all.columns.get(column)!;
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count !== 0));
}

describe('tableFacts', () => {
  it('counts storage classes whatever a column declares', async () => {
    db.exec(`CREATE TABLE t (i INTEGER, r REAL, x TEXT, b BLOB, n NUMERIC, u);
      INSERT INTO t VALUES (1, 1, 1, 1, 1, 1), ('x', 'x', 'x', 'x', 'x', 'x'), (1.5, 1.5, 1.5, 1.5, 1.5, 1.5),
        (x'00', x'00', x'00', x'00', x'00', x'00'), (NULL, NULL, NULL, NULL, NULL, NULL)`);
    const all = await facts('t');
    expect(all.rows).toBe(5);
    expect(found(all, 'i')).toEqual({ integers: 1, reals: 1, decimals: 1, texts: 1, blobs: 1, nulls: 1 });
    expect(found(all, 'r')).toEqual({ reals: 2, texts: 1, blobs: 1, nulls: 1 });
    expect(found(all, 'x')).toEqual({ texts: 3, blobs: 1, nulls: 1 });
    expect(found(all, 'b')).toEqual({ integers: 1, reals: 1, texts: 1, blobs: 1, nulls: 1 });
    expect(found(all, 'n')).toEqual({ integers: 1, reals: 1, decimals: 1, texts: 1, blobs: 1, nulls: 1 });
    expect(found(all, 'u')).toEqual(found(all, 'b'));
  });

  it('knows real dates from texts that look like them', async () => {
    db.exec('CREATE TABLE t (at DATETIME, day DATE)');
    const insert = db.prepare('INSERT INTO t VALUES (?, ?)');
    const good: [string, string][] = [
      ['2024-02-29 23:59:59', '2024-02-29'],
      ['0001-01-01 00:00:00', '0001-01-01'],
      ['9999-12-31 23:59:59', '9999-12-31'],
    ];
    const bad: [string, string][] = [
      ['2023-02-29 00:00:00', '2023-02-29'],
      ['2024-01-01T00:00:00', '2024-01-01 00:00:00'],
      ['2024-01-01 00:00:00.5', '2024-1-1'],
      ['2024-01-01 24:00:00', '2024-13-01'],
      ['0000-01-01 00:00:00', '0000-01-01'],
      ['now', 'now'],
      ['2024-01-01 00:00:00 ', '2024-01-01 '],
      ['2024-01-01 00:00:00\0', '2024-01-01\0'],
    ];
    for (const row of [...good, ...bad]) insert.run(...row);
    const all = await facts('t');
    expect(found(all, 'at')).toEqual({ texts: 11, timestamp: 3, nulTexts: 1 });
    expect(found(all, 'day')).toEqual({ texts: 11, dates: 3, nulTexts: 1 });
  });

  it('counts bits, JSON, exact decimals and integers beyond a double', async () => {
    db.exec(`CREATE TABLE t (b BOOLEAN, j JSON, n DECIMAL(10, 2));
      INSERT INTO t VALUES (0, '{"a": 1}', 0.1), (1, '[1,]', 1e15 / 3), (2, '"x"', 9007199254740993), ('yes', 'null', 9007199254740992),
        (NULL, NULL, 1e300), (NULL, '12', 1.5)`);
    const all = await facts('t');
    expect(found(all, 'b')).toEqual({ integers: 3, bits: 2, texts: 1, nulls: 2 });
    expect(found(all, 'j')).toEqual({ texts: 4, jsons: 3, integers: 1, nulls: 1 });
    expect(found(all, 'n')).toEqual({ integers: 2, beyondDouble: 1, reals: 4, decimals: 2, inScale: 2 });
  });

  it('finds NUL and broken UTF-8 in texts short and long, beside values that only contain such bytes as blobs', async () => {
    db.exec(`CREATE TABLE t (x TEXT, y TEXT);
      INSERT INTO t VALUES ('fine', 'ö'), (char(0), 'a' || char(0) || 'b'), (CAST(x'ff' AS TEXT), CAST(x'c3' AS TEXT)),
        (CAST(x'eda080' AS TEXT), x'00ff')`);
    let all = await facts('t');
    expect(found(all, 'x')).toEqual({ texts: 4, nulTexts: 1, invalidTexts: 2 });
    expect(found(all, 'y')).toEqual({ texts: 3, blobs: 1, nulTexts: 1, invalidTexts: 1 });
    // So large that the texts are looked at one by one.
    db.prepare('INSERT INTO t VALUES (?, ?)').run('x'.repeat(9_000_000), `${'y'.repeat(100)}\0`);
    all = await facts('t');
    expect(found(all, 'x')).toEqual({ texts: 5, nulTexts: 1, invalidTexts: 2 });
    expect(found(all, 'y')).toEqual({ texts: 4, blobs: 1, nulTexts: 2, invalidTexts: 1 });
    expect(all.largestRow).toBe(9_000_101);
  });

  it('counts every row once, in many steps, and gives way between them', async () => {
    db.exec(`CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT, generated AS (x || 'y'));
      WITH RECURSIVE c (i) AS (SELECT -20000 UNION ALL SELECT i + 3 FROM c WHERE i < 40000) INSERT INTO t SELECT i, 'v' || i FROM c;
      INSERT INTO t VALUES (-9223372036854775808, 'first'), (9223372036854775807, 'last')`);
    let turns = 0;
    const turn = setInterval(() => turns++, 0);
    const steps: number[] = [];
    const all = await tableFacts(db, source('t'), { onRows: (rows) => steps.push(rows) }).finally(() =>
      clearInterval(turn),
    );
    expect(all.rows).toBe(20_003);
    expect(steps.reduce((sum, rows) => sum + rows, 0)).toBe(20_003);
    expect(Math.max(...steps)).toBeLessThanOrEqual(5_000);
    expect(turns).toBeGreaterThan(1);
    expect([...all.columns.keys()]).toEqual(['id', 'x']);
    expect(found(all, 'id')).toEqual({ integers: 20_003 });
    expect(found(all, 'x')).toEqual({ texts: 20_003 });
  });

  it('finds the least and greatest number, the longest value and the forms of dates, over many steps', async () => {
    db.exec(`CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, r REAL, u, v VARCHAR(3), at DATETIME, day DATE);
      WITH RECURSIVE i (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < 12000)
        INSERT INTO t SELECT x, x - 6000, x / 8.0, NULL, 'ab', '2024-01-01 00:00:00', '2024-01-01' FROM i;
      UPDATE t SET n = 'zzz', r = 'zzz', u = 5, v = 'é🎉é🎉', at = '2024-01-01T00:00:00.5Z', day = '1/2/2024' WHERE id = 7;
      UPDATE t SET n = x'00', u = -1.5, at = 1700000000, day = NULL WHERE id = 8;
      UPDATE t SET n = -9223372036854775808, r = -9e999, u = 'text', at = '2024-01-01T00:00:00+02:00' WHERE id = 9000;
      UPDATE t SET n = 9223372036854775807, r = 9e999, u = x'0102', at = 'tomorrow' WHERE id = 11000`);
    const { columns } = await facts('t');
    const bounds = (name: string): unknown[] => [columns.get(name)!.least, columns.get(name)!.greatest];
    expect(bounds('id')).toEqual([1n, 12_000n]);
    expect(bounds('n')).toEqual([-(2n ** 63n), 2n ** 63n - 1n]);
    expect(bounds('r')).toEqual([-Infinity, Infinity]);
    expect(bounds('u')).toEqual([-1.5, 5n]);
    expect(bounds('v')).toEqual([null, null]);
    expect(bounds('at')).toEqual([1_700_000_000n, 1_700_000_000n]);
    expect([columns.get('v')!.longest, columns.get('v')!.longestText]).toEqual([12, 4]);
    expect(Object.fromEntries(columns.get('at')!.forms)).toEqual({
      'YYYY-MM-DD HH:MM:SS': 11_996,
      'YYYY-MM-DDTHH:MM:SS.SZ': 1,
      'YYYY-MM-DDTHH:MM:SS±HH:MM': 1,
      aaaaaaaa: 1,
    });
    expect(Object.fromEntries(columns.get('day')!.forms)).toEqual({ 'YYYY-MM-DD': 11_998, '9/9/9999': 1 });
  });

  it('tells ten forms of dates apart, and that there are more', async () => {
    db.exec(`CREATE TABLE t (at TIMESTAMP);
      WITH RECURSIVE i (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < 20)
        INSERT INTO t SELECT '2024-01-01 00:00:00.' || substr('00000000000000000000', 1, x) FROM i`);
    const forms = (await facts('t')).columns.get('at')!.forms;
    expect(forms.size).toBe(11);
    expect(forms.get('other')).toBe(10);
  });

  it('handles a table without rows, and one with a thousand columns', async () => {
    const wide = Array.from({ length: 1_000 }, (_, i) => `c${i}`);
    db.exec(
      `CREATE TABLE empty (a); CREATE TABLE wide (${wide.join(', ')}); INSERT INTO wide (c0, c999) VALUES (1, 'x'), (2, 'yz')`,
    );
    expect((await facts('empty')).rows).toBe(0);
    const all = await facts('wide');
    expect([all.rows, all.largestRow]).toEqual([2, 3]);
    expect(found(all, 'c0')).toEqual({ integers: 2 });
    expect(found(all, 'c500')).toEqual({ nulls: 2 });
    expect(found(all, 'c999')).toEqual({ texts: 2 });
  });
});

describe('rangesOf', () => {
  function walk(name: string, limit: number): number {
    const ranges = rangesOf(db, source(name));
    let rows = 0;
    for (let range = ranges.next(limit); range !== null; range = ranges.next(limit)) {
      const n = db
        .prepare(`SELECT count(*) FROM "${name}" t WHERE ${range.condition}`)
        .pluck()
        .get(...range.parameters) as number;
      expect(n).toBeLessThanOrEqual(limit);
      rows += n;
    }
    return rows;
  }

  it('walks a key of mixed storage classes, broken UTF-8 included, by the whole tuple', () => {
    db.exec(`CREATE TABLE w (a, b TEXT COLLATE NOCASE, PRIMARY KEY (a, b DESC)) WITHOUT ROWID;
      INSERT INTO w VALUES (1, 'a'), (1, 'b'), (1.5, 'a'), ('1', 'a'), ('1', 'B'), (CAST(x'ff' AS TEXT), 'a'), (CAST(x'ff' AS TEXT), 'b'),
        (CAST(x'fe' AS TEXT), 'c'), (x'', ''), (x'ff', 'z'), (9007199254740993, 'a'), (9007199254740992, 'a'), ('a' || char(0), 'x'), ('a', 'x')`);
    for (const limit of [1, 2, 3, 5, 100]) expect(walk('w', limit)).toBe(14);
  });

  it('walks a table whose columns hide names of the rowid', () => {
    db.exec(
      `CREATE TABLE h (rowid TEXT, "_ROWID_" TEXT); INSERT INTO h VALUES ('z', 'z'), ('a', 'a'), ('m', NULL)`,
    );
    expect(walk('h', 1)).toBe(3);
  });

  it('ends at the rows of its beginning, however fast others are added', () => {
    db.exec(
      'CREATE TABLE r (x); CREATE TABLE w (k INT PRIMARY KEY) WITHOUT ROWID; INSERT INTO r VALUES (1), (2); INSERT INTO w VALUES (1), (2)',
    );
    for (const name of ['r', 'w']) {
      const ranges = rangesOf(db, source(name));
      let steps = 0;
      while (ranges.next(1) !== null && steps < 10) db.exec(`INSERT INTO ${name} VALUES (${++steps + 2})`);
      expect(steps).toBe(2);
    }
  });

  it('uses the key, so that a step costs the same anywhere in the table', () => {
    db.exec('CREATE TABLE w (a TEXT, b INT, PRIMARY KEY (a, b)) WITHOUT ROWID; CREATE TABLE r (x)');
    db.exec(`INSERT INTO w VALUES ('a', 1), ('a', 2), ('b', 1); INSERT INTO r VALUES (1), (2), (3)`);
    for (const name of ['w', 'r']) {
      const ranges = rangesOf(db, source(name));
      ranges.next(1);
      const range = ranges.next(1)!;
      const steps = db
        .prepare(`EXPLAIN QUERY PLAN SELECT count(*) FROM ${name} t WHERE ${range.condition}`)
        .all(...range.parameters) as { detail: string }[];
      expect(steps.map((step) => step.detail).join()).toMatch(/^SEARCH/);
    }
  });
});

describe('findOrphans', () => {
  it('counts as SQLite’s own check does', async () => {
    db.pragma('foreign_keys = OFF');
    db.exec(`CREATE TABLE p (a INT, b TEXT, PRIMARY KEY (a, b)); INSERT INTO p VALUES (1, 'x'), (2, 'y');
      CREATE TABLE c (a TEXT, b TEXT, FOREIGN KEY (a, b) REFERENCES p);
      INSERT INTO c VALUES ('1', 'x'), (2, 'y'), (2, 'x'), (NULL, 'gone'), (3, NULL), ('3', 'z'), ('1', 'X')`);
    const byPragma = db.pragma('foreign_key_check') as unknown[];
    const { count } = await findOrphans(db, source('c'), ['a', 'b'], source('p'), ['a', 'b']);
    expect(count).toBe(byPragma.length);
    expect(byPragma.length).toBe(3);
  });
});
