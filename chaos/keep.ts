/** What is done to the machine and has to be undone, also where this process is killed before it could. */
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { supervise } from '../src/embedded/supervise.ts';

/** What a keeper prints when it has done its work. */
export const KEPT = 'kept';

/**
 * Starts a keeper, a process that does something and undoes it when it is asked to end: by the answer's call, or by its
 * supervisor when this process is gone.
 * @param args `disk`: mount point, size; `stopped`: process ids
 * @returns once it is done, how to undo it
 * @throws Error with what the keeper printed last
 */
export async function keep(what: 'disk' | 'stopped', args: string[]): Promise<() => Promise<void>> {
  let told: () => void = () => undefined;
  const done = new Promise<void>((resolve) => (told = resolve));
  const keeper = await supervise({
    name: `the keeper (${what})`,
    command: process.execPath,
    args: [fileURLToPath(new URL(`./keep-${what}.js`, import.meta.url)), ...args],
    onLine: (line) => {
      if (line === KEPT) told();
    },
  });
  await Promise.race([done, keeper.failed]);
  return () => keeper.stop();
}

/** Stops a process, with all that it has started, for so long. */
export async function hold(pid: number, ms: number): Promise<void> {
  const release = await keep('stopped', [String(pid)]);
  await sleep(ms);
  await release();
}
