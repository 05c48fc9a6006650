import { LATENCY_BUCKET_GROWTH } from '../src/contract.ts';
import { Statistics, Window } from '../src/router/statistics.ts';
import { Pair, until } from './support/router.ts';

describe('statistics', () => {
  it('count by side and operation, and put latencies into their buckets', () => {
    const statistics = new Statistics();
    for (const ms of [0, 0.0005, 0.001, 1, 1, 20, 1e9]) statistics.done('source', 'read', ms);
    statistics.failed('target', 'write');
    statistics.fellBack();
    statistics.dualWriteFailures(3);
    const rows = statistics.take().rows();
    const bucket = (us: number): string => String(Math.floor(Math.log(us) / Math.log(LATENCY_BUCKET_GROWTH)));
    expect(rows).toEqual([
      {
        side: 'source',
        operation: 'read',
        count: 7,
        errors: 0,
        fallbacks: 0,
        dualWriteFailures: 0,
        histogram: { 0: 3, [bucket(1_000)]: 2, [bucket(20_000)]: 1, 414: 1 },
      },
      {
        side: 'source',
        operation: 'write',
        count: 0,
        errors: 0,
        fallbacks: 0,
        dualWriteFailures: 3,
        histogram: {},
      },
      {
        side: 'target',
        operation: 'read',
        count: 1,
        errors: 1,
        fallbacks: 1,
        dualWriteFailures: 0,
        histogram: {},
      },
      {
        side: 'target',
        operation: 'write',
        count: 1,
        errors: 1,
        fallbacks: 0,
        dualWriteFailures: 0,
        histogram: {},
      },
    ]);
    expect(statistics.take().rows()).toEqual([]);
  });

  it("give quantiles within a bucket's width, over all windows", () => {
    const statistics = new Statistics();
    for (let i = 1; i <= 1_000; i += 1) {
      statistics.done('target', 'read', i / 10);
      if (i === 500) statistics.take();
    }
    const { count, p50Ms, p95Ms } = statistics.totals().reads.target;
    expect(count).toBe(1_000);
    for (const [measured, exact] of [
      [p50Ms, 50],
      [p95Ms, 95],
    ] as const) {
      expect(measured / exact).toBeGreaterThan(0.99);
      expect(measured / exact).toBeLessThan(LATENCY_BUCKET_GROWTH * 1.01);
    }
    expect(statistics.totals().reads.source.p95Ms).toBe(0);
  });

  it('add up over windows that could not be reported', () => {
    const statistics = new Statistics();
    const pending = new Window();
    for (let i = 0; i < 2; i += 1) {
      statistics.done('source', 'write', 1);
      pending.add(statistics.take());
    }
    expect(pending.rows()).toMatchObject([{ side: 'source', operation: 'write', count: 2 }]);
  });
});

describe('reports', () => {
  let pair: Pair;
  beforeEach(async () => {
    pair = await Pair.create();
  });
  afterEach(() => pair.close());

  const reported = async (): Promise<Record<string, unknown>[]> =>
    (
      await pair.admin.query(
        `SELECT instance, side, operation, sum(count)::int AS count, sum(errors)::int AS errors,
                sum((SELECT sum(value::int) FROM jsonb_each_text(histogram)))::int AS latencies
           FROM crossfade.traffic GROUP BY 1, 2, 3 ORDER BY 1, 2, 3`,
      )
    ).rows;

  it('reach the target, without what happened before the migration', async () => {
    const db = pair.router({ reportMs: 5, pollMs: 5, instance: 'one' });
    for (let i = 0; i < 5; i += 1) await db.query('SELECT * FROM items');
    // Two reports later those reads are history.
    await new Promise((resolve) => setTimeout(resolve, 30));
    await pair.startMigration();
    await until(() =>
      pair.admin.query('SELECT FROM crossfade.router').then(({ rowCount }) => rowCount === 1),
    );
    pair.control('read_percent = 100');
    await until(() => db.stats().readPercent === 100);
    for (let i = 0; i < 7; i += 1) await db.query('SELECT * FROM items');
    await db.write(`INSERT INTO items VALUES (1, 'a', 1)`);
    await expect(db.write(`INSERT INTO items VALUES (1, 'a', 1)`)).rejects.toMatchObject({
      code: 'SQLITE_CONSTRAINT_PRIMARYKEY',
    });
    await db.close();
    expect(await reported()).toEqual([
      { instance: 'one', side: 'source', operation: 'write', count: 2, errors: 1, latencies: 1 },
      { instance: 'one', side: 'target', operation: 'read', count: 7, errors: 0, latencies: 7 },
    ]);
  });

  it('tell that a router lives although nothing happens', async () => {
    await pair.startMigration();
    const db = pair.router({ reportMs: 5, pollMs: 5, instance: 'idle' });
    await until(() =>
      pair.admin.query('SELECT FROM crossfade.router').then(({ rowCount }) => rowCount === 1),
    );
    await db.close();
    expect(await reported()).toEqual([]);
  });

  it('are made up for after the target was away, and never disturb the application', async () => {
    await pair.startMigration();
    const proxy = await pair.proxy();
    const db = pair.router({ target: proxy.url, reportMs: 5, pollMs: 5, instance: 'one' });
    await db.query('SELECT * FROM items');
    proxy.cut();
    for (let i = 0; i < 20; i += 1) {
      await db.write('INSERT INTO items VALUES (?, NULL, NULL)', [i]);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    proxy.down = false;
    await until(async () => (await reported()).some((row) => row['count'] === 20));
    expect(db.stats().writes.source).toMatchObject({ count: 20, errors: 0 });
  });

  it('work for a role that owns nothing of crossfade', async () => {
    await pair.startMigration();
    const role = `crossfade_app_${process.pid}`;
    await pair.admin.query(
      `CREATE ROLE ${role} LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON items TO ${role}`,
    );
    try {
      const url = new URL(pair.url);
      url.username = role;
      const db = pair.router({ target: url.toString(), instance: 'app' });
      pair.control('read_percent = 100');
      await db.query('SELECT * FROM items');
      pair.moveSource();
      expect(await db.write(`INSERT INTO items VALUES (1, 'a', 1)`)).toMatchObject({ changes: 1 });
      await db.close();
      expect(await reported()).toMatchObject([
        { side: 'target', operation: 'read', count: 1 },
        { side: 'target', operation: 'write', count: 1 },
      ]);
    } finally {
      await pair.admin.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
    }
  });
});

describe('close()', () => {
  it('leaves no connection and no timer', async () => {
    const pair = await Pair.create();
    try {
      await pair.startMigration();
      const resources = (): string[] =>
        process.getActiveResourcesInfo().filter((name) => /TCP|Timeout|Immediate/.test(name));
      const before = resources();
      const db = pair.router({ shadowReads: 0.5, pollMs: 5, reportMs: 5 });
      pair.control('read_percent = 50, dual_writes = 1, dual_write_timeout_ms = 20');
      await db.write(`INSERT INTO items VALUES (1, 'a', 1)`);
      for (let i = 0; i < 50; i += 1) await db.query('SELECT * FROM items', [], { key: String(i) });
      await db.close();
      await until(async () => {
        const { rows } = await pair.admin.query(
          `SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'crossfade-router%'`,
        );
        return rows.length === 0;
      });
      const { seen_at: seen } = (await pair.admin.query('SELECT seen_at::text FROM crossfade.router'))
        .rows[0];
      await new Promise((resolve) => setTimeout(resolve, 40));
      expect((await pair.admin.query('SELECT seen_at::text FROM crossfade.router')).rows[0].seen_at).toBe(
        seen,
      );
      // A socket that the server has closed is there until its event has run; a timer that repeats would stay.
      await until(() => resources().length <= before.length);
    } finally {
      await pair.close();
    }
  });
});
