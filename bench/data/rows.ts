/** The values of one row of each table; parameters in the order of the columns. */
import type { Random } from './random.ts';

const KINDS = ['view', 'click', 'purchase', 'refund', 'sign-in', 'sign-out'] as const;
export function account(random: Random, id: number): unknown[] {
  return [
    id,
    `user${id}@example.com`,
    random.text(8 + random.below(16)),
    random.below(4) === 0 ? null : random.text(random.below(300)),
    random.below(2),
    random.below(10) === 0 ? null : random.double(),
    random.below(3) === 0 ? random.bytes(random.below(96)) : null,
    random.datetime(),
  ];
}

export function event(random: Random, id: number, accounts: number): unknown[] {
  const kind = random.pick(KINDS);
  return [
    id,
    1 + random.below(accounts),
    kind,
    random.below(3) === 0 ? random.below(1_000_000) / 100 : null,
    random.below(2) === 0 ? random.double() : null,
    random.below(2) === 0 ? `{"page":${random.below(1_000)},"kind":"${kind}","ok":true}` : null,
    random.below(4) === 0 ? random.text(random.below(160)) : '',
    random.datetime(),
  ];
}

/** @param n number of the rating, from 0: the key is a function of it, so that no two are equal */
export function rating(random: Random, n: number, accounts: number): unknown[] {
  return [
    1 + (n % accounts),
    `item-${String(Math.floor(n / accounts)).padStart(6, '0')}`,
    1 + random.below(5),
    random.double(),
    random.below(3) === 0 ? random.text(random.below(120)) : null,
  ];
}
