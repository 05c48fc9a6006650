/** What the journals say, sorted by client. */
import { readJournal, type Outcome, type Side } from '../application/journal.ts';
import type { Operation } from '../application/operations.ts';

export interface Told {
  number: number;
  operation: Operation;
  outcome: Outcome;
  /** When it was sent and when its outcome was known, by Date.now(). */
  from: number;
  to: number;
  /** Where it was written, if the client chose that. */
  side?: Side;
}

export interface History {
  /** Each client's operations in its own order; what follows an unknown outcome is another client's. */
  clients: Map<number, Told[]>;
  stale: string[];
}

export function readHistory(journals: readonly string[]): History {
  const clients = new Map<number, Told[]>();
  const stale: string[] = [];
  for (const line of journals.flatMap(readJournal)) {
    if ('stale' in line) {
      stale.push(line.stale);
      continue;
    }
    const told = clients.get(line.client) ?? [];
    clients.set(line.client, told);
    // Until an outcome follows, it is the one of a process that was killed.
    const { number, at } = line;
    // Until an outcome follows, it is the one of a process that was killed.
    if ('attempt' in line) {
      told.push({
        number,
        operation: line.attempt,
        outcome: 'unknown',
        from: at,
        to: Number.POSITIVE_INFINITY,
      });
      continue;
    }
    const { outcome, side } = line;
    Object.assign(told.at(-1)!, { outcome, to: at, ...(side === undefined ? {} : { side }) });
  }
  return { clients, stale };
}

export interface Tally {
  acknowledged: number;
  refused: number;
  unknown: number;
}

export function tally({ clients }: History): Tally {
  const counts: Tally = { acknowledged: 0, refused: 0, unknown: 0 };
  for (const told of clients.values()) for (const { outcome } of told) counts[outcome]++;
  return counts;
}
