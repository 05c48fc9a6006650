/** A D1 database in workerd, an empty PostgreSQL database, and compiled worker processes that move one to the other. */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client, type Connection, type WorkflowHandle } from '@temporalio/client';
import Database from 'better-sqlite3';
import pg from 'pg';
import type { MigrationReport, MigrationStatus, Phase } from '../../src/contract.ts';
import { startD1, type ApplicationWorker, type D1Server } from '../../cloudflare/server.ts';
import { freePorts } from '../../src/embedded/free-ports.ts';
import { eventually } from './eventually.ts';
import { createTestDatabase, type TestDatabase } from './postgres.ts';

const MAIN = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url));

export class D1Migration {
  readonly d1: D1Server;
  readonly target: pg.Client;
  readonly #connection: Connection;
  readonly #database: TestDatabase;
  readonly #home = mkdtempSync(join(tmpdir(), 'crossfade-home-'));
  readonly #name = `d1-${randomUUID().slice(0, 8)}`;
  /** Where its workers serve metrics, if they do. */
  #metrics: string | undefined;
  #worker: ChildProcess | undefined;

  private constructor(connection: Connection, d1: D1Server, database: TestDatabase, target: pg.Client) {
    this.#connection = connection;
    this.d1 = d1;
    this.#database = database;
    this.target = target;
  }

  /** @param applications Workers over the database, which get the target's URL */
  static async create(
    connection: Connection,
    applications: (targetUrl: string) => ApplicationWorker[] = () => [],
  ): Promise<D1Migration> {
    const database = await createTestDatabase();
    const d1 = await startD1(applications(database.url));
    const target = new pg.Client({ connectionString: database.url });
    target.on('error', () => undefined);
    await target.connect();
    return new D1Migration(connection, d1, database, target);
  }

  get targetUrl(): string {
    return this.#database.url;
  }

  /** Workers that are started from now on serve metrics. */
  async serveMetrics(): Promise<void> {
    const [port] = (await freePorts(undefined)) as [number];
    this.#metrics = `127.0.0.1:${port}`;
  }

  /** @param env in place of what reaches D1 directly */
  startWorker(env: NodeJS.ProcessEnv = {}): void {
    const metrics = this.#metrics === undefined ? [] : ['--metrics', this.#metrics];
    const options = ['--task-queue', this.#name, ...metrics];
    this.#worker = spawn(process.execPath, [MAIN, 'worker', ...options], {
      env: {
        ...process.env,
        ...this.d1.env,
        TEMPORAL_ADDRESS: process.env['TEST_TEMPORAL_ADDRESS'],
        CROSSFADE_HOME: this.#home,
        SOURCE_URL: this.d1.url,
        TARGET_URL: this.#database.url,
        ...env,
      },
      stdio: 'ignore',
    });
  }

  async killWorker(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    if (worker === undefined) return;
    const gone = once(worker, 'exit');
    worker.kill('SIGKILL');
    await gone;
  }

  start(input: Record<string, unknown>): Promise<WorkflowHandle<() => Promise<MigrationReport>>> {
    return new Client({ connection: this.#connection }).workflow.start('migrateDatabase', {
      taskQueue: this.#name,
      workflowId: this.#name,
      args: [{ shift: { stages: [50, 100], stageWaitMs: 100 }, gates: { minSamples: 0 }, ...input }],
    }) as Promise<WorkflowHandle<() => Promise<MigrationReport>>>;
  }

  /** A counter of the worker that runs. */
  async counted(name: string): Promise<number> {
    const text = await (await fetch(`http://${this.#metrics}/metrics`)).text();
    return Number(new RegExp(`^${name}\\S* (\\d+)$`, 'm').exec(text)?.[1]);
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
    await this.killWorker();
    await new Client({ connection: this.#connection }).workflow
      .getHandle(this.#name)
      .terminate()
      .catch(() => undefined);
    await this.target.end();
    await this.d1.stop();
    await this.#database.drop();
    rmSync(this.#home, { recursive: true });
  }
}

/** Resolves when the workflow is in the phase, or past it. */
export async function inPhase(handle: WorkflowHandle, phase: Phase): Promise<void> {
  await eventually(
    `phase ${phase}`,
    async () => {
      const status = await handle.query<MigrationStatus>('status').catch(() => undefined);
      return status?.phases.some((one) => one.phase === phase) === true;
    },
    120_000,
  );
}
