/** What a client's operations leave of its own rows, by a model of a few lines that knows no database. */
import type { Operation } from './operations.ts';

export interface Entry {
  slot: number | null;
  n: number;
  v: string;
  /** Notes of its items, in the order of insertion. */
  notes: string[];
}

/** A client's entries by k. */
export type Holdings = Map<number, Entry>;

/** The holdings after the operation; the given ones stay as they are. */
export function after(holdings: Holdings, operation: Operation): Holdings {
  const next = new Map([...holdings].map(([k, entry]) => [k, { ...entry, notes: [...entry.notes] }]));
  switch (operation.kind) {
    case 'insert':
      next.set(operation.k, { slot: operation.slot, n: 0, v: operation.v, notes: [] });
      break;
    case 'upsert': {
      const { k, slot, v } = operation;
      const before = next.get(k);
      next.set(k, { slot, n: before === undefined ? 0 : before.n + 1, v, notes: before?.notes ?? [] });
      break;
    }
    case 'replace': {
      const { k, slot, v } = operation;
      for (const [other, entry] of next) if (other === k || entry.slot === slot) next.delete(other);
      next.set(k, { slot, n: 0, v, notes: [] });
      break;
    }
    case 'update': {
      const entry = next.get(operation.k)!;
      next.set(operation.k, { ...entry, n: entry.n + 1, v: operation.v });
      break;
    }
    case 'rekey': {
      const entry = next.get(operation.k)!;
      next.delete(operation.k);
      next.set(operation.to, entry);
      break;
    }
    case 'delete':
      next.delete(operation.k);
      break;
    case 'swap': {
      const { a, b, slots } = operation;
      next.set(a, { ...next.get(a)!, slot: slots[1] });
      next.set(b, { ...next.get(b)!, slot: slots[0] });
      break;
    }
    case 'item':
      next.get(operation.k)!.notes.push(operation.note);
      break;
    case 'transfer':
    case 'count':
      break;
  }
  return next;
}
