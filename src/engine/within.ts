/** Work that must not outlast a fence. */
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Waits for `work`, but not beyond the deadline: whatever hangs, the application's writes do not wait for it.
 * `work` goes on where it is late, so what it does after that must be refused by the rows that it would change.
 * @param deadline by performance.now()
 * @param late makes the error of being late
 */
export async function within<T>(deadline: number, work: Promise<T>, late: () => Error): Promise<T> {
  const timer = new AbortController();
  const lateness = sleep(Math.max(0, deadline - performance.now()), undefined, { signal: timer.signal }).then(
    () => {
      throw late();
    },
  );
  lateness.catch(() => undefined);
  try {
    return await Promise.race([work, lateness]);
  } finally {
    timer.abort();
    work.catch(() => undefined);
  }
}
