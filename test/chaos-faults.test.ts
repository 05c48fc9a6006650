/** What a chaos session chooses. */
import { chooseFaults, FAULT_KINDS } from '../chaos/faults.ts';
import { Random } from '../demo/database/random.ts';
import { seeded } from './support/random.ts';

const ANY = { faults: [], phases: [] };

it('every kind of fault is chosen within a hundred runs in a row', () => {
  const from = seeded('chaos faults').below(1_000_000);
  const chosen = Array.from({ length: 100 }, (_, i) => chooseFaults(from + i, new Random(from + i), ANY));
  const kinds = new Set(chosen.flat().map(({ fault }) => fault.kind));
  expect(FAULT_KINDS.filter((kind) => !kinds.has(kind))).toEqual([]);
});

it('the same seed chooses the same faults', () => {
  expect(chooseFaults(7, new Random(7), ANY)).toEqual(chooseFaults(7, new Random(7), ANY));
});
