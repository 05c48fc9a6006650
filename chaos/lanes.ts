/** Several things one after the other, on several lanes at once, each with servers of its own, because runs stop them. */
import { join } from 'node:path';
import { Servers } from './servers.ts';

/**
 * @param work is given the next item and the servers of its lane; one that throws ends every lane at its next item
 * @param stopped is asked before each item
 */
export async function inLanes<T>(
  items: readonly T[],
  { parallel, folder, stopped, onLine }: LaneOptions,
  work: (item: T, servers: Servers) => Promise<void>,
): Promise<void> {
  const queue = [...items];
  let failed = false;
  const lane = async (number: number): Promise<void> => {
    const servers = await Servers.start(join(folder, `servers-${number}`), onLine);
    if (number === 0 && servers.withoutDisk !== undefined) {
      onLine(`no disk is filled: ${servers.withoutDisk}`);
    }
    try {
      while (!failed && !stopped()) {
        const item = queue.shift();
        if (item === undefined) return;
        await work(item, servers);
      }
    } finally {
      await servers.stop();
    }
  };
  const lanes = Array.from({ length: Math.min(parallel, items.length) }, (_, number) =>
    lane(number).catch((error: unknown) => {
      failed = true;
      throw error;
    }),
  );
  for (const result of await Promise.allSettled(lanes)) if (result.status === 'rejected') throw result.reason;
}

export interface LaneOptions {
  parallel: number;
  /** Of the servers' data. */
  folder: string;
  stopped(): boolean;
  onLine(line: string): void;
}
