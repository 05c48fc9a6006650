/** An application in a process of its own, which writes through the router as fast as it is told, whatever the answers take. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';

export interface ApplicationInput {
  source: string;
  target: string;
  /** Rows of the table `item`, from 1. */
  rows: number;
  writesPerSecond: number;
  /** What a write is: one more in a row of the table, or a row of its own. Default `update`. */
  write?: 'update' | 'insert';
  /** A point read with every write; default none. */
  reads?: boolean;
}

/** One operation that was answered. */
export interface Answer {
  /** Of the row. */
  id: number;
  /** When the answer came, ms since 1970. */
  at: number;
  /** From the moment when it was due. */
  ms: number;
}

/** Since the last report. */
export interface TrafficReport {
  /** Answered, in that order. */
  writes: Answer[];
  reads: Answer[];
  /** What failed, by message. */
  failures: string[];
  /** Of the slowest, answered or still waiting, from the moment when it was due, ms. */
  longestMs: number;
}

export class Application {
  readonly #child: ChildProcess;
  readonly #ended: Promise<never>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#ended = once(child, 'exit').then(([code]) => {
      throw new Error(`the application ended with ${code}`);
    });
    this.#ended.catch(() => undefined);
  }

  static async start(input: ApplicationInput): Promise<Application> {
    const child = fork(new URL('./tasks/application.js', import.meta.url), {
      detached: true,
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    const application = new Application(child);
    child.send(input);
    await application.report();
    return application;
  }

  /** @throws Error where it has ended */
  async report(): Promise<TrafficReport> {
    const answer = once(this.#child, 'message').then(([message]) => message as TrafficReport);
    this.#child.send('report');
    return Promise.race([answer, this.#ended]);
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.disconnect();
    await ended;
  }
}
