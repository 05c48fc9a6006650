/** Real local D1 databases, in a process of their own. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { fetchOnce } from '../../cloudflare/fetch-once.ts';

const PROGRAM = fileURLToPath(new URL('./local-d1.js', import.meta.url));

export interface Statement {
  sql: string;
  params?: unknown[];
}

export class LocalD1 {
  private readonly url: string;
  private readonly process: ChildProcess;

  private constructor(url: string, process: ChildProcess) {
    this.url = url;
    this.process = process;
  }

  /** @param ids of the databases; the first one answers */
  static async start(folder: string, ids: string[]): Promise<LocalD1> {
    const child = spawn(process.execPath, [PROGRAM, folder, ...ids], { stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface(child.stdout!);
    const [url] = await Promise.race([
      once(lines, 'line') as Promise<[string]>,
      once(child, 'exit').then(([status]) => {
        throw new Error(`workerd did not start: exit status ${status}`);
      }),
    ]);
    return new LocalD1(url, child);
  }

  /** Runs one batch through workerd. @returns the rows of each statement @throws Error with D1's message */
  async batch(...statements: Statement[]): Promise<Record<string, unknown>[][]> {
    const response = await fetchOnce(this.url, { method: 'POST', body: JSON.stringify(statements) });
    const text = await response.text();
    if (!response.ok) throw new Error(text);
    return JSON.parse(text) as Record<string, unknown>[][];
  }

  /** What `wrangler d1 export --local` writes. */
  async export(): Promise<string> {
    const response = await fetchOnce(new URL('export', this.url), { method: 'POST', body: '[]' });
    const text = await response.text();
    if (!response.ok) throw new Error(text);
    return text;
  }

  async stop(): Promise<void> {
    const gone = this.process.exitCode === null ? once(this.process, 'exit') : undefined;
    this.process.stdin!.end();
    await gone;
  }
}
