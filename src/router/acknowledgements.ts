/**
 * Dual writes: a write is acknowledged when replay has passed its log position, so that both databases have it, or
 * after its timeout. One poller serves all writes that wait. After a timeout no further write waits until replay has
 * passed the late one: while nobody replays, the application must not pay the timeout with every write.
 */
import type { Target } from './target.ts';
import { unreferenced, type Timer } from './timers.ts';

const POLL_MS = 5;
/** A target that does not answer or is late is not asked as often. */
const SLOW_POLL_MS = 100;

/** Position of the newest write that ran out of time, until replay passes it. */
export interface Lateness {
  position?: number;
}

interface Waiter {
  position: number;
  deadline: number;
  resolve: (both: boolean) => void;
}

export class Acknowledgements {
  readonly #target: Target;
  #waiters: Waiter[] = [];
  readonly #lateness: Lateness;
  #timer: Timer | undefined;
  #looking = false;
  readonly #onExpired: (writes: number, waited: boolean) => void;

  /**
   * @param onExpired called with how many writes go on without the target, and whether they have waited for it
   * @param lateness shared by those that write to the same database
   */
  constructor(target: Target, onExpired: (writes: number, waited: boolean) => void, lateness: Lateness = {}) {
    this.#target = target;
    this.#onExpired = onExpired;
    this.#lateness = lateness;
  }

  /** Resolves to whether the target has everything up to `position`; never rejects. */
  wait(position: number, timeoutMs: number): Promise<boolean> {
    if (this.#lateness.position !== undefined) {
      this.#onExpired(1, false);
      return Promise.resolve(false);
    }
    return new Promise((resolve) => {
      this.#waiters.push({ position, deadline: performance.now() + timeoutMs, resolve });
      if (this.#timer === undefined) this.#tick();
    });
  }

  /** The target has everything up to `position`. */
  passed(position: number): void {
    if ((this.#lateness.position ?? Number.POSITIVE_INFINITY) <= position) delete this.#lateness.position;
  }

  get waiting(): number {
    return this.#waiters.length;
  }

  /** Nobody replays any more, so nobody waits. */
  release(): void {
    delete this.#lateness.position;
    this.#settle(() => true, false);
  }

  #tick(): void {
    this.#timer = undefined;
    this.#expire();
    if (this.#idle) return;
    if (!this.#looking) {
      this.#looking = true;
      // A hanging target must not hold up the timeouts: the ticks go on without it.
      void this.#target.look().then((view) => {
        this.#looking = false;
        if (view.control !== 'present') return;
        this.passed(view.row.position);
        this.#settle((waiter) => waiter.position <= view.row.position, true);
      });
    }
    const brisk = this.#target.reachable && this.#lateness.position === undefined;
    this.#timer = setTimeout(() => this.#tick(), brisk ? POLL_MS : SLOW_POLL_MS);
    // Nobody waits for the look that ends a lateness.
    if (this.#waiters.length === 0) unreferenced(this.#timer);
  }

  get #idle(): boolean {
    return this.#waiters.length === 0 && this.#lateness.position === undefined;
  }

  #expire(): void {
    const now = performance.now();
    const expired = this.#waiters.filter((waiter) => waiter.deadline <= now);
    if (expired.length === 0) return;
    this.#lateness.position = Math.max(...expired.map((waiter) => waiter.position));
    // Those that came after them would only wait for the same.
    const writes = this.#settle(() => true, false);
    this.#onExpired(writes, true);
  }

  #settle(isDone: (waiter: Waiter) => boolean, both: boolean): number {
    const before = this.#waiters.length;
    this.#waiters = this.#waiters.filter((waiter) => {
      if (!isDone(waiter)) return true;
      waiter.resolve(both);
      return false;
    });
    if (this.#idle) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
    }
    return before - this.#waiters.length;
  }
}
