import { brief, column, planOf, table } from './support/plan.ts';

/** Kind of a column of this type that holds these SQL values. */
async function kindOf(declared: string, values: string[], rest = ''): Promise<string> {
  const rows = values.map((value, i) => `INSERT INTO t VALUES (${i + 1}, ${value});`).join(' ');
  const plan = await planOf(`CREATE TABLE t (id INTEGER PRIMARY KEY, c ${declared} ${rest}); ${rows}`);
  const blocked = brief(plan.blockers);
  return blocked.length > 0 ? blocked.join('; ') : column(plan, 't', 'c').kind;
}

describe('kinds of columns', () => {
  it.each<[string, string[], string]>([
    // INTEGER affinity
    ['INTEGER', ['1', '-9223372036854775808', 'NULL'], 'bigint'],
    ['INT', [], 'bigint'],
    ['INTEGER', ['1', '1.5'], 'numeric'],
    ['INTEGER', ['1', '0.1 + 0.2'], 'double'],
    ['INTEGER', [`'abc'`, `'def'`], 'text'],
    ['INTEGER', [`x'00'`], 'bytea'],
    // REAL affinity
    ['REAL', ['1', '2.5', '9e999', '-9e999', '5e-324'], 'double'],
    ['FLOAT', [], 'double'],
    ['DOUBLE', [`'abc'`], 'text'],
    // TEXT affinity
    ['TEXT', [`'a'`, '5', `''`], 'text'],
    ['VARCHAR(2)', [`'longer than two'`], 'text'],
    ['TEXT', [`x'00ff'`], 'bytea'],
    // no affinity
    ['BLOB', [`x'00'`, 'NULL'], 'bytea'],
    ['BLOB', [], 'bytea'],
    ['BLOB', [`'text'`], 'text'],
    ['BLOB', ['5'], 'bigint'],
    ['BLOB', ['5.0'], 'double'],
    ['', [], 'text'],
    ['', ['5'], 'bigint'],
    ['', ['5.0', '-0.0'], 'double'],
    ['', [`x''`], 'bytea'],
    // NUMERIC affinity
    ['NUMERIC(10,2)', ['1', '9.99', '-0.01', '0'], 'numeric'],
    ['DECIMAL', ['9223372036854775807'], 'numeric'],
    // Fewer digits than 15 write it: a key would be looked for by another decimal than the one that was copied.
    ['DECIMAL', ['5e-324', '0.5'], 'double'],
    ['DECIMAL', ['2.3e-308', '0'], 'numeric'],
    ['DECIMAL', ['0.1 + 0.2'], 'double'],
    ['DECIMAL', ['1', '1.0 / 3'], 'double'],
    ['DECIMAL', ['1e300', '1'], 'double'],
    ['DECIMAL', [`'n/a'`], 'text'],
    ['DECIMAL(5,2)', [], 'numeric'],
    ['number', [], 'numeric'],
    ['UUID', [], 'text'],
    ['time', [], 'text'],
    ['STRING', [], 'text'],
    ['STRING', [`'abc'`], 'text'],
    ['STRING', [`'007'`], 'numeric'],
    ['BOOLEAN', ['0', '1', 'NULL'], 'boolean'],
    ['BOOL', [], 'boolean'],
    ['BOOLEAN', ['0', '2'], 'numeric'],
    ['BOOLEAN', [`'true'`, `'false'`], 'text'],
    ['DATETIME', [`'2024-01-31 12:00:00'`, 'NULL'], 'timestamp'],
    ['TIMESTAMP', [`'2024-01-31 12:00:00'`, `'2024-01-31'`], 'text'],
    ['DATETIME', [`'2024-01-31T12:00:00Z'`], 'timestamptzT'],
    ['DATETIME', [`'2024-01-31 12:00:00.123'`, `'2024-01-31 12:00:00.000'`], 'timestamp3'],
    ['DATETIME', [`'2024-01-31 12:00:00.123'`, `'2024-01-31 12:00:00'`], 'text'],
    ['DATETIME', [`'2024-01-31 12:00:00.123456'`], 'timestamp6'],
    ['TIMESTAMP', [`'2024-01-31T12:00:00'`], 'timestampT'],
    ['TIMESTAMP', [`'2024-01-31 12:00:00+00:00'`], 'timestamptzOffset'],
    ['TIMESTAMP', [`'2024-01-31 12:00:00+02:00'`, `'2024-07-31 12:00:00+02:00'`], 'text'],
    ['TIMESTAMP', [`'2024-01-31 12:00:00+00:00'`, `'2024-07-31 12:00:00+02:00'`], 'text'],
    ['TIMESTAMP', [`'2024-01-31 12:00:00-00:00'`], 'text'],
    ['TIMESTAMP', [`'2024-01-31 12:00:00.12'`], 'text'],
    ['TIMESTAMP', [`'2024-01-31T12:00:00.000Z'`, 'NULL'], 'timestamptz'],
    ['DATETIME', [`'2024-01-31T12:00:00.000Z'`, `'2024-01-31 12:00:00'`], 'text'],
    ['DATETIME', [`'0000-01-01T12:00:00.000Z'`], 'text'],
    ['DATETIME', [`'2024-01-31T12:00:00.000Z' || char(0)`], 'mixed'],
    ['DATETIME', [`'2024-01-31T12:00:00.000Z'`, '1700000000000'], 'mixed'],
    ['DATETIME', ['1700000000'], 'bigint'],
    ['DATETIME', ['2460000.5'], 'numeric'],
    ['DATETIME', [], 'text'],
    ['DATE', [`'2024-01-31'`], 'date'],
    ['DATE', [`'2024-01-31 00:00:00'`], 'text'],
    ['DATE', [], 'text'],
    ['JSON', [`'{"b": 1, "a": [null]}'`, `'"x"'`], 'json'],
    ['JSON', [`'{b:1}'`], 'text'],
    ['JSON', [], 'json'],
    // several classes
    ['INTEGER', ['1', '2', `'x'`], 'mixed'],
    ['TEXT', [`'x'`, `x'01'`, `x'02'`], 'mixed'],
    ['DATETIME', ['1700000000', `'2024-01-31 12:00:00'`], 'mixed'],
    ['JSON', [`'{}'`, '5'], 'mixed'],
    ['', ['5', '5.0', '6.0'], 'mixed'],
    ['DECIMAL', ['9007199254740993', '0.1 + 0.2'], 'mixed'],
    ['DECIMAL', ['-9223372036854775808', '1.5'], 'numeric'],
    ['', ['5', `'a' || char(0)`], 'mixed'],
    ['TEXT', [`'a' || char(0)`, `'b'`], 'mixed'],
    ['TEXT', [`CAST(x'ff' AS TEXT)`, `'b'`], 'mixed'],
  ])('%s with %j: %s', async (declared, values, kind) => {
    expect(await kindOf(declared, values)).toBe(kind);
  });

  it.each<[string, string, string[], string]>([
    ['DATETIME', 'DEFAULT CURRENT_TIMESTAMP', [], 'timestamp'],
    ['DATETIME', `DEFAULT (datetime('now'))`, [], 'timestamp'],
    ['DATETIME', `DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now'))`, [], 'timestamp3'],
    ['DATETIME', `DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))`, [], 'timestamptz'],
    ['DATETIME', 'DEFAULT CURRENT_TIMESTAMP', [`'2024-01-31T12:00:00.000Z'`], 'text'],
    ['DATE', 'DEFAULT CURRENT_DATE', [], 'date'],
    ['DATE', 'DEFAULT CURRENT_TIMESTAMP', [], 'text'],
    // The default is a value like any other.
    ['DATETIME', `DEFAULT ''`, [`'2024-01-31 12:00:00'`], 'text'],
    ['DATETIME', `DEFAULT '1970-01-01 00:00:00'`, [`'2024-01-31 12:00:00'`], 'timestamp'],
    ['BOOLEAN', `DEFAULT 'false'`, [], 'text'],
    ['BOOLEAN', `DEFAULT FALSE`, [], 'boolean'],
    ['', 'DEFAULT 0', [], 'bigint'],
    ['JSON', `DEFAULT '{}'`, [], 'json'],
    ['JSON', `DEFAULT ''`, [`'{}'`], 'text'],
  ])('%s %s with %j: %s', async (declared, clause, values, kind) => {
    expect(await kindOf(declared, values, clause)).toBe(kind);
  });

  it('says why', async () => {
    const plan =
      await planOf(`CREATE TABLE t (id INTEGER PRIMARY KEY, paid BOOLEAN, at DATETIME DEFAULT CURRENT_TIMESTAMP, x);
      INSERT INTO t (paid) VALUES (1), (0); UPDATE t SET at = NULL`);
    expect(table(plan, 't').columns.map(({ name, targetType, why }) => [name, targetType, why])).toEqual([
      ['id', 'bigint', 'holds only integers (2 values); declared INTEGER; numbered by the target'],
      ['paid', 'boolean', 'holds only 0 and 1 (2 values); declared BOOLEAN'],
      ['at', 'timestamp', 'no values yet; declared DATETIME, default CURRENT_TIMESTAMP'],
      ['x', 'text', 'no values yet; no declared type'],
    ]);
  });

  it('never mixes reals with others in a key, whose rows are found by their text', async () => {
    const blocked = async (sql: string): Promise<string[]> => brief((await planOf(sql)).blockers);
    expect(
      await blocked(`CREATE TABLE t (c NOT NULL PRIMARY KEY); INSERT INTO t VALUES (1), ('x'), ('y')`),
    ).toEqual([]);
    expect(
      await blocked(`CREATE TABLE t (c NOT NULL PRIMARY KEY); INSERT INTO t VALUES (0.5), ('x'), ('y')`),
    ).toEqual(['mixed-classes t.c 1']);
    expect(
      await blocked(
        `CREATE TABLE t (c DECIMAL NOT NULL PRIMARY KEY); INSERT INTO t VALUES (9007199254740993), (0.1 + 0.2)`,
      ),
    ).toEqual(['inexact-number t.c 1']);
  });

  it('never makes a column json that must be compared', async () => {
    const plan =
      await planOf(`CREATE TABLE t (id JSON PRIMARY KEY, tags JSON UNIQUE, rest JSON, e JSON); CREATE INDEX i ON t (rest);
      INSERT INTO t VALUES ('{}', '[]', '[1]', '[2]')`);
    expect(table(plan, 't').columns.map((c) => c.kind)).toEqual(['text', 'text', 'text', 'json']);
  });
});

describe('the two sides of a foreign key', () => {
  it('take one type, either’s', async () => {
    const plan = await planOf(`
      CREATE TABLE p (code NUMERIC PRIMARY KEY, alt NUMERIC UNIQUE); INSERT INTO p VALUES (1, 7), (2.5, 8);
      CREATE TABLE c (id INTEGER PRIMARY KEY, code INT REFERENCES p, alt INT REFERENCES p (alt), empty DATETIME REFERENCES p (alt));
      INSERT INTO c (code, alt) VALUES (1, 7)`);
    expect(brief(plan.blockers)).toEqual([]);
    expect(table(plan, 'p').columns.map((c) => c.kind)).toEqual(['numeric', 'numeric']);
    expect(table(plan, 'c').columns.map((c) => c.kind)).toEqual(['bigint', 'numeric', 'numeric', 'numeric']);
  });
});

describe('what the census found', () => {
  it('stands beside every column', async () => {
    const plan =
      await planOf(`CREATE TABLE t (id INTEGER PRIMARY KEY, price DECIMAL(6,2), name VARCHAR(4), at DATETIME, double AS (id * 2));
      INSERT INTO t VALUES (1, 0.5, 'Ada', '2024-01-01T00:00:00Z'), (2, NULL, 'Grace', '2024-01-01'), (3, 12345, NULL, NULL)`);
    const census = (name: string): unknown => column(plan, 't', name).census;
    expect(census('id')).toEqual({ integers: 3, least: '1', greatest: '3' });
    expect(census('price')).toEqual({ integers: 1, reals: 1, nulls: 1, least: '0.5', greatest: '12345' });
    expect(census('name')).toEqual({ texts: 2, nulls: 1, longestBytes: 5, longestCharacters: 5 });
    expect(census('at')).toEqual({
      texts: 2,
      nulls: 1,
      dateForms: { 'YYYY-MM-DDTHH:MM:SSZ': 1, 'YYYY-MM-DD': 1 },
    });
    expect(table(plan, 't').generated![0]!.census).toEqual({
      integers: 3,
      least: '2',
      greatest: '6',
      longestBytes: 1,
    });
  });
});

describe('declared limits that the data break', () => {
  it.each<[string, string, number, string[], string]>([
    [
      'VARCHAR(3)',
      `'abc'), ('éé🎉'), ('abcd'), (NULL), ('x' || char(0) || 'yz'), ('12345'), (x'0102030405'`,
      2,
      ['3', '6'],
      'longer-than-declared',
    ],
    ['character (2)', `'ab'), (123), ('abc'`, 2, ['2', '3'], 'longer-than-declared'],
    [
      'DECIMAL(5,2)',
      `999.99), (-999.99), (1000), (0.125), (-1e9), (0.1`,
      3,
      ['3', '4', '5'],
      'more-digits-than-declared',
    ],
    ['NUMERIC(3)', `999), (1000), (-999), (1.5`, 2, ['2', '4'], 'more-digits-than-declared'],
  ])('%s', async (declared, values, count, keys, code) => {
    const plan = await planOf(
      `CREATE TABLE t (id INTEGER PRIMARY KEY, v ${declared}); INSERT INTO t (v) VALUES (${values})`,
    );
    expect(plan.blockers).toEqual([]);
    const found = plan.notices.find((notice) => notice.code === code);
    expect(found).toMatchObject({ table: 't', column: 'v', count, keys });
    expect(found!.message).toContain(`is declared ${declared}, and ${count} of its`);
  });

  it.each([
    ['VARCHAR(3)', `'abc'), ('é🎉é'`],
    ['DECIMAL(5,2)', `999.99), (0.07), (999), (-0.5`],
    ['DECIMAL(30,20)', '1e9'],
    ['INT(1)', '12345'],
    ['TEXT', `'any'`],
  ])('%s says nothing of values within', async (declared, values) => {
    const plan = await planOf(
      `CREATE TABLE t (id INTEGER PRIMARY KEY, v ${declared}); INSERT INTO t (v) VALUES (${values})`,
    );
    expect(brief(plan.notices)).toEqual([]);
  });
});
