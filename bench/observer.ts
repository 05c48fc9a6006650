/** Looks from outside at what a migration does to both databases, several hundred times a second. */
import { statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { epochMs } from './clock.ts';

const EVERY_MS = 1;

/** Rows of `item` up to `id` were visible in the target at `at`, ms since 1970. */
export interface Sighting {
  id: number;
  at: number;
}

export class Observer {
  readonly sightings: Sighting[] = [];
  /** Size of the source's WAL, in bytes, by the moment, ms since 1970. */
  readonly wal: { bytes: number; at: number }[] = [];
  #stopping = false;
  readonly #client: pg.Client;
  readonly #walPath: string;

  /** @param client for this alone */
  constructor(client: pg.Client, sourcePath: string) {
    this.#client = client;
    this.#walPath = `${sourcePath}-wal`;
  }

  /** Looks while `work` is under way. @throws as `work`; what ended the looking before */
  async during<T>(work: () => Promise<T>): Promise<T> {
    const looking = this.#look();
    looking.catch(() => undefined);
    try {
      return await work();
    } finally {
      this.#stopping = true;
      await looking;
    }
  }

  async #look(): Promise<void> {
    let seen = 0;
    while (!this.#stopping) {
      const { rows } = await this.#client.query<{ id: number }>({
        name: 'newest',
        text: 'SELECT max(id)::int AS id FROM item',
      });
      const at = epochMs();
      const id = rows[0]!.id;
      if (id > seen) this.sightings.push({ id, at });
      seen = id;
      this.wal.push({ at, bytes: statSync(this.#walPath).size });
      await sleep(EVERY_MS);
    }
  }
}
