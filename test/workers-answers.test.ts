import { DatabaseConnection } from '../src/workers/index.ts';
import { d1Statement } from '../src/workers/statements.ts';
import { WorkersPair } from './support/workers/pair.ts';

let pair: WorkersPair;

beforeAll(async () => {
  pair = await WorkersPair.create();
  await pair.startMigration();
  await pair.d1('CREATE TABLE kinds (id INTEGER PRIMARY KEY, t TEXT, i INTEGER, r REAL, x, b BLOB)');
});

afterAll(() => pair.close());

const query = (sql: string, ...params: never[]): Promise<unknown> => pair.run({ do: 'query', sql, params });

describe('parameters of D1', () => {
  it('arrive as what they are', async () => {
    const given = [
      5,
      2 ** 53 - 1,
      -(2n ** 63n),
      2n ** 63n - 1n,
      true,
      5.5,
      1e300,
      Infinity,
      -Infinity,
      NaN,
      -0,
      'x',
      null,
    ];
    const [row] = (await pair.run({
      do: 'query',
      sql: `SELECT ${given.map((_, i) => `typeof(?${i + 1}) || ' ' || coalesce(?${i + 1}, '') AS c${i}`).join(', ')}`,
      params: given,
    })) as Record<string, string>[];
    expect(Object.values(row!)).toEqual([
      'integer 5',
      'integer 9007199254740991',
      'integer -9223372036854775808',
      'integer 9223372036854775807',
      'integer 1',
      'real 5.5',
      'real 1.0e+300',
      'real Inf',
      'real -Inf',
      'null ',
      expect.stringMatching(/^real -?0\.0$/),
      'text x',
      'null ',
    ]);
  });

  it('are stored by the column, integers never as reals', async () => {
    const sql = 'INSERT INTO kinds (t, i, r, x, b) VALUES (?, ?, ?, ?, ?)';
    await pair.run({ do: 'write', sql, params: [5, 5, 5, 5, Buffer.from([0, 255])] });
    expect(await query('SELECT t, i, r, typeof(r) AS type_r, x, typeof(x) AS type_x, b FROM kinds')).toEqual([
      { t: '5', i: 5, r: 5, type_r: 'real', x: 5, type_x: 'integer', b: Buffer.from([0, 255]) },
    ]);
    await pair.d1('DELETE FROM kinds');
  });

  it('find a text by its index, as a bound value does', async () => {
    await pair.d1(`INSERT INTO kinds (t) VALUES ('5'), ('05')`, 'CREATE INDEX kinds_t ON kinds (t)');
    const sql = 'SELECT t FROM kinds WHERE t = ?';
    expect(await pair.run({ do: 'query', sql, params: [5] })).toEqual([{ t: '5' }]);
    const plan = (await pair.run({ do: 'query', sql: `EXPLAIN QUERY PLAN ${sql}`, params: [5] })) as {
      detail: string;
    }[];
    expect(plan[0]!.detail).toMatch(/kinds_t/);
    await pair.d1('DELETE FROM kinds');
  });

  it('order by no column, because they are values', async () => {
    await pair.d1('INSERT INTO kinds (id, i) VALUES (1, 2), (2, 1)');
    const sql = 'SELECT id, i FROM kinds ORDER BY ?, id LIMIT ?';
    expect(await pair.run({ do: 'query', sql, params: [2, 2] })).toEqual([
      { id: 1, i: 2 },
      { id: 2, i: 1 },
    ]);
    await pair.d1('DELETE FROM kinds');
  });

  it('are found outside of everything that only looks like a placeholder', () => {
    const text = `SELECT '?''?', "?""?", [?], \`?\`, a$1, /* ? -- ' */ ? -- ?'\n, $2, ?1, 'x'||? /* ?`;
    expect(d1Statement(text, [1, 'b', 2n])).toEqual({
      text: `SELECT '?''?', "?""?", [?], \`?\`, a$1, /* ? -- ' */ (+CAST(?1 AS INTEGER)) -- ?'\n, ?2, (+CAST(?1 AS INTEGER)), 'x'||(+CAST(?3 AS INTEGER)) /* ?`,
      values: ['1', 'b', '2'],
    });
    expect(d1Statement({ sqlite: 'SELECT ?3', postgres: 'SELECT $1' }, ['a', 'b', 'c']).values).toHaveLength(
      3,
    );
  });

  it.each([
    ['SELECT ?', [], /1 parameter, and 0/],
    ['SELECT 1', [1], /0 parameters, and 1/],
    ['SELECT ?', [2n ** 63n], /beyond 64 bits/],
    ['SELECT ?', [undefined], /parameter 1 is undefined/],
    ['SELECT ?', [new Date()], /a Date/],
    ['SELECT :a', { a: 1 }, /no array/],
    [' -- x\n BEGIN', [], /batch\(\)/],
  ])('refuses %s with %p', (sql, params, message) => {
    expect(() => d1Statement(sql, params as never)).toThrow(message);
  });
});

describe('rows of D1', () => {
  it('have every integer exact, with the columns beside it', async () => {
    await pair.d1(
      `INSERT INTO kinds VALUES (1, 'i5', 9007199254740993, 0.1, 9223372036854775807, x'00ff'), (2, NULL, -9223372036854775808, 9007199254740994.0, 7, NULL)`,
    );
    expect(
      await pair.run({
        do: 'query',
        sql: 'SELECT * FROM kinds WHERE i <> ? ORDER BY id DESC; ',
        params: [0],
      }),
    ).toEqual([
      { id: 2, t: null, i: -(2n ** 63n), r: 9007199254740994, x: 7, b: null },
      { id: 1, t: 'i5', i: 9007199254740993n, r: 0.1, x: 2n ** 63n - 1n, b: Buffer.from([0, 255]) },
    ]);
    expect(await query('SELECT i AS "2", 1 AS "1", 3 AS "c""q" FROM kinds WHERE id = 1 -- x')).toEqual([
      { '1': 1, '2': 9007199254740993n, 'c"q': 3 },
    ]);
    await expect(
      query('SELECT i AS a, 1 AS a FROM kinds WHERE id = 1 UNION SELECT 1, i FROM kinds'),
    ).rejects.toMatchObject({
      message: expect.stringMatching(/give each a name of its own/),
      code: 'SQLITE_MISMATCH',
    });
    await pair.d1('DELETE FROM kinds');
  });

  it('are counted without those that triggers change', async () => {
    expect(
      await pair.run({
        do: 'batch',
        operations: [
          { sql: 'INSERT INTO items VALUES (?, ?, ?), (11, NULL, NULL)', params: [10, 'x', 1] },
          { sql: 'UPDATE items SET n = 2 WHERE id >= 10 RETURNING id' },
          { sql: 'SELECT 1 AS one' },
          { sql: 'UPDATE items SET n = 2 WHERE id = 99' },
          { sql: 'DELETE FROM items WHERE id = 11' },
          { sql: 'CREATE TABLE IF NOT EXISTS another (id)' },
        ],
      }),
    ).toEqual([
      { changes: 2, rows: [] },
      { changes: 2, rows: [{ id: 10 }, { id: 11 }] },
      { changes: 0, rows: [{ one: 1 }] },
      { changes: 0, rows: [] },
      { changes: 1, rows: [] },
      { changes: 0, rows: [] },
    ]);
    await pair.d1('DELETE FROM items');
  });
});

describe('a batch', () => {
  const operations = [
    { sql: 'INSERT INTO items VALUES (20, NULL, NULL)' },
    { sql: 'INSERT INTO items VALUES (20, NULL, NULL)' },
  ];

  it('is done as a whole or not at all, on both databases', async () => {
    await expect(pair.run({ do: 'batch', operations })).rejects.toMatchObject({
      code: 'SQLITE_CONSTRAINT_PRIMARYKEY',
      message: expect.stringMatching(/^UNIQUE constraint failed: items.id/),
    });
    expect(await pair.sourceItems()).toEqual([]);
    const cut = await WorkersPair.create();
    try {
      await cut.startMigration();
      await cut.replay();
      await cut.move();
      await expect(cut.run({ do: 'batch', operations })).rejects.toMatchObject({ code: '23505' });
      expect(await cut.targetItems()).toEqual([]);
      // The one kind of transaction that D1 has not.
      const step = {
        do: 'transaction',
        sql: 'INSERT INTO items VALUES (?, ?, ?)',
        params: [1, 'x', 2],
      } as const;
      expect(await cut.run(step)).toEqual({ changes: 1, rows: [] });
      expect(await cut.targetItems()).toEqual([{ id: 1, name: 'x', n: 2 }]);
    } finally {
      await cut.close();
    }
  });
});

describe('what D1 cannot do', () => {
  it('is refused with what to do instead', async () => {
    await expect(pair.run({ do: 'transaction', sql: 'SELECT 1' })).rejects.toMatchObject({
      code: 'InvalidInput',
      message: expect.stringMatching(/use batch\(\) while D1 is the primary/),
    });
    await expect(query('DELETE FROM items RETURNING id')).rejects.toMatchObject({
      code: 'InvalidInput',
      message: expect.stringMatching(/use write\(\)/),
    });
    const session = { prepare: () => undefined, batch: () => undefined, getBookmark: () => null };
    const options = { source: session as never, ctx: { waitUntil: () => undefined } };
    expect(() => new DatabaseConnection(options)).toThrow(/give the binding itself/);
  });
});

describe('a write whose answer D1 did not give', () => {
  const step = { do: 'write', sql: 'INSERT INTO items VALUES (?, NULL, NULL)', params: [30] } as const;
  const lost = 'D1_ERROR: Network connection lost.';

  it.each([true, false])('is not sent again (applied: %p)', async (after) => {
    // The first batch of a request that knows its route is the write's.
    await query('SELECT 1 AS one');
    const { results, alerts, batches } = await pair.send({
      steps: [step],
      options: { cacheMs: 60_000 },
      d1Fails: { batch: 0, after, message: lost },
    });
    expect(results[0]!.error).toMatchObject({
      code: 'OutcomeUnknown',
      message: expect.stringMatching(/Network connection lost.*may or may not have been applied/),
    });
    expect(batches).toBe(1);
    expect(alerts.map(({ kind }) => kind)).toEqual(['outcome_unknown']);
    expect(await pair.sourceItems()).toEqual(after ? [{ id: 30, name: null, n: null }] : []);
    await pair.d1('DELETE FROM items');
  });

  it('is no unknown one where D1 was too busy to begin', async () => {
    await query('SELECT 1 AS one');
    const { results } = await pair.send({
      steps: [step],
      options: { cacheMs: 60_000 },
      d1Fails: {
        batch: 0,
        after: false,
        message: 'D1_ERROR: D1 DB is overloaded. Requests queued for too long.',
      },
    });
    expect(results[0]!.error).toMatchObject({ code: 'SourceBusy' });
  });
});
