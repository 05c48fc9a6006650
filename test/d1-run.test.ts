/** A live D1 database through the workflow: worker processes that are killed, an API that fails, an application that writes. */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { Client, Connection, type WorkflowHandle } from '@temporalio/client';
import Database from 'better-sqlite3';
import pg from 'pg';
import type { MigrationReport, MigrationStatus } from '../src/contract.ts';
import { startFaultyProxy, type Fault, type FaultyProxy } from '../cloudflare/faults.ts';
import { startD1, type D1Server } from '../cloudflare/server.ts';
import { eventually } from './support/eventually.ts';
import { createTestDatabase, type TestDatabase } from './support/postgres.ts';
import { seeded } from './support/random.ts';

jest.setTimeout(240_000);

const MAIN = fileURLToPath(new URL('../dist/src/cli/main.js', import.meta.url));

let connection: Connection;
beforeAll(async () => {
  connection = await Connection.connect({ address: process.env['TEST_TEMPORAL_ADDRESS']! });
});
afterAll(async () => {
  await connection.close();
});

/** A D1 database behind a failing API, an application that writes to it, and workers. */
class Stage {
  readonly d1: D1Server;
  readonly proxy: FaultyProxy;
  readonly database: TestDatabase;
  readonly target: pg.Client;
  private readonly home = mkdtempSync(join(tmpdir(), 'crossfade-home-'));
  readonly taskQueue = `d1-${randomUUID().slice(0, 8)}`;
  /** Names that the application was told are written. */
  readonly acknowledged: string[] = [];
  private worker: ChildProcess | undefined;
  private stopped = false;
  private traffic: Promise<void> | undefined;

  private constructor(d1: D1Server, proxy: FaultyProxy, database: TestDatabase, target: pg.Client) {
    this.d1 = d1;
    this.proxy = proxy;
    this.database = database;
    this.target = target;
  }

  static async create(): Promise<Stage> {
    const d1 = await startD1();
    const proxy = await startFaultyProxy(d1.env['CLOUDFLARE_API_BASE_URL']!);
    const database = await createTestDatabase();
    const target = new pg.Client({ connectionString: database.url });
    target.on('error', () => undefined);
    await target.connect();
    await d1.exec(
      'CREATE TABLE owner (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE NOT NULL)',
      'CREATE TABLE thing (id TEXT PRIMARY KEY, owner_id INTEGER REFERENCES owner (id) ON DELETE CASCADE, size REAL, data BLOB)',
      `WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 300)
         INSERT INTO owner (name) SELECT 'owner ' || n FROM i`,
      `INSERT INTO thing SELECT 'thing ' || id, id, id / 7.0, randomblob(20) FROM owner`,
    );
    return new Stage(d1, proxy, database, target);
  }

  startWorker(): void {
    this.worker = spawn(process.execPath, [MAIN, 'worker', '--task-queue', this.taskQueue], {
      env: {
        ...process.env,
        ...this.d1.env,
        CLOUDFLARE_API_BASE_URL: this.proxy.baseUrl,
        TEMPORAL_ADDRESS: process.env['TEST_TEMPORAL_ADDRESS'],
        CROSSFADE_HOME: this.home,
        SOURCE_URL: this.d1.url,
        TARGET_URL: this.database.url,
      },
      stdio: 'ignore',
    });
  }

  async killWorker(): Promise<void> {
    const { worker } = this;
    this.worker = undefined;
    if (worker === undefined) return;
    const gone = once(worker, 'exit');
    worker.kill('SIGKILL');
    await gone;
  }

  start(input: Record<string, unknown>): Promise<WorkflowHandle<() => Promise<MigrationReport>>> {
    return new Client({ connection }).workflow.start('migrateDatabase', {
      taskQueue: this.taskQueue,
      workflowId: this.taskQueue,
      args: [{ shift: { stages: [50, 100], stageWaitMs: 100 }, gates: { minSamples: 0 }, ...input }],
    }) as Promise<WorkflowHandle<() => Promise<MigrationReport>>>;
  }

  /** Until the fence: each write with what it changes besides. */
  startTraffic(): void {
    this.traffic = (async () => {
      for (let i = 0; !this.stopped; i++) {
        const name = `new ${i}`;
        try {
          await this.d1.exec(
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

  inD1(sql: string): unknown[] {
    const db = new Database(this.d1.file, { readonly: true });
    try {
      return db.prepare(sql).raw().all();
    } finally {
      db.close();
    }
  }

  async inTarget(sql: string): Promise<unknown[]> {
    return (await this.target.query({ text: sql, rowMode: 'array' })).rows as unknown[];
  }

  async dispose(): Promise<void> {
    this.stopped = true;
    await this.killWorker();
    await this.traffic?.catch(() => undefined);
    await new Client({ connection }).workflow
      .getHandle(this.taskQueue)
      .terminate()
      .catch(() => undefined);
    await this.target.end();
    await this.database.drop();
    await this.proxy.stop();
    await this.d1.stop();
    rmSync(this.home, { recursive: true });
  }
}

/** Now and then the API fails, or its answer is lost. */
function failNowAndThen(proxy: FaultyProxy): void {
  const random = seeded('d1 run');
  const kinds: Fault[] = [
    'lost-reply',
    'cut',
    { status: 500, code: 7500, message: 'internal error; reference = x' },
    { status: 429, code: 10429, message: 'slow down', retryAfter: 0 },
  ];
  proxy.meant = () => {
    if (random.next() < 0.04) proxy.next.push(kinds[Math.floor(random.next() * kinds.length)]!);
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
  for (const [there, here] of ROWS) expect(await stage.inTarget(here)).toEqual(stage.inD1(there));
}

async function inPhase(handle: WorkflowHandle, phase: string): Promise<void> {
  await eventually(
    `phase ${phase}`,
    async () => {
      const status = await handle.query<MigrationStatus>('status').catch(() => undefined);
      return status?.phases.some((one) => one.phase === phase) === true;
    },
    120_000,
  );
}

test('moves to PostgreSQL without losing a write, while its API fails and its worker is killed', async () => {
  const stage = await Stage.create();
  try {
    failNowAndThen(stage.proxy);
    stage.startWorker();
    stage.startTraffic();
    const handle = await stage.start({ soakMs: 100 });
    await inPhase(handle, 'copy');
    await stage.killWorker();
    stage.startWorker();
    const report = await handle.result();
    await stage.endTraffic();
    expect(report).toMatchObject({ outcome: 'complete', verdict: { equal: true } });
    expect(report.backup?.path).toContain('Time Travel bookmark');
    await expectSame(stage);
    const names = new Set((await stage.inTarget(`SELECT name FROM owner`)).flat());
    expect(stage.acknowledged.filter((name) => !names.has(name))).toEqual([]);
    await expect(stage.d1.exec(`DELETE FROM owner`)).rejects.toThrow('crossfade: fenced');
  } finally {
    await stage.dispose();
  }
});

test('goes back to D1 with every write that was made on PostgreSQL, and leaves nothing there', async () => {
  const stage = await Stage.create();
  try {
    failNowAndThen(stage.proxy);
    const schema = stage.inD1('SELECT type, name, sql FROM sqlite_master ORDER BY name');
    stage.startWorker();
    stage.startTraffic();
    const handle = await stage.start({ soakMs: 600_000, targetAfterRollback: 'keep' });
    await inPhase(handle, 'soak');
    await stage.endTraffic();
    await expectSame(stage);
    await stage.target.query(`
      UPDATE owner SET name = 'x' WHERE id = 10; UPDATE owner SET name = 'owner 10' WHERE id = 11;
      UPDATE owner SET name = 'owner 11' WHERE id = 10; DELETE FROM owner WHERE id = 12;
      INSERT INTO owner (name) VALUES ('on PostgreSQL');
      UPDATE thing SET size = 0.1, data = decode(repeat('00ff', 20000), 'hex') WHERE owner_id = 13;
      UPDATE thing SET owner_id = 14 WHERE owner_id = 15`);
    await handle.signal('abort', 'enough');
    await expect(handle.result()).rejects.toMatchObject({ cause: { message: 'rolled back: enough' } });
    await expectSame(stage);
    expect(stage.inD1(`SELECT id, name FROM owner WHERE id IN (10, 11, 12)`)).toEqual([
      [10, 'owner 11'],
      [11, 'owner 10'],
    ]);
    expect(stage.inD1('SELECT type, name, sql FROM sqlite_master ORDER BY name')).toEqual(schema);
    await stage.d1.exec(`INSERT INTO owner (name) VALUES ('goes on')`);
  } finally {
    await stage.dispose();
  }
});
