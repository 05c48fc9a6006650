/** The two databases of a migration, resolved by the worker, and the errors of losing them. */
import { setTimeout as sleep } from 'node:timers/promises';

export interface Endpoints {
  /** Path of the SQLite file. */
  sourcePath: string;
  /** URL of the PostgreSQL database, with its password: never shown, never logged. */
  targetUrl: string;
}

/** Waits, and ends early without an error where the signal aborts. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await sleep(ms, undefined, { signal }).catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
}
