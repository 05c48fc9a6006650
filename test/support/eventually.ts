import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Waits until `holds` is true.
 * @param what or what to say of it when it did not
 * @throws Error naming `what` where it does not become true in time
 */
export async function eventually(
  what: string | (() => string),
  holds: () => boolean | Promise<boolean>,
  timeoutMs = 30_000,
): Promise<void> {
  const until = performance.now() + timeoutMs;
  while (!(await holds())) {
    if (performance.now() > until) {
      throw new Error(`not within ${timeoutMs} ms: ${typeof what === 'string' ? what : what()}`);
    }
    await sleep(20);
  }
}
