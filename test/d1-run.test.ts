/** A live D1 database through the workflow: worker processes that are killed, an API that fails, an application that writes. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { Connection } from '@temporalio/client';
import pg from 'pg';
import { startFaultyProxy, type Fault, type FaultyProxy } from '../cloudflare/faults.ts';
import { D1Migration, inPhase } from './support/d1-migration.ts';
import { seeded } from './support/random.ts';

jest.setTimeout(240_000);

let connection: Connection;
beforeAll(async () => {
  connection = await Connection.connect({ address: process.env['TEST_TEMPORAL_ADDRESS']! });
});
afterAll(async () => {
  await connection.close();
});

/** A D1 database behind a failing API, an application that writes to it, and workers. */
class Stage {
  readonly migration: D1Migration;
  readonly proxy: FaultyProxy;
  /** Names that the application was told are written. */
  readonly acknowledged: string[] = [];
  private stopped = false;
  private traffic: Promise<void> | undefined;

  private constructor(migration: D1Migration, proxy: FaultyProxy) {
    this.migration = migration;
    this.proxy = proxy;
  }

  static async create(): Promise<Stage> {
    const migration = await D1Migration.create(connection);
    const { d1 } = migration;
    await d1.exec(
      'CREATE TABLE owner (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE NOT NULL)',
      'CREATE TABLE thing (id TEXT PRIMARY KEY, owner_id INTEGER REFERENCES owner (id) ON DELETE CASCADE, size REAL, data BLOB)',
      `WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 300)
         INSERT INTO owner (name) SELECT 'owner ' || n FROM i`,
      `INSERT INTO thing SELECT 'thing ' || id, id, id / 7.0, randomblob(20) FROM owner`,
    );
    return new Stage(migration, await startFaultyProxy(d1.env['CLOUDFLARE_API_BASE_URL']!));
  }

  startWorker(): void {
    this.migration.startWorker({ CLOUDFLARE_API_BASE_URL: this.proxy.baseUrl });
  }

  /** Until the fence: each write with what it changes besides. */
  startTraffic(): void {
    this.traffic = (async () => {
      for (let i = 0; !this.stopped; i++) {
        const name = `new ${i}`;
        try {
          await this.migration.d1.exec(
            `INSERT INTO owner (name) VALUES ('${name}')`,
            `UPDATE OR REPLACE thing SET id = 'thing ' || (${i} % 40), size = size + 1 WHERE id = 'thing ' || (${i} % 41)`,
            `DELETE FROM owner WHERE id = 100 + ${i % 100}`,
          );
          this.acknowledged.push(name);
          await sleep(20);
        } catch (error) {
          if (!String(error).includes('crossfade: fenced')) throw error;
          return;
        }
      }
    })();
    this.traffic.catch(() => undefined);
  }

  async endTraffic(): Promise<void> {
    this.stopped = true;
    await this.traffic;
  }

  /** On PostgreSQL, until that is fenced. */
  async writeToTarget(): Promise<void> {
    const client = new pg.Client({ connectionString: this.migration.targetUrl });
    client.on('error', () => undefined);
    await client.connect();
    try {
      for (let i = 0; ; i++) {
        const name = `on PostgreSQL ${i}`;
        await client.query('INSERT INTO owner (name) VALUES ($1)', [name]);
        this.acknowledged.push(name);
        await sleep(10);
      }
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'CF001') throw error;
    } finally {
      await client.end();
    }
  }

  async dispose(): Promise<void> {
    this.stopped = true;
    await this.traffic?.catch(() => undefined);
    await this.migration.dispose();
    await this.proxy.stop();
  }
}

/** Now and then the API fails, or its answer is lost. @param awayMs of every other request */
function failNowAndThen(proxy: FaultyProxy, awayMs = 0): void {
  const random = seeded('d1 run');
  const kinds: Fault[] = [
    'lost-reply',
    'cut',
    { status: 500, code: 7500, message: 'internal error; reference = x' },
    { status: 429, code: 10429, message: 'slow down', retryAfter: 0 },
  ];
  proxy.meant = () => {
    if (random.next() < 0.04) proxy.next.push(kinds[Math.floor(random.next() * kinds.length)]!);
    else if (awayMs > 0) proxy.next.push({ before: () => sleep(awayMs) });
    return true;
  };
}

const ROWS = [
  ['SELECT id, name FROM owner ORDER BY id', 'SELECT id::int, name FROM owner ORDER BY id'],
  [
    'SELECT id, owner_id, size, hex(data) FROM thing ORDER BY id',
    `SELECT id, owner_id::int, size, upper(encode(data, 'hex')) FROM thing ORDER BY id COLLATE "C"`,
  ],
] as const;

async function expectSame(stage: Stage): Promise<void> {
  for (const [there, here] of ROWS)
    expect(await stage.migration.inTarget(here)).toEqual(stage.migration.inD1(there));
}

test('moves to PostgreSQL without losing a write, while its API fails and its worker is killed', async () => {
  const stage = await Stage.create();
  try {
    failNowAndThen(stage.proxy);
    stage.startWorker();
    stage.startTraffic();
    const handle = await stage.migration.start({ soakMs: 100 });
    await inPhase(handle, 'copy');
    await stage.migration.killWorker();
    await stage.migration.serveMetrics();
    stage.startWorker();
    const report = await handle.result();
    await stage.endTraffic();
    expect(report).toMatchObject({ outcome: 'complete', verdict: { equal: true } });
    expect(report.backup?.path).toContain('Time Travel bookmark');
    const repeated = await stage.migration.counted('crossfade_d1_repeated_requests_total');
    expect(repeated).toBeGreaterThan(0);
    expect(await stage.migration.counted('crossfade_d1_requests_total')).toBeGreaterThan(repeated);
    await expectSame(stage);
    const names = new Set((await stage.migration.inTarget(`SELECT name FROM owner`)).flat());
    expect(stage.acknowledged.filter((name) => !names.has(name))).toEqual([]);
    await expect(stage.migration.d1.exec(`DELETE FROM owner`)).rejects.toThrow('crossfade: fenced');
  } finally {
    await stage.dispose();
  }
});

test('goes back to D1 with every write that was made on PostgreSQL, and leaves nothing there', async () => {
  const stage = await Stage.create();
  try {
    failNowAndThen(stage.proxy);
    const schema = stage.migration.inD1('SELECT type, name, sql FROM sqlite_master ORDER BY name');
    stage.startWorker();
    stage.startTraffic();
    const handle = await stage.migration.start({ soakMs: 600_000, targetAfterRollback: 'keep' });
    await inPhase(handle, 'soak');
    await stage.endTraffic();
    await expectSame(stage);
    await stage.migration.target.query(`
      UPDATE owner SET name = 'x' WHERE id = 10; UPDATE owner SET name = 'owner 10' WHERE id = 11;
      UPDATE owner SET name = 'owner 11' WHERE id = 10; DELETE FROM owner WHERE id = 12;
      INSERT INTO owner (name) VALUES ('on PostgreSQL');
      UPDATE thing SET size = 0.1, data = decode(repeat('00ff', 20000), 'hex') WHERE owner_id = 13;
      UPDATE thing SET owner_id = 14 WHERE owner_id = 15`);
    // A step of reverse replay takes three requests, and there is always something new after it.
    failNowAndThen(stage.proxy, 150);
    const writing = stage.writeToTarget();
    await handle.signal('abort', 'enough');
    await expect(handle.result()).rejects.toMatchObject({ cause: { message: 'rolled back: enough' } });
    await writing;
    await expectSame(stage);
    const names = new Set(stage.migration.inD1(`SELECT name FROM owner`).flat());
    expect(stage.acknowledged.filter((name) => name.startsWith('on') && !names.has(name))).toEqual([]);
    expect(stage.migration.inD1(`SELECT id, name FROM owner WHERE id IN (10, 11, 12)`)).toEqual([
      [10, 'owner 11'],
      [11, 'owner 10'],
    ]);
    expect(stage.migration.inD1('SELECT type, name, sql FROM sqlite_master ORDER BY name')).toEqual(schema);
    await stage.migration.d1.exec(`INSERT INTO owner (name) VALUES ('goes on')`);
  } finally {
    await stage.dispose();
  }
});
