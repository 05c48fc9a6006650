import { mkdtempSync, rmSync, existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseConnection } from '../src/index.ts';
import { OwnWrites } from '../src/router/own-writes.ts';
import { Pair, silent, until } from './support/router.ts';

let pair: Pair;

beforeEach(async () => {
  pair = await Pair.create();
});

afterEach(() => pair.close());

/** Makes the two databases tell which one answered. */
async function mark(): Promise<void> {
  pair.source.exec(`INSERT INTO items VALUES (1, 'source', 0)`);
  await pair.replay();
  await pair.admin.query(
    `BEGIN; SET LOCAL crossfade.lease = 'applier'; UPDATE items SET name = 'target'; COMMIT`,
  );
}

const who = async (
  db: DatabaseConnection,
  options?: Parameters<DatabaseConnection['query']>[2],
): Promise<string> =>
  (await db.query<{ name: string }>('SELECT name FROM items WHERE id = ?', [1], options))[0]?.name ?? '';

/** Reads until the target answers: the router learns of its position only after a while. */
async function untilTarget(
  db: DatabaseConnection,
  options?: Parameters<DatabaseConnection['query']>[2],
): Promise<void> {
  const { count } = db.stats().reads.target;
  await until(async () => {
    await db.query('SELECT 1', [], options);
    return db.stats().reads.target.count > count;
  });
}

describe('before a migration', () => {
  it('everything is on the source', async () => {
    const db = pair.router();
    expect(await db.write('INSERT INTO items VALUES (?, ?, ?)', [1, 'a', 2])).toEqual({
      changes: 1,
      rows: [],
    });
    await db.transaction(async (tx) => {
      const [row] = await tx.query<{ n: number }>('SELECT n FROM items');
      await tx.write('UPDATE items SET n = ?', [(row?.n ?? 0) + 1]);
    });
    await db.batch([{ sql: `INSERT INTO items VALUES (2, 'b', 0)` }]);
    expect(await db.query('SELECT id, n FROM items ORDER BY id')).toEqual([
      { id: 1, n: 3 },
      { id: 2, n: 0 },
    ]);
    expect(db.primary()).toBe('source');
  });

  it('neither a missing target nor an unreachable one keeps the application from working', async () => {
    for (const target of [undefined, 'postgres://u@127.0.0.1:1/x']) {
      const db = new DatabaseConnection({ source: pair.path, logger: silent, ...(target && { target }) });
      await db.write('DELETE FROM items');
      expect(await db.query('SELECT * FROM items')).toEqual([]);
      await db.close();
    }
  });

  it('creates a source that does not exist with its first statement, and migrates it', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'crossfade-new-'));
    const path = join(directory, 'new.db');
    const db = new DatabaseConnection({ source: `sqlite:${path}`, logger: silent });
    expect(existsSync(path)).toBe(false);
    const migrations = [1, 2].map((i) => ({
      id: String(i),
      name: `t${i}`,
      up: `CREATE TABLE t${i} (id INTEGER PRIMARY KEY)`,
      down: `DROP TABLE t${i}`,
      timestamp: i,
    }));
    expect(await db.migrate(migrations)).toEqual(['1', '2']);
    expect(await db.migrate(migrations)).toEqual([]);
    await db.write('INSERT INTO t1 VALUES (7)');
    expect(await db.query('SELECT * FROM t1')).toEqual([{ id: 7 }]);
    await db.close();
    rmSync(directory, { recursive: true });
  });

  it('refuses options that make no sense, and use after close()', async () => {
    expect(() => new DatabaseConnection({ source: ':memory:' })).toThrow(
      expect.objectContaining({ code: 'BadConnection' }),
    );
    expect(() => new DatabaseConnection({ source: pair.path, shadowReads: 2 })).toThrow(
      expect.objectContaining({ code: 'InvalidInput' }),
    );
    const db = pair.router();
    await db.close();
    await db.close();
    await expect(db.query('SELECT 1')).rejects.toMatchObject({ code: 'BadConnection' });
    await expect(db.write('DELETE FROM items')).rejects.toMatchObject({ code: 'BadConnection' });
  });
});

describe('reads by percentage', () => {
  beforeEach(async () => {
    await pair.startMigration();
    await mark();
  });

  it('go to the target in that share', async () => {
    for (const [percent, least, most] of [
      [0, 0, 0],
      [25, 180, 320],
      [100, 1_000, 1_000],
    ] as const) {
      pair.control(`read_percent = ${percent}`);
      const db = pair.router();
      let target = 0;
      for (let i = 0; i < 1_000; i += 1) if ((await who(db)) === 'target') target += 1;
      expect(target).toBeGreaterThanOrEqual(least);
      expect(target).toBeLessThanOrEqual(most);
      expect(db.stats().reads.target.count).toBe(target);
    }
  });

  it('stick to a side by key, in every router, and only ever move forward with the percentage', async () => {
    const one = pair.router();
    const two = pair.router();
    const keys = Array.from({ length: 400 }, (_, i) => `user-${i}`);
    let before = new Set<string>();
    for (const percent of [10, 50, 90]) {
      pair.control(`read_percent = ${percent}`);
      const now = new Set<string>();
      for (const key of keys) {
        const side = await who(one, { key });
        expect(await who(one, { key })).toBe(side);
        expect(await who(two, { key })).toBe(side);
        if (side === 'target') now.add(key);
      }
      expect(Math.abs(now.size - percent * 4)).toBeLessThan(50);
      expect([...before].every((key) => now.has(key))).toBe(true);
      before = now;
    }
  });

  it('stay on the primary where they are asked to, and inside of transactions', async () => {
    pair.control('read_percent = 100');
    const db = pair.router();
    expect(await who(db)).toBe('target');
    expect(await who(db, { primary: true })).toBe('source');
    expect(await db.transaction((tx) => tx.query('SELECT name FROM items'))).toEqual([{ name: 'source' }]);
  });

  it('follow a change of the percentage at once where they are being shifted, else with the next poll', async () => {
    pair.control('read_percent = 100');
    const db = pair.router({ pollMs: 20 });
    expect(await who(db)).toBe('target');
    pair.control('read_percent = 0');
    expect(await who(db)).toBe('source');
    await until(() => db.stats().readPercent === 0);
    pair.control('read_percent = 100');
    await until(async () => (await who(db)) === 'target');
  });

  it('fall back to the source where the target fails, and are counted', async () => {
    pair.control('read_percent = 100');
    const db = pair.router();
    // A statement that only the target refuses.
    const sql = { sqlite: 'SELECT name FROM items', postgres: 'SELECT name FROM missing' };
    expect(await db.query(sql)).toEqual([{ name: 'source' }]);
    expect(db.stats().reads).toMatchObject({
      source: { count: 1, errors: 0 },
      target: { count: 1, errors: 1, fallbacks: 1 },
    });
    await expect(db.query('SELECT absent FROM items')).rejects.toMatchObject({ code: 'SQLITE_ERROR' });
    expect(db.stats().reads).toMatchObject({
      source: { count: 2, errors: 1 },
      target: { count: 2, errors: 2, fallbacks: 2 },
    });
  });

  it('fall back while the target cannot be reached, without waiting for it each time, and return to it', async () => {
    pair.control('read_percent = 100');
    const proxy = await pair.proxy();
    const db = pair.router({ target: proxy.url, pollMs: 20 });
    expect(await who(db)).toBe('target');
    proxy.cut();
    for (let i = 0; i < 50; i += 1) expect(await who(db)).toBe('source');
    expect(db.stats().reads.target).toMatchObject({ fallbacks: 50, errors: 50 });
    await until(() => pair.alerts.some(({ kind }) => kind === 'target_unreachable'));
    proxy.down = false;
    await until(async () => (await who(db)) === 'target');
  });

  it('fall back from a read that takes too long', async () => {
    pair.control('read_percent = 100');
    const db = pair.router({ readTimeoutMs: 50 });
    const sql = { sqlite: 'SELECT name FROM items', postgres: `SELECT name FROM items, pg_sleep(30)` };
    expect(await db.query(sql)).toEqual([{ name: 'source' }]);
    expect(db.stats().reads.target.fallbacks).toBe(1);
  });

  it('leave a target of another migration alone', async () => {
    pair.control(`read_percent = 100, migration = 'other'`);
    const db = pair.router();
    expect(await who(db)).toBe('source');
    expect(db.stats().readPercent).toBe(0);
  });
});

describe('read-your-writes', () => {
  beforeEach(async () => {
    await pair.startMigration();
    await mark();
    pair.control('read_percent = 100');
  });

  it('keeps a key on the source until replay has passed its write', async () => {
    const db = pair.router();
    await db.write('UPDATE items SET n = 1', [], { key: 'a' });
    expect(await who(db, { key: 'a' })).toBe('source');
    expect(await who(db, { key: 'b' })).toBe('target');
    expect(db.stats()).toMatchObject({ heldBack: 1, reads: { target: { count: 1 } } });
    await pair.replay();
    await untilTarget(db, { key: 'a' });
    expect(await db.query('SELECT n FROM items', [], { key: 'a' })).toEqual([{ n: 1 }]);
  });

  it('takes ids as keys, a number and its digits for the same', async () => {
    const db = pair.router();
    await db.write('UPDATE items SET n = 1', [], { key: 7 });
    for (const key of [7, '7', 7n]) expect(await who(db, { key })).toBe('source');
    for (const key of [8, '8']) expect(await who(db, { key })).toBe('target');
    pair.control('read_percent = 50');
    const sides = new Set<string>();
    for (let key = 10; key < 60; key += 1) sides.add(await who(db, { key }));
    expect([...sides].toSorted()).toEqual(['source', 'target']);
  });

  it('keeps readers without a key on the source until replay has passed every write of this connection', async () => {
    const db = pair.router();
    await db.write('UPDATE items SET n = 1', [], { key: 'a' });
    expect(await who(db)).toBe('source');
    await pair.replay();
    await untilTarget(db);
    const before = db.stats().heldBack;
    await db.transaction((tx) => tx.write('UPDATE items SET n = 2'));
    expect(await db.query('SELECT n FROM items')).toEqual([{ n: 2 }]);
    await db.batch([{ sql: 'UPDATE items SET n = 3' }]);
    expect(await db.query('SELECT n FROM items')).toEqual([{ n: 3 }]);
    expect(db.stats().heldBack).toBe(before + 2);
  });

  it('is not concerned by writes that changed nothing', async () => {
    const db = pair.router();
    await db.write('UPDATE items SET n = 1 WHERE id = 99');
    expect(await who(db)).toBe('target');
  });

  it('forgets what the target has, and holds no more keys than its limit', () => {
    const writes = new OwnWrites();
    for (let i = 1; i <= 60_000; i += 1) writes.note(`k${i}`, i);
    expect(writes.size).toBe(50_000);
    // A key that had to be forgotten counts as written with the newest forgotten one.
    expect(writes.needed('k1')).toBe(10_000);
    expect(writes.needed('k20000')).toBe(20_000);
    expect(writes.needed(undefined)).toBe(60_000);
    writes.note('k60000', 59_000);
    expect(writes.needed('k60000')).toBe(60_000);
    writes.passed(30_000);
    expect(writes.size).toBe(30_000);
    expect(writes.needed('k1')).toBe(0);
    writes.passed(60_000);
    expect(writes.size).toBe(0);
    expect(writes.needed(undefined)).toBe(0);
  });
});

describe('shadow reads', () => {
  beforeEach(async () => {
    await pair.startMigration();
  });

  it('answer from the source and tell what differs, but neither order nor rows on their way', async () => {
    pair.source.exec(`INSERT INTO items VALUES (1, 'a', 1), (2, 'b', 2)`);
    await pair.replay();
    pair.control('read_percent = 100');
    const db = pair.router({ shadowReads: 1 });
    expect(await db.query('SELECT name FROM items WHERE id = 1')).toEqual([{ name: 'a' }]);
    await db.query({ sqlite: 'SELECT id FROM items', postgres: 'SELECT id FROM items ORDER BY id DESC' });
    await until(() => db.stats().shadow.compared === 2);
    expect(db.stats().shadow.mismatches).toBe(0);

    // LIKE ignores case on SQLite only.
    expect(await db.query(`SELECT name FROM items WHERE name LIKE 'A'`)).toEqual([{ name: 'a' }]);
    await until(() => db.stats().shadow.mismatches === 1);
    expect(pair.alerts).toEqual([
      {
        kind: 'shadow_mismatch',
        message: expect.stringContaining(`SELECT name FROM items WHERE name LIKE 'A'`),
      },
    ]);

    // Not replayed yet when it is read, by another connection's write: arrives while the comparison waits for it.
    pair.source.exec(`UPDATE items SET n = 5 WHERE id = 1`);
    await db.query('SELECT n FROM items WHERE id = 1');
    await pair.replay();
    await until(() => db.stats().shadow.compared === 4);
    expect(db.stats().shadow.mismatches).toBe(1);
    expect(db.stats().reads.target.count).toBe(0);

    await db.query({ sqlite: 'SELECT 1', postgres: 'SELECT * FROM missing' });
    await until(() => db.stats().shadow.errors === 1);
  });

  it('wait until the target is a complete copy', async () => {
    const db = pair.router({ shadowReads: 1 });
    await db.query('SELECT * FROM items');
    await db.close();
    expect(db.stats().shadow.compared).toBe(0);
  });
});
