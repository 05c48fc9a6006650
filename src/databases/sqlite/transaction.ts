/** Transactions on the source that do not hold the event loop while another writer has the lock. */
import { setTimeout as sleep } from 'node:timers/promises';
import type Database from 'better-sqlite3';
import { CrossfadeError, driverCode } from '../../errors.ts';
import { originOf } from './origin.ts';

export function isBusy(error: unknown): boolean {
  return driverCode(error).startsWith('SQLITE_BUSY');
}

/**
 * Runs `work` in BEGIN IMMEDIATE … COMMIT. `work` is synchronous, so that no write transaction spans an await: a worker
 * that is stopped or replaced never holds SQLite's only write lock. Retries while another writer has it. In a mirror,
 * `work` may run several times, and its changes are made at the origin.
 * @throws CrossfadeError SourceBusy after `timeoutMs`; whatever `work` throws, rolled back
 */
export async function writeTransaction<T>(
  db: Database.Database,
  work: () => T,
  timeoutMs = 10_000,
): Promise<T> {
  const origin = originOf(db.name);
  if (origin !== undefined) return origin.change(db, work, false);
  return retryBusy(db, () => db.transaction(work).immediate(), timeoutMs);
}

/** Runs a synchronous `work` again while another writer has the lock. @throws CrossfadeError SourceBusy after `timeoutMs` */
export async function retryBusy<T>(db: Database.Database, work: () => T, timeoutMs = 10_000): Promise<T> {
  const giveUpAt = performance.now() + timeoutMs;
  for (;;) {
    try {
      return work();
    } catch (error) {
      if (!isBusy(error)) throw error;
      if (performance.now() > giveUpAt) {
        throw new CrossfadeError(
          'SourceBusy',
          `source ${db.name} was locked by another writer for ${timeoutMs} ms: end its long transaction`,
          error,
        );
      }
      await sleep(2 + Math.random() * 8);
    }
  }
}

/** Runs a synchronous `work` on one snapshot. */
export function readTransaction<T>(db: Database.Database, work: () => T): T {
  return db.transaction(work).deferred();
}
