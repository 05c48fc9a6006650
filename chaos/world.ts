/** Everything that one run has: its databases, worker, applications and workflow, and a hand on each of them. */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection, type WorkflowHandle } from '@temporalio/client';
import type { MigrationInput, MigrationStatus } from '../src/contract.ts';
import type { Slow } from './faults.ts';
import { hold } from './keep.ts';
import { Process } from './process.ts';
import type { Servers, Urls } from './servers.ts';
import type { RunSource, SourceKind } from './sources/source.ts';
import type { Timeline } from './timeline.ts';

const LANES = 2;
const RESTART_MS = 200;
const GRACE_MS = 20_000;

export interface WorldOptions {
  servers: Servers;
  /** Of this run alone. */
  folder: string;
  name: string;
  seed: number;
  kind: SourceKind;
  ballast: number;
  /** Folder of the compiled code that worker and applications run. */
  build: URL;
  slow: Slow;
  targetAfterRollback: 'drop' | 'keep';
  timeline: Timeline;
}

/** A worker that will die or stop at a seam. */
export interface Armed {
  worker: Process;
  /** This file exists from then on. */
  met: string;
}

export class World {
  readonly source: RunSource;
  /** Files of each application, one for each of its lives. */
  readonly journals: string[][] = [];
  readonly options: WorldOptions;
  readonly target: Urls;
  readonly taskQueue: string;
  readonly workflowId: string;
  /** The newest one last; there are two after one was held. */
  readonly #workers: Process[] = [];
  readonly #applications = new Map<number, Process>();
  #starts = 0;
  #seam: string | undefined;
  #ending = false;
  #kept: Promise<void>[] = [];
  #connection: Connection | undefined;

  private constructor(options: WorldOptions, target: Urls, source: RunSource) {
    this.options = options;
    this.target = target;
    this.source = source;
    this.taskQueue = options.name;
    this.workflowId = options.name;
  }

  static async create(options: WorldOptions): Promise<World> {
    mkdirSync(options.folder, { recursive: true });
    const target = await options.servers.createDatabase(options.name);
    const { folder, ballast, build, kind } = options;
    return new World(options, target, await kind.create({ folder, ballast, targetUrl: target.url, build }));
  }

  startApplications(): void {
    this.options.kind.applications.forEach((name, i) => this.#kept.push(this.#keepApplication(i, name)));
  }

  startWorker(): void {
    this.#kept.push(this.#keepWorker());
  }

  /** Kills the worker and starts one that dies or stops at a seam. @param seam see seam-preload */
  async restartWorker(seam: string): Promise<Armed> {
    this.#seam = seam;
    const before = this.#workers.length;
    await this.worker?.kill();
    while (this.#workers.length === before) await sleep(20);
    return { worker: this.#workers[before]!, met: this.#metFile(seam) };
  }

  /**
   * Lets a worker go on that a seam has stopped, `ms` after that. It may meet the seam late, and must not stay stopped: it
   * would take tasks away that nobody else is given before they time out.
   * @returns when that has happened, or the worker or the run has ended
   */
  continueAfter({ worker, met }: Armed, ms: number): Promise<void> {
    const work = async (): Promise<void> => {
      while (!existsSync(met)) {
        if (this.#ending || !worker.running) return;
        await sleep(20);
      }
      // Stopped it is already; now also with somebody who lets it go on where this process is killed.
      await hold(worker.pid, ms);
    };
    const done = work();
    this.#kept.push(done);
    return done;
  }

  #metFile(seam: string): string {
    return join(this.options.folder, `met-${seam.replaceAll(':', '-')}`);
  }

  get worker(): Process | undefined {
    return this.#workers.findLast(({ running }) => running);
  }

  application(i: number): Process | undefined {
    return this.#applications.get(i % this.options.kind.applications.length);
  }

  /** Asks again, on a new connection, while the server may be starting. */
  async temporal<T>(work: (client: Client) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#ask(work, 5_000);
      } catch (error) {
        await this.#connection?.close().catch(() => undefined);
        this.#connection = undefined;
        if (attempt === 20) throw error;
        await sleep(250);
      }
    }
  }

  async #ask<T>(work: (client: Client) => Promise<T>, timeoutMs: number): Promise<T> {
    this.#connection ??= await Connection.connect({
      address: this.options.servers.temporalAddress,
      connectTimeout: timeoutMs,
    });
    const client = new Client({ connection: this.#connection });
    return this.#connection.withDeadline(Date.now() + timeoutMs, () => work(client));
  }

  async start(type: string, workflowId: string, input: unknown): Promise<void> {
    await this.temporal(async (client) => {
      await client.workflow.start(type, {
        taskQueue: this.taskQueue,
        workflowId,
        args: [input],
        workflowIdConflictPolicy: 'USE_EXISTING',
      });
    });
  }

  migrate(input: Partial<MigrationInput>): Promise<void> {
    return this.start('migrateDatabase', this.workflowId, input);
  }

  handle<T>(work: (handle: WorkflowHandle) => Promise<T>): Promise<T> {
    return this.temporal((client) => work(client.workflow.getHandle(this.workflowId)));
  }

  /** Undefined where nobody answers at the moment. */
  async status(): Promise<MigrationStatus | undefined> {
    try {
      return await this.#ask(
        (client) => client.workflow.getHandle(this.workflowId).query<MigrationStatus>('status'),
        2_000,
      );
    } catch {
      return undefined;
    }
  }

  /** Ends the applications in order, so that every journal is complete. */
  async stopApplications(): Promise<void> {
    this.#ending = true;
    await Promise.all([...this.#applications.values()].map((process) => process.stop(GRACE_MS)));
  }

  async dispose(): Promise<void> {
    this.#ending = true;
    await Promise.all([...this.#applications.values()].map((process) => process.kill()));
    await Promise.all(this.#workers.map((process) => process.kill()));
    await Promise.all(this.#kept);
    await this.source.stop();
    await this.#connection?.close().catch(() => undefined);
  }

  get #environment(): NodeJS.ProcessEnv {
    return {
      ...process.env,
      TEMPORAL_ADDRESS: this.options.servers.temporalAddress,
      TARGET_URL: this.target.url,
    };
  }

  async #keepWorker(): Promise<void> {
    while (!this.#ending) {
      const seam = this.#seam;
      this.#seam = undefined;
      const worker = new Process({
        module: new URL('src/cli/main.js', this.options.build),
        args: ['worker', '--task-queue', this.taskQueue],
        env: {
          ...this.#environment,
          ...this.source.workerEnv,
          ...(seam === undefined ? {} : { CHAOS_SEAM: seam, CHAOS_MET: this.#metFile(seam) }),
        },
        preload: ['orphan', ...(seam === undefined ? [] : ['seam'])].map(
          (name) => new URL(`chaos/${name}-preload.js`, this.options.build),
        ),
        logFile: join(this.options.folder, 'worker.log'),
      });
      this.#workers.push(worker);
      await worker.ended;
      if (this.#ending) return;
      this.options.timeline.add(
        seam === undefined ? 'the worker ended' : `the worker ended, armed for ${seam}`,
      );
      await sleep(RESTART_MS);
    }
  }

  async #keepApplication(i: number, name: string): Promise<void> {
    for (let life = 0; !this.#ending; life++) {
      const lanes = ++this.#starts * LANES;
      const journal = join(this.options.folder, `journal-${i}-${life}.jsonl`);
      (this.journals[i] ??= []).push(journal);
      const process = new Process({
        module: new URL(`chaos/application/${name}-process.js`, this.options.build),
        args: [
          ...['--journal', journal, '--lanes', `${lanes}:${LANES}`],
          ...['--seed', String(this.options.seed), '--pace', '15'],
          ...['--slow', `${this.options.slow.share}:${this.options.slow.ms}`],
        ],
        env: { ...this.#environment, ...this.source.applicationEnv },
        logFile: join(this.options.folder, `application-${i}.log`),
      });
      this.#applications.set(i, process);
      await process.ended;
      if (!this.#ending) this.options.timeline.add(`application ${i} ended`);
      if (!this.#ending) await sleep(RESTART_MS);
    }
  }
}
