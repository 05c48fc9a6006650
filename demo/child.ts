/** A process of the demo: started with a channel, whose closing it takes as the order to end. */
import { fork, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import type { FromConductor } from './messages.ts';

/** Modules below this folder, without their extension. */
export type ChildModule =
  'application-process' | 'workers-application-process' | 'worker-process' | 'sources/d1-process';

export interface ChildOptions<Message> {
  module: ChildModule;
  args: string[];
  env: NodeJS.ProcessEnv;
  /** Receives what the process prints. */
  logFile: string;
  onMessage(message: Message): void;
}

export class Child<Message> {
  readonly pid: number;
  /** How it ended, in words. */
  readonly ended: Promise<string>;
  readonly #process: ChildProcess;
  readonly #logFile: string;

  constructor(options: ChildOptions<Message>) {
    const log = openSync(options.logFile, 'a');
    try {
      this.#process = fork(new URL(`./${options.module}.js`, import.meta.url), options.args, {
        env: options.env,
        // A session of its own: Ctrl-C in the terminal is for the conductor, which ends the others in order.
        detached: true,
        stdio: ['ignore', log, log, 'ipc'],
      });
    } finally {
      closeSync(log);
    }
    this.#logFile = options.logFile;
    this.pid = this.#process.pid ?? 0;
    this.#process.on('message', (message) => options.onMessage(message as Message));
    const child = this.#process;
    // The channel closes after the last message has arrived, which may be later than the exit.
    const silent = new Promise<void>((resolve) => child.once('disconnect', resolve));
    this.ended = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        const how = signal === null ? `exit status ${code}` : `signal ${signal}`;
        if (child.connected) void silent.then(() => resolve(how));
        else resolve(how);
      });
      child.once('error', (error) => resolve(error.message));
    });
  }

  send(message: FromConductor): void {
    if (this.#process.connected) this.#process.send(message);
  }

  /** Asks it to stop, and kills it after `graceMs`. */
  async end(graceMs: number): Promise<void> {
    this.send({ type: 'stop' });
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), graceMs);
    await this.ended;
    clearTimeout(timer);
  }

  /** The last lines that it printed. */
  lastLines(count: number): string[] {
    return readFileSync(this.#logFile, 'utf8').trimEnd().split('\n').slice(-count);
  }
}
