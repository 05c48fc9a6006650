/** Paces the synchronous steps over a table of a live source. */
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';

/** Rows of one synchronous step at most, and the time that a step should take. */
const STEP_ROWS = 5_000;
const STEP_MS = 10;
/** A busy machine makes any step slow; below this many rows or bytes a shorter one gains nothing. */
const LEAST_ROWS = 250;
const LEAST_BYTES = 1024 * 1024;
/** Without a gap now and then SQLite's checkpoint never finishes and the WAL grows. */
const GAP_AFTER_MS = 50;
const GAP_MS = 5;

/** Short calls, with room for the source's own work between them; one object per table. */
export class Pace {
  private rows = 500;
  private least = LEAST_ROWS;
  private busyMs = 0;

  /** Tells the bytes of the largest row so far: large rows are read a few at a time. */
  largest(bytes: number): void {
    this.least = Math.min(LEAST_ROWS, Math.max(1, Math.floor(LEAST_BYTES / Math.max(1, bytes))));
  }

  /** Runs a step, given the rows that it may read. */
  async step<T>(work: (rows: number) => T): Promise<T> {
    const started = performance.now();
    const result = work(this.rows);
    const ms = performance.now() - started;
    if (ms > STEP_MS) this.rows = Math.max(this.least, this.rows >> 1);
    else if (ms < STEP_MS / 2) this.rows = Math.min(STEP_ROWS, this.rows * 2);
    this.busyMs += ms;
    if (this.busyMs > GAP_AFTER_MS) {
      this.busyMs = 0;
      await sleep(GAP_MS);
    } else {
      await nextTurn();
    }
    return result;
  }
}
