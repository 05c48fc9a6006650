/** A process of a chaos run that may be killed, held and started again; what it prints goes to a file. */
import { fork, type ChildProcess } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export interface ProcessOptions {
  /** Compiled module. */
  module: URL;
  args: string[];
  env: NodeJS.ProcessEnv;
  /** Modules that node loads before it. */
  preload?: URL[];
  logFile: string;
}

export class Process {
  readonly ended: Promise<void>;
  readonly #child: ChildProcess;
  #running = true;

  constructor({ module, args, env, preload = [], logFile }: ProcessOptions) {
    const log = openSync(logFile, 'a');
    try {
      this.#child = fork(fileURLToPath(module), args, {
        env,
        execArgv: preload.flatMap(({ href }) => ['--import', href]),
        detached: true,
        stdio: ['ignore', log, log, 'ipc'],
      });
    } finally {
      closeSync(log);
    }
    const child = this.#child;
    this.ended = new Promise((resolve) => {
      const end = (): void => {
        this.#running = false;
        resolve();
      };
      child.once('exit', end);
      child.once('error', end);
    });
  }

  get running(): boolean {
    return this.#running;
  }

  /** @throws Error where it could not be started */
  get pid(): number {
    const { pid } = this.#child;
    if (pid === undefined) throw new Error('the process was not started');
    return pid;
  }

  /** The next message that it sends. @throws Error where it ends before */
  async message<T>(): Promise<T> {
    const sent = new Promise<T>((resolve) => this.#child.once('message', (message) => resolve(message as T)));
    const ended = this.ended.then(() => {
      throw new Error(`${this.#child.spawnfile} ${this.#child.spawnargs[1] ?? ''} ended before it was ready`);
    });
    return Promise.race([sent, ended]);
  }

  signal(signal: NodeJS.Signals): void {
    if (this.#running) this.#child.kill(signal);
  }

  async kill(): Promise<void> {
    this.signal('SIGKILL');
    await this.ended;
  }

  /** Asks it to stop, and kills it after `graceMs`. */
  async stop(graceMs: number): Promise<void> {
    this.signal('SIGCONT');
    this.signal('SIGTERM');
    const timer = setTimeout(() => this.signal('SIGKILL'), graceMs);
    await this.ended;
    clearTimeout(timer);
  }
}
