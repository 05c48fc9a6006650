/** A whole migration as an operator runs it: a real Temporal server, worker processes that can be killed, an application. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection, type WorkflowHandle } from '@temporalio/client';
import { DatabaseConnection } from '../../src/index.ts';
import type { MigrationReport, MigrationStatus, Phase } from '../../src/contract.ts';
import { TestMigration } from './migration.ts';

const MAIN = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url));

/** Settings that make a whole run last seconds; every wait is an input with the strategy's default otherwise. */
export const FAST = {
  shift: { stages: [50, 100], stageWaitMs: 300, approval: false },
  gates: { minSamples: 1, latencyFloorMs: 5_000 },
  soakMs: 500,
};

export class Scenario {
  readonly databases: TestMigration;
  readonly client: Client;
  readonly router: DatabaseConnection;
  readonly workflowId = `scenario-${randomUUID().slice(0, 8)}`;
  private readonly taskQueue = `crossfade-${randomUUID().slice(0, 8)}`;
  private readonly connection: Connection;
  private worker: ChildProcess | undefined;
  private traffic: Promise<void> | undefined;
  private stopTraffic = false;
  /** Values that the application's acknowledged writes left, by key. */
  readonly acknowledged = new Map<number, number>();

  private constructor(databases: TestMigration, connection: Connection) {
    this.databases = databases;
    this.connection = connection;
    this.client = new Client({ connection });
    this.router = new DatabaseConnection({
      source: databases.endpoints.sourcePath,
      target: databases.endpoints.targetUrl,
      pollMs: 100,
      reportMs: 200,
    });
  }

  static async create(rows: number): Promise<Scenario> {
    const databases = await TestMigration.create(`
      CREATE TABLE counter (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, n INTEGER NOT NULL, note TEXT);
      CREATE TABLE event (id INTEGER PRIMARY KEY, counter_id INTEGER REFERENCES counter (id) ON DELETE CASCADE, at DATETIME DEFAULT CURRENT_TIMESTAMP);
      CREATE INDEX event_counter ON event (counter_id);
      WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < ${rows})
      INSERT INTO counter (name, n, note) SELECT 'c' || n, 0, hex(randomblob(20)) FROM i;
      INSERT INTO event (counter_id) SELECT id FROM counter;`);
    const address = process.env['TEST_TEMPORAL_ADDRESS'];
    if (address === undefined) throw new Error('the global set-up of jest starts a Temporal server');
    return new Scenario(databases, await Connection.connect({ address }));
  }

  startWorker(): void {
    this.worker = spawn(process.execPath, [MAIN, 'worker', '--task-queue', this.taskQueue], {
      env: {
        ...process.env,
        TEMPORAL_ADDRESS: process.env['TEST_TEMPORAL_ADDRESS'],
        SOURCE_URL: `sqlite:${this.databases.endpoints.sourcePath}`,
        TARGET_URL: this.databases.endpoints.targetUrl,
      },
      stdio: 'ignore',
    });
  }

  async killWorker(): Promise<void> {
    const { worker } = this;
    if (worker === undefined) return;
    this.worker = undefined;
    const gone = once(worker, 'exit');
    worker.kill('SIGKILL');
    await gone;
  }

  start(input: unknown): Promise<WorkflowHandle<() => Promise<MigrationReport>>> {
    return this.client.workflow.start('migrateDatabase', {
      taskQueue: this.taskQueue,
      workflowId: this.workflowId,
      args: [input],
    }) as Promise<WorkflowHandle<() => Promise<MigrationReport>>>;
  }

  startOther(type: string, input: unknown): Promise<WorkflowHandle> {
    return this.client.workflow.start(type, {
      taskQueue: this.taskQueue,
      workflowId: `${this.workflowId}-${type}`,
      args: [input],
    });
  }

  /** Counts up through the router, one write after the other, and remembers what was acknowledged. */
  startTraffic(): void {
    this.traffic = (async () => {
      for (let i = 0; !this.stopTraffic; i++) {
        const id = 1 + (i % 50);
        const { rows } = await this.router.write<{ n: number }>(
          'UPDATE counter SET n = n + 1 WHERE id = ? RETURNING n',
          [id],
        );
        this.acknowledged.set(id, rows[0]!.n);
        await this.router.query('SELECT n FROM counter WHERE id = ?', [1 + (i % 200)], { key: String(i) });
        await sleep(2);
      }
    })();
    this.traffic.catch(() => undefined);
  }

  async endTraffic(): Promise<void> {
    this.stopTraffic = true;
    await this.traffic;
  }

  /** Acknowledged writes that the given database does not have. */
  async lost(side: 'source' | 'target'): Promise<string[]> {
    const values = new Map<number, number>();
    if (side === 'source') {
      for (const row of this.databases.app.prepare('SELECT id, n FROM counter WHERE id <= 50').all() as {
        id: number;
        n: number;
      }[]) {
        values.set(row.id, row.n);
      }
    } else {
      const { rows } = await this.databases.target.query<{ id: string; n: string }>(
        'SELECT id, n FROM counter WHERE id <= 50',
      );
      for (const row of rows) values.set(Number(row.id), Number(row.n));
    }
    return [...this.acknowledged]
      .filter(([id, n]) => values.get(id) !== n)
      .map(([id, n]) => `counter ${id}: acknowledged ${n}, found ${values.get(id) ?? 'nothing'}`);
  }

  /** Polls the workflow's status until it is in the phase. */
  async until(
    handle: WorkflowHandle,
    phase: Phase,
    more: (status: MigrationStatus) => boolean = () => true,
  ): Promise<MigrationStatus> {
    for (;;) {
      const status = await handle.query<MigrationStatus>('status').catch(() => undefined);
      if (status?.phase === phase && more(status)) return status;
      const { status: state } = await handle.describe();
      if (state.name !== 'RUNNING')
        throw new Error(`the workflow ended as ${state.name} before phase ${phase}`);
      await sleep(25);
    }
  }

  /** Our objects that are left in the source. */
  leftInSource(): string[] {
    return this.databases.app
      .prepare(`SELECT name FROM sqlite_master WHERE name LIKE '\\_crossfade%' ESCAPE '\\'`)
      .pluck()
      .all() as string[];
  }

  async dispose(): Promise<void> {
    this.stopTraffic = true;
    await this.traffic?.catch(() => undefined);
    await this.killWorker();
    const handle = this.client.workflow.getHandle(this.workflowId);
    await handle.terminate('end of the test').catch(() => undefined);
    await this.router.close();
    await this.connection.close();
    await this.databases.dispose();
  }
}
