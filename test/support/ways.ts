/** Many small migrations at once through one worker of this process, whose activities can be held, lost or failed. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { ApplicationFailure } from '@temporalio/activity';
import { Client, Connection, WorkflowFailedError, type WorkflowHandle } from '@temporalio/client';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { createActivities, type Activities } from '../../activities/index.ts';
import type { MigrationReport, MigrationStatus } from '../../src/contract.ts';
import { DatabaseConnection } from '../../src/index.ts';
import { bundleWorkflows } from '../../src/worker.ts';
import { TestMigration } from './migration.ts';

/** `hold`: done, and its answer kept back. `lose`: done, and its answer lost. `fail`: not done, and never will be. */
type Interference = 'hold' | 'lose' | 'fail';

interface Hold {
  kind: Interference;
  /** Calls to let pass before. */
  skip: number;
  reached(): void;
  released: Promise<void>;
}

export class Ways {
  readonly client: Client;
  readonly taskQueue = `ways-${randomUUID().slice(0, 8)}`;
  readonly pairs = new Map<string, TestMigration>();
  /** By workflow and activity. */
  readonly holds = new Map<string, Hold>();
  private readonly connection: Connection;
  private readonly native: NativeConnection;
  private readonly worker: Worker;
  private readonly running: Promise<void>;

  private constructor(connection: Connection, native: NativeConnection, worker: (ways: Ways) => Worker) {
    this.connection = connection;
    this.native = native;
    this.client = new Client({ connection });
    this.worker = worker(this);
    this.running = this.worker.run();
  }

  static async start(): Promise<Ways> {
    const address = process.env['TEST_TEMPORAL_ADDRESS'];
    if (address === undefined) throw new Error('the global set-up of jest starts a Temporal server');
    if (Runtime._instance === undefined) {
      // Every way here passes through failures on purpose.
      Runtime.install({
        logger: new DefaultLogger('ERROR'),
        telemetryOptions: { logging: { filter: { core: 'ERROR', other: 'ERROR' }, forward: {} } },
      });
    }
    const native = await NativeConnection.connect({ address });
    const workflowBundle = await bundleWorkflows();
    let made: Worker | undefined;
    const shell: { ways?: Ways } = {};
    const taskQueue = `ways-${randomUUID().slice(0, 8)}`;
    made = await Worker.create({
      connection: native,
      taskQueue,
      workflowBundle,
      activities: createActivities({
        endpoints: async (source) => ({
          endpoints: shell.ways!.pairs.get(source)!.endpoints,
          release: async () => undefined,
        }),
        proveBoth: async () => undefined,
        hostQueue: taskQueue,
        knownAttributes: () => Promise.resolve([]),
      }),
      maxHeartbeatThrottleInterval: '1s',
      shutdownGraceTime: '1s',
      interceptors: {
        activity: [
          ({ info }) => ({
            inbound: {
              execute: async (input, next) => {
                const key = `${info.workflowExecution?.workflowId} ${info.activityType}`;
                const hold = shell.ways!.holds.get(key);
                if (hold === undefined) return next(input);
                if (hold.skip-- > 0) return next(input);
                shell.ways!.holds.delete(key);
                return interfere(hold, () => next(input));
              },
            },
          }),
        ],
      },
    });
    const ways = new Ways(await Connection.connect({ address }), native, () => made);
    shell.ways = ways;
    return Object.assign(ways, { taskQueue });
  }

  async stop(): Promise<void> {
    this.worker.shutdown();
    await this.running;
    await this.native.close();
    await this.connection.close();
  }
}

async function interfere(hold: Hold, work: () => Promise<unknown>): Promise<unknown> {
  if (hold.kind === 'fail') {
    hold.reached();
    await hold.released;
    throw ApplicationFailure.nonRetryable('the gate failed', 'Mismatch');
  }
  const [answer] = await Promise.allSettled([work()]);
  // Whatever it is: an answer that is lost may be a failure, or that it was called off.
  if (answer.status === 'rejected' && hold.kind !== 'lose') throw answer.reason;
  hold.reached();
  await hold.released;
  if (answer.status === 'rejected' || hold.kind === 'lose') throw new Error('the answer was lost');
  return answer.value;
}

const SCHEMA = `
  CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT UNIQUE);
  CREATE TABLE child (id INTEGER PRIMARY KEY, t INTEGER REFERENCES t ON DELETE CASCADE);
  CREATE INDEX child_t ON child (t);
  CREATE TRIGGER lower AFTER INSERT ON t WHEN NEW.v GLOB 'UP*' BEGIN UPDATE t SET v = lower(NEW.v) WHERE id = NEW.id; END;
  INSERT INTO t (v) VALUES ('a'), ('b'), ('c'); INSERT INTO child VALUES (1, 1), (2, 2);
`;

/** One migration with an application that reads and writes all the while. */
export class Way {
  readonly databases: TestMigration;
  readonly router: DatabaseConnection;
  readonly acknowledged: string[] = [];
  readonly workflowId = `way-${randomUUID().slice(0, 8)}`;
  private readonly ways: Ways;
  private handle: WorkflowHandle | undefined;
  private stopped = false;
  private readonly traffic: Promise<void>;

  private constructor(ways: Ways, databases: TestMigration) {
    this.ways = ways;
    this.databases = databases;
    const { sourcePath, targetUrl } = databases.endpoints;
    this.router = new DatabaseConnection({
      source: sourcePath,
      target: targetUrl,
      pollMs: 100,
      reportMs: 100,
    });
    ways.pairs.set(this.workflowId, databases);
    this.traffic = this.write();
    this.traffic.catch(() => undefined);
  }

  /** @param rows besides the few that are always there */
  static async create(ways: Ways, rows = 0): Promise<Way> {
    const filling = `WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < ${rows})
      INSERT INTO t (v) SELECT 'row ' || n FROM i`;
    return new Way(ways, await TestMigration.create(rows === 0 ? SCHEMA : `${SCHEMA};${filling}`));
  }

  private async write(): Promise<void> {
    for (let i = 0; !this.stopped; i++) {
      await this.router.write('INSERT INTO t (v) VALUES (?)', [`w${i}`]);
      this.acknowledged.push(`w${i}`);
      await this.router.query('SELECT v FROM t WHERE id = 1', [], { key: `reader ${i}` });
      await sleep(20);
    }
  }

  /** @param input besides the names, and waits that are as short as can be */
  async start(input: { soakMs?: number } & Record<string, unknown> = {}): Promise<WorkflowHandle> {
    this.handle = await this.ways.client.workflow.start('migrateDatabase', {
      taskQueue: this.ways.taskQueue,
      workflowId: this.workflowId,
      args: [
        {
          source: this.workflowId,
          target: this.workflowId,
          policies: { triggers: 'drop' },
          shift: { stages: [50, 100], stageWaitMs: 50 },
          gates: { minSamples: 1, latencyFloorMs: 60_000 },
          soakMs: 600_000,
          ...input,
        },
      ],
    });
    return this.handle;
  }

  /** @returns how the workflow ends, which is not `complete` */
  async rollbackMigration(targetAfterRollback: 'drop' | 'keep' = 'drop'): Promise<MigrationReport> {
    const handle = await this.ways.client.workflow.start('rollbackMigration', {
      taskQueue: this.ways.taskQueue,
      workflowId: this.rollbackId,
      args: [{ source: this.workflowId, target: this.workflowId, targetAfterRollback }],
    });
    return (await handle.result()) as MigrationReport;
  }

  get rollbackId(): string {
    return `${this.workflowId}-rollback`;
  }

  /** Interferes with one call of an activity. `reached` when it is there; it goes on when it is released. */
  interfere(
    kind: Interference,
    activity: keyof Activities,
    { skip = 0, workflowId = this.workflowId } = {},
  ): { reached: Promise<void>; release(): void } {
    let reached: () => void = () => undefined;
    let release: () => void = () => undefined;
    const arrived = new Promise<void>((resolve) => (reached = resolve));
    const released = new Promise<void>((resolve) => (release = resolve));
    this.ways.holds.set(`${workflowId} ${activity}`, { kind, skip, reached, released });
    return { reached: arrived, release };
  }

  /** The failure with which the workflow ended, and its report. */
  async failure(): Promise<{ type: string; message: string; report: MigrationReport | undefined }> {
    try {
      await this.handle!.result();
    } catch (error) {
      if (!(error instanceof WorkflowFailedError)) throw error;
      const cause = error.cause as Error & { type?: string; details?: [MigrationReport] };
      return { type: cause.type ?? cause.name, message: cause.message, report: cause.details?.[0] };
    }
    throw new Error('the workflow completed');
  }

  status(): Promise<MigrationStatus> {
    return this.handle!.query<MigrationStatus>('status');
  }

  /** A few more writes have been acknowledged when it returns. */
  async goesOn(): Promise<void> {
    const goal = this.acknowledged.length + 3;
    while (this.acknowledged.length < goal) {
      await Promise.race([sleep(10), this.traffic]);
      if (this.stopped) throw new Error('the application has stopped');
    }
  }

  async endTraffic(): Promise<void> {
    this.stopped = true;
    await this.traffic;
  }

  async dispose(): Promise<void> {
    this.stopped = true;
    await this.traffic.catch(() => undefined);
    for (const id of [this.workflowId, this.rollbackId])
      await this.ways.client.workflow
        .getHandle(id)
        .terminate('end of the test')
        .catch(() => undefined);
    await this.router.close();
    await this.databases.dispose();
  }
}
