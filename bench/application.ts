/** An application in a process of its own, which writes through the router as fast as it is told, whatever the answers take. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';

export interface ApplicationInput {
  source: string;
  target: string;
  /** Rows of the table `item`, from 1. */
  rows: number;
  writesPerSecond: number;
}

/** Of the writes that were answered since the last report. */
export interface TrafficReport {
  writes: number;
  /** What failed, by message. */
  failures: string[];
  /** Of the slowest, from the moment when it was due, ms. */
  longestMs: number;
}

export class Application {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
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
    const ended = once(this.#child, 'exit').then(([code]) => {
      throw new Error(`the application ended with ${code}`);
    });
    ended.catch(() => undefined);
    const answer = once(this.#child, 'message').then(([message]) => message as TrafficReport);
    this.#child.send('report');
    return Promise.race([answer, ended]);
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.disconnect();
    await ended;
  }
}
