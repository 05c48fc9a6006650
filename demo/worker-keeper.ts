/** Keeps one worker process alive: one that dies is started again, as a service manager would. */
import { setTimeout as sleep } from 'node:timers/promises';
import { labelled } from '../src/cli/view/box.ts';
import { plain } from '../src/cli/view/format.ts';
import { Child } from './child.ts';
import type { FromWorker } from './messages.ts';

export interface WorkerOptions {
  address: string;
  namespace: string;
  env: NodeJS.ProcessEnv;
  logFile: string;
}

const RESTART_MS = 500;
/** A worker that cannot start will not start the next time either. */
const FAILED_STARTS = 3;

export class WorkerKeeper {
  readonly #options: WorkerOptions;
  #child: Child<FromWorker> | undefined;
  #restarts = 0;
  #lastEnd: string | undefined;
  #stopping = false;
  #kept: Promise<void> = Promise.resolve();
  #markReady: () => void = () => undefined;
  readonly #ready = new Promise<void>((resolve) => (this.#markReady = resolve));
  readonly #failed: Promise<never>;

  constructor(options: WorkerOptions) {
    this.#options = options;
    this.#kept = this.#keep();
    this.#failed = this.#kept.then(() => new Promise<never>(() => undefined));
    // Whoever races with it gets the reason; nobody has to.
    this.#failed.catch(() => undefined);
  }

  get restarts(): number {
    return this.#restarts;
  }

  /** Rejects when the worker cannot be started any more. */
  get failed(): Promise<never> {
    return this.#failed;
  }

  /** Resolves when the first worker polls. */
  async started(): Promise<void> {
    await Promise.race([this.#ready, this.#failed]);
  }

  /** Lets the worker's activities stop at their checkpoints; after `graceMs` it is killed, which it survives as well. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true;
    await this.#child?.end(graceMs);
    await this.#kept.catch(() => undefined);
  }

  /** What the screen shows of it. */
  line(): string {
    const pid = this.#child === undefined ? 'starting' : `pid ${this.#child.pid} (kill -9 it and see)`;
    const restarts =
      this.#restarts === 0 ? '' : ` · started again ${this.#restarts} × after ${this.#lastEnd}`;
    return labelled('worker', pid + restarts, plain);
  }

  async #keep(): Promise<void> {
    for (let failedStarts = 0; !this.#stopping;) {
      let ready = false;
      const child = new Child<FromWorker>({
        module: 'worker-process',
        args: ['--address', this.#options.address, '--namespace', this.#options.namespace],
        env: this.#options.env,
        logFile: this.#options.logFile,
        onMessage: () => {
          ready = true;
          this.#markReady();
        },
      });
      this.#child = child;
      this.#lastEnd = await child.ended;
      failedStarts = ready ? 0 : failedStarts + 1;
      if (this.#stopping) return;
      if (failedStarts === FAILED_STARTS) {
        throw new Error(
          `the worker does not start (${this.#lastEnd}); it last printed:\n${child.lastLines(10).join('\n')}`,
        );
      }
      this.#restarts++;
      await sleep(RESTART_MS);
    }
  }
}
