/**
 * Connections of one piece of work, so that a server that stops answering cannot hold it for ever. TCP notices a peer
 * that is gone after minutes or hours, and one that is stopped never.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type pg from 'pg';

/** How long work may take to come to rest once it is called off. */
const REST_MS = 10_000;
/** How long a server may take to answer a farewell. */
const FAREWELL_MS = 1_000;

const open = new AsyncLocalStorage<Set<pg.Client>>();

/** Runs `work`; where it has not come to rest within `restMs` after the signal aborted, its connections are cut. */
export async function withinReach<T>(
  signal: AbortSignal,
  work: () => Promise<T>,
  restMs = REST_MS,
): Promise<T> {
  const clients = new Set<pg.Client>();
  let timer: NodeJS.Timeout | undefined;
  const onAbort = (): void => {
    timer = setTimeout(() => clients.forEach(cut), restMs);
  };
  if (signal.aborted) onAbort();
  else signal.addEventListener('abort', onAbort);
  try {
    return await open.run(clients, work);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}

/** Counts a client to the work that opened it, until it is closed; its `end` does not wait for a server that is silent. */
export function reachable(client: pg.Client): pg.Client {
  const clients = open.getStore();
  clients?.add(client);
  const end = client.end.bind(client);
  client.end = (async () => {
    clients?.delete(client);
    const timer = setTimeout(() => cut(client), FAREWELL_MS);
    try {
      await end();
    } finally {
      clearTimeout(timer);
    }
  }) as pg.Client['end'];
  return client;
}

/** Statements that wait for an answer fail. */
export function cut(client: pg.Client): void {
  (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
}
