/** Chooses a client's next operation at random, among those that its own rows allow. */
import type { Random } from '../../demo/database/random.ts';
import { ACCOUNTS, COUNTERS } from './database.ts';
import type { Holdings } from './holdings.ts';
import type { Kind, Operation } from './operations.ts';

const KEYS = 30;
const SLOTS = 12;

const WEIGHTS: [Kind, number][] = [
  ['insert', 4],
  ['upsert', 4],
  ['replace', 3],
  ['update', 6],
  ['rekey', 2],
  ['delete', 2],
  ['swap', 2],
  ['item', 3],
  ['transfer', 4],
  ['count', 4],
];
const LOTS = WEIGHTS.flatMap(([kind, weight]) => Array.from({ length: weight }, () => kind));

/** Slots are unique in the whole table, so each client has its own. */
function slotOf(client: number, n: number): number {
  return client * SLOTS + n;
}

export function choose(random: Random, client: number, number: number, holdings: Holdings): Operation {
  const v = `${client}.${number}`;
  const present = [...holdings.keys()];
  const absent = (): number => {
    const free = Array.from({ length: KEYS }, (_, k) => k).filter((k) => !holdings.has(k));
    return random.pick(free);
  };
  const freeSlot = (besides?: number): number | null => {
    const taken = new Set([...holdings].filter(([k]) => k !== besides).map(([, entry]) => entry.slot));
    const free = Array.from({ length: SLOTS }, (_, n) => slotOf(client, n)).filter(
      (slot) => !taken.has(slot),
    );
    return free.length === 0 || random.chance(0.2) ? null : random.pick(free);
  };
  const kind = random.pick(LOTS);
  switch (kind) {
    case 'transfer': {
      const from = 1 + random.below(ACCOUNTS);
      const to = 1 + ((from + random.below(ACCOUNTS - 1)) % ACCOUNTS);
      return { kind, from, to, amount: 1 + random.below(200) };
    }
    case 'count':
      return { kind, counter: 1 + random.below(COUNTERS) };
    case 'upsert': {
      const k = random.below(KEYS);
      return { kind, k, slot: freeSlot(k), v };
    }
    case 'replace':
      return { kind, k: random.below(KEYS), slot: slotOf(client, random.below(SLOTS)), v };
    case 'swap': {
      const slotted = present.filter((k) => holdings.get(k)!.slot !== null);
      if (slotted.length < 2) break;
      const a = random.pick(slotted);
      const b = random.pick(slotted.filter((k) => k !== a));
      return { kind, a, b, slots: [holdings.get(a)!.slot!, holdings.get(b)!.slot!] };
    }
    case 'update':
    case 'delete':
    case 'item': {
      if (present.length === 0) break;
      const k = random.pick(present);
      if (kind === 'update') return { kind, k, v };
      return kind === 'delete' ? { kind, k } : { kind, k, note: v };
    }
    case 'rekey':
      if (present.length === 0 || present.length === KEYS) break;
      return { kind, k: random.pick(present), to: absent() };
    case 'insert':
      break;
  }
  // Where the wish cannot be met, a row comes or goes.
  if (present.length === KEYS) return { kind: 'delete', k: random.pick(present) };
  return { kind: 'insert', k: absent(), slot: freeSlot(), v };
}
