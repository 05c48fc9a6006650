import pg from 'pg';
import { PostgresAdapter } from '../src/router/adapters/postgres.ts';
import { createTestDatabase, type TestDatabase } from './support/postgres.ts';
import { Proxy, until } from './support/router.ts';

let postgres: TestDatabase;
let admin: pg.Client;
let db: PostgresAdapter;

beforeAll(async () => {
  postgres = await createTestDatabase();
  admin = new pg.Client({ connectionString: postgres.url });
  await admin.connect();
  await admin.query('CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0)');
});

afterAll(async () => {
  await admin.end();
  await postgres.drop();
});

beforeEach(() => {
  db = new PostgresAdapter(postgres.url);
});

afterEach(() => db.close());

const n = async (): Promise<unknown> => (await admin.query('SELECT n FROM t')).rows[0]?.n;

/** Backend of the statement that is running and matches. */
async function backend(pattern: string): Promise<number> {
  let pid: number | undefined;
  await until(async () => {
    const { rows } = await admin.query(
      `SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query LIKE $1 AND pid <> pg_backend_pid()
          AND datname = current_database()`,
      [pattern],
    );
    pid = rows[0]?.pid;
    return pid !== undefined;
  });
  return pid as number;
}

describe('PostgresAdapter', () => {
  it("has the strategy's limits", () => {
    expect(db.pool.options).toMatchObject({
      max: 20,
      idleTimeoutMillis: 30_000,
      connectionTimeoutMillis: 2_000,
    });
  });

  it('verifies certificates unless the address is local or the URL says otherwise', async () => {
    const ssl = async (url: string): Promise<unknown> => {
      const adapter = new PostgresAdapter(url);
      await adapter.close();
      return adapter.pool.options.ssl;
    };
    expect(await ssl('postgres://u@db.example.com/x')).toEqual({ rejectUnauthorized: true });
    expect(await ssl('postgres://u@db.example.com/x?sslmode=verify-full')).toEqual({
      rejectUnauthorized: true,
    });
    expect(await ssl('postgres://u@db.example.com/x?sslmode=require')).toEqual({ rejectUnauthorized: true });
    expect(await ssl('postgres://u@db.example.com/x?sslmode=disable')).toBe(false);
    expect(await ssl('postgres://u@127.0.0.1/x')).toBe(false);
    expect(() => new PostgresAdapter('postgres://u@db.example.com/x?sslmode=no-verify')).toThrow(
      expect.objectContaining({ code: 'BadConnection' }),
    );
    expect(() => new PostgresAdapter('mysql://u@db.example.com/x')).toThrow(
      expect.objectContaining({ code: 'BadConnection' }),
    );
  });

  it('opens no more connections than its limit, and tells when none becomes free', async () => {
    const small = new PostgresAdapter(postgres.url, { max: 2, connectTimeoutMs: 1_000 });
    try {
      const all = await Promise.all(
        Array.from({ length: 20 }, () => small.query('SELECT pg_backend_pid() AS pid')),
      );
      expect(new Set(all.map(([row]) => (row as { pid: number }).pid)).size).toBeLessThanOrEqual(2);
      await expect(
        small.transaction(() => small.transaction(() => small.write('UPDATE t SET n = n'))),
      ).rejects.toMatchObject({
        code: 'TargetUnreachable',
        message: expect.stringContaining('stayed in use'),
      });
      expect(small.pool.totalCount).toBe(2);
      expect(small.pool.idleCount).toBe(2);
    } finally {
      await small.close();
    }
  });

  it('reports a server that is not there without having sent anything', async () => {
    const nowhere = new PostgresAdapter('postgres://u:secret@127.0.0.1:1/x');
    await expect(nowhere.write('DELETE FROM t')).rejects.toMatchObject({
      code: 'TargetUnreachable',
      message: expect.not.stringContaining('secret'),
    });
    await nowhere.close();
  });

  it('does not know the outcome of a write whose session was ended', async () => {
    await admin.query('UPDATE t SET n = 0');
    const write = db.write('UPDATE t SET n = n + 1 WHERE pg_sleep(30) IS NOT NULL');
    const failed = expect(write).rejects.toMatchObject({ code: 'OutcomeUnknown', cause: expect.anything() });
    await admin.query('SELECT pg_terminate_backend($1)', [await backend('%pg_sleep%')]);
    await failed;
    // The connection is out of the pool, and the next one works.
    expect(await db.write('UPDATE t SET n = n + 1')).toEqual({ changes: 1, rows: [] });
    expect(await n()).toBe(1);
  });

  it('does not know the outcome of a write or a COMMIT whose reply was lost, and does not repeat it', async () => {
    await admin.query('UPDATE t SET n = 0');
    const proxy = await Proxy.open(postgres.url);
    const through = new PostgresAdapter(proxy.url);
    try {
      await through.query('SELECT 1');
      proxy.loseRepliesTo = /n \+ 1/;
      await expect(through.write('UPDATE t SET n = n + 1')).rejects.toMatchObject({ code: 'OutcomeUnknown' });
      await until(async () => (await n()) === 1);
      proxy.loseRepliesTo = /COMMIT/;
      await expect(through.transaction((tx) => tx.write('UPDATE t SET n = n + 1'))).rejects.toMatchObject({
        code: 'OutcomeUnknown',
      });
      await until(async () => (await n()) === 2);
    } finally {
      await through.close();
      await proxy.close();
    }
  });

  it('knows that nothing was applied when the connection breaks before the COMMIT', async () => {
    await admin.query('UPDATE t SET n = 0');
    const pids: number[] = [];
    await expect(
      db.transaction(async (tx) => {
        await tx.write('UPDATE t SET n = n + 1');
        const [row] = await tx.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
        pids.push(row?.pid ?? 0);
        await admin.query('SELECT pg_terminate_backend($1, 5000)', pids);
        await tx.write('UPDATE t SET n = n + 1');
      }),
    ).rejects.toMatchObject({ code: 'TargetUnreachable' });
    expect(pids).toHaveLength(1);
    expect(await n()).toBe(0);
  });

  it('survives connections that break while idle', async () => {
    const [row] = await db.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    await admin.query('SELECT pg_terminate_backend($1, 5000)', [row?.pid]);
    await until(() => db.pool.totalCount === 0);
    expect(await db.query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  it("gives the driver's own error where the server refused a write", async () => {
    await expect(db.write('INSERT INTO t VALUES (1, 1)')).rejects.toMatchObject({ code: '23505' });
    await expect(db.write('UPDATE t SET n = ?', [])).rejects.toMatchObject({ code: '08P01' });
    await admin.query(
      `CREATE TABLE d (id int UNIQUE DEFERRABLE INITIALLY DEFERRED); INSERT INTO d VALUES (1)`,
    );
    await expect(db.write('INSERT INTO d VALUES (1)')).rejects.toMatchObject({ code: '23505' });
    await expect(db.transaction((tx) => tx.write('INSERT INTO d VALUES (1)'))).rejects.toMatchObject({
      code: '23505',
    });
    expect(db.pool.idleCount).toBe(db.pool.totalCount);
  });

  it('keeps its connections when a callback throws', async () => {
    await expect(db.transaction(() => Promise.reject(new Error('mine')))).rejects.toThrow('mine');
    expect(db.pool.totalCount).toBe(1);
    expect(db.pool.idleCount).toBe(1);
  });

  it('gives up on a read after its time and does not use that connection again', async () => {
    await expect(db.query('SELECT pg_sleep(30)', [], 50)).rejects.toThrow(/timeout/);
    expect(db.pool.totalCount).toBe(0);
    await admin.query('SELECT pg_terminate_backend($1)', [await backend('%pg_sleep(30)%')]);
  });

  it('reads values exactly whatever the role has set', async () => {
    const { rows } = await admin.query('SELECT current_user AS u, current_database() AS d');
    const { d } = rows[0] as { u: string; d: string };
    await admin.query(`ALTER DATABASE "${d}" SET bytea_output = 'escape'; ALTER DATABASE "${d}" SET DateStyle = 'German';
      ALTER DATABASE "${d}" SET extra_float_digits = 0; ALTER DATABASE "${d}" SET standard_conforming_strings = off`);
    const strange = new PostgresAdapter(postgres.url);
    try {
      const sql = `SELECT '\\x00ff'::bytea AS x, timestamp '2024-02-29 01:02:03' AS t, 0.1::float8 + 0.2 AS f, '\\' AS s, ? AS p`;
      expect(await strange.query(sql, ['?'])).toEqual([
        { x: Buffer.from([0, 255]), t: '2024-02-29 01:02:03', f: 0.30000000000000004, s: '\\', p: '?' },
      ]);
    } finally {
      await strange.close();
    }
  });
});
