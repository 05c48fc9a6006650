/** Reads the application's traffic for the live view, over one connection that is opened again when it breaks. */
import type pg from 'pg';
import type { TrafficSnapshot } from '../contract.ts';
import { connectTarget } from '../databases/postgres/connection.ts';
import { readTraffic } from '../engine/traffic.ts';

const WINDOW_MS = 5_000;

export class TrafficReader {
  readonly #url: string;
  #client: pg.Client | undefined;

  constructor(targetUrl: string) {
    this.#url = targetUrl;
  }

  /** @returns undefined where there is nothing to read yet, or the target is away: the view is the poorer for it, no more */
  async read(): Promise<TrafficSnapshot | undefined> {
    try {
      this.#client ??= await connectTarget(this.#url, { applicationName: 'crossfade view' });
      return await readTraffic(this.#client, WINDOW_MS);
    } catch {
      await this.close();
      return undefined;
    }
  }

  async close(): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    await client?.end().catch(() => undefined);
  }
}
