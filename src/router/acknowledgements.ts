/**
 * Dual writes: a write is acknowledged when replay has passed its log position, so that both databases have it, or
 * after its timeout. One poller serves all writes that wait.
 */
import type { Target } from './target.ts';

const POLL_MS = 5;
/** A target that does not answer is not asked as often. */
const UNREACHABLE_POLL_MS = 100;

interface Waiter {
  position: number;
  deadline: number;
  resolve: (both: boolean) => void;
}

export class Acknowledgements {
  readonly #target: Target;
  #waiters: Waiter[] = [];
  #timer: NodeJS.Timeout | undefined;
  #looking = false;
  readonly #onExpired: (writes: number) => void;

  /** @param onExpired called with how many writes ran out of time together */
  constructor(target: Target, onExpired: (writes: number) => void) {
    this.#target = target;
    this.#onExpired = onExpired;
  }

  /** Resolves to whether the target has everything up to `position`; never rejects. */
  wait(position: number, timeoutMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      this.#waiters.push({ position, deadline: performance.now() + timeoutMs, resolve });
      if (this.#timer === undefined) this.#tick();
    });
  }

  get waiting(): number {
    return this.#waiters.length;
  }

  /** Nobody replays any more, so nobody waits. */
  release(): void {
    this.#settle(() => true, false);
  }

  #tick(): void {
    this.#timer = undefined;
    this.#expire();
    if (this.#waiters.length === 0) return;
    if (!this.#looking) {
      this.#looking = true;
      // A hanging target must not hold up the timeouts: the ticks go on without it.
      void this.#target.look().then((view) => {
        this.#looking = false;
        if (view.control === 'present') this.#settle((waiter) => waiter.position <= view.row.position, true);
      });
    }
    this.#timer = setTimeout(() => this.#tick(), this.#target.reachable ? POLL_MS : UNREACHABLE_POLL_MS);
  }

  #expire(): void {
    const now = performance.now();
    const expired = this.#settle((waiter) => waiter.deadline <= now, false);
    if (expired > 0) this.#onExpired(expired);
  }

  #settle(isDone: (waiter: Waiter) => boolean, both: boolean): number {
    const before = this.#waiters.length;
    this.#waiters = this.#waiters.filter((waiter) => {
      if (!isDone(waiter)) return true;
      waiter.resolve(both);
      return false;
    });
    if (this.#waiters.length === 0) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
    }
    return before - this.#waiters.length;
  }
}
