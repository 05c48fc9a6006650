/** Reads the source beside the event loop. */
import { Worker } from 'node:worker_threads';

export interface Query {
  sql: string;
  parameters: unknown[];
}

export type Row = Record<string, unknown>;

type Answer = { rows: (Row | undefined)[] } | { failed: { message: string; code?: string } };

interface Asked {
  resolve(rows: (Row | undefined)[]): void;
  reject(error: unknown): void;
}

/** One connection to the source in a thread of its own. */
export class ReadingThread {
  readonly path: string;
  private readonly thread: Worker;
  /** In the order of their answers. */
  private readonly asked: Asked[] = [];
  private ended: Error | undefined;

  /** @param path of a source that another connection of this process has open */
  constructor(path: string) {
    this.path = path;
    this.thread = new Worker(new URL('./query-thread.js', import.meta.url), { workerData: { path } });
    this.thread.on('message', (answer: Answer) => {
      const { resolve, reject } = this.asked.shift()!;
      if ('rows' in answer) resolve(answer.rows);
      else reject(Object.assign(new Error(answer.failed.message), { code: answer.failed.code }));
    });
    this.thread.on('error', (error) => this.end(error));
    this.thread.on('exit', () => this.end(new Error('the thread that reads the source has ended')));
  }

  /**
   * @returns the first row of each query, undefined where it has none, all on one snapshot; integers as bigint, blobs as
   *   Uint8Array
   * @throws Error with SQLite's code
   */
  read(queries: Query[]): Promise<(Row | undefined)[]> {
    if (this.ended !== undefined) return Promise.reject(this.ended);
    return new Promise((resolve, reject) => {
      this.asked.push({ resolve, reject });
      this.thread.postMessage(queries);
    });
  }

  async close(): Promise<void> {
    await this.thread.terminate();
  }

  private end(error: Error): void {
    this.ended ??= error;
    for (const { reject } of this.asked.splice(0)) reject(this.ended);
  }
}
