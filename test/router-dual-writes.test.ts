import { Pair, until } from './support/router.ts';

let pair: Pair;

beforeEach(async () => {
  pair = await Pair.create();
  await pair.startMigration();
  pair.source.exec(`INSERT INTO items VALUES (1, 'a', 1)`);
  await pair.replay();
  pair.control('dual_writes = 1, read_percent = 100, dual_write_timeout_ms = 60000');
});

afterEach(() => pair.close());

const settled = (promise: Promise<unknown>): (() => boolean) => {
  let done = false;
  const mark = (): void => void (done = true);
  promise.then(mark, mark);
  return () => done;
};

/** Log position of the source. */
const head = (): number => pair.source.prepare('SELECT max(seq) FROM _crossfade_log').pluck().get() as number;

/** Long enough for several polls: what is still waiting then waits for good reason. */
const turns = async (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe('dual writes', () => {
  it('are acknowledged when the target has them, whatever kind of write', async () => {
    const db = pair.router();
    await db.query('SELECT 1');
    for (const write of [
      () => db.write('UPDATE items SET n = n + 1'),
      () => db.batch([{ sql: 'UPDATE items SET n = n + 1' }]),
      () => db.transaction((tx) => tx.write('UPDATE items SET n = n + 1')),
    ]) {
      const before = head();
      const acknowledged = write();
      const done = settled(acknowledged);
      await until(() => head() > before);
      await turns(40);
      expect(done()).toBe(false);
      await pair.replay();
      await acknowledged;
      // Its readers need not stay on the source.
      expect(await db.query('SELECT n FROM items')).toEqual(pair.source.prepare('SELECT n FROM items').all());
    }
    expect(db.stats()).toMatchObject({ heldBack: 0, reads: { target: { count: 4 }, source: { count: 0 } } });
    expect(pair.alerts).toEqual([]);
  });

  it('are acknowledged together, with few questions to the target', async () => {
    const db = pair.router();
    const calls = async (): Promise<number> => {
      const { rows } = await pair.admin.query(
        `SELECT coalesce(sum(calls), 0)::int AS calls FROM pg_stat_user_functions WHERE funcname = 'router_state'`,
      );
      return rows[0].calls;
    };
    const writes = Array.from({ length: 200 }, (_, i) =>
      db.write('INSERT INTO items VALUES (?, ?, ?)', [i + 10, 'x', i]),
    );
    await until(() => head() === 202);
    await turns(40);
    await pair.replay();
    await Promise.all(writes);
    expect(await calls()).toBeLessThan(100);
    expect(db.stats().writes.source.count).toBe(200);
  });

  it('raise an alert where the target is late, and are acknowledged all the same', async () => {
    pair.control('dual_write_timeout_ms = 30');
    const db = pair.router();
    expect(await db.write('UPDATE items SET n = 5')).toMatchObject({ changes: 1 });
    expect(pair.alerts).toEqual([
      {
        kind: 'dual_write_failure',
        message: expect.stringContaining('1 write was acknowledged before the target had it'),
      },
    ]);
    expect(db.stats().writes.source).toMatchObject({ count: 1, errors: 0, dualWriteFailures: 1 });
    // Its readers see it on the source.
    expect(await db.query('SELECT n FROM items')).toEqual([{ n: 5 }]);
    expect(db.stats().heldBack).toBe(1);
  });

  it('do not each wait out the timeout while the target stays late', async () => {
    pair.control('dual_write_timeout_ms = 400');
    const db = pair.router();
    await db.write('UPDATE items SET n = 5');
    const started = performance.now();
    for (let n = 0; n < 20; n++) await db.write('UPDATE items SET n = ?', [n]);
    expect(performance.now() - started).toBeLessThan(20 * 400);
    expect(pair.alerts).toHaveLength(1);
    expect(db.stats().writes.source).toMatchObject({ count: 21, dualWriteFailures: 21 });
  });

  it('time out as well where the target does not answer', async () => {
    pair.control('dual_write_timeout_ms = 50');
    const proxy = await pair.proxy();
    const db = pair.router({ target: proxy.url });
    await db.query('SELECT 1');
    proxy.cut();
    await Promise.all([db.write('UPDATE items SET n = 5'), db.write('UPDATE items SET n = 6')]);
    expect(db.stats().writes.source).toMatchObject({ count: 2, dualWriteFailures: 2 });
    expect(pair.sourceItems()).toEqual([{ id: 1, name: 'a', n: 6 }]);
  });

  it('do not wait where nothing was logged', async () => {
    const db = pair.router();
    expect(await db.write('UPDATE items SET n = 5 WHERE id = 99')).toMatchObject({ changes: 0 });
    expect(await db.write('CREATE TABLE other (id INTEGER)')).toMatchObject({ changes: 0 });
  });

  it('are let go when dual writes end', async () => {
    const db = pair.router({ pollMs: 10 });
    const acknowledged = db.write('UPDATE items SET n = 5');
    const done = settled(acknowledged);
    await until(() => head() === 3);
    await turns(40);
    expect(done()).toBe(false);
    pair.control('dual_writes = 0');
    await acknowledged;
    expect(pair.alerts).toEqual([]);
  });

  it('are let go by close()', async () => {
    const db = pair.router();
    const acknowledged = db.write('UPDATE items SET n = 5');
    await until(() => (pair.sourceItems()[0] as { n: number }).n === 5);
    await db.close();
    await acknowledged;
  });

  it('pass a cutover that comes in between', async () => {
    const db = pair.router();
    const acknowledged = db.write('UPDATE items SET n = 5');
    await until(() => (pair.sourceItems()[0] as { n: number }).n === 5);
    pair.fenceSource();
    await pair.cutOver();
    await acknowledged;
    expect(await db.write('UPDATE items SET n = n + 1')).toMatchObject({ changes: 1 });
    expect(await pair.targetItems()).toEqual([{ id: 1, name: 'a', n: 6 }]);
  });
});
