/** What a chaos session chooses. */
import { chooseFaults, faultKinds } from '../chaos/faults.ts';
import { Random } from '../demo/database/random.ts';
import { seeded } from './support/random.ts';

const ANY = { faults: [], phases: [] };

it.each([
  ['sqlite', 100],
  ['d1', 50],
] as const)('every kind of fault is chosen for %s within %d runs in a row', (source, runs) => {
  const from = seeded('chaos faults').below(1_000_000);
  const chosen = Array.from({ length: runs }, (_, i) =>
    chooseFaults(from + i, new Random(from + i), ANY, source),
  );
  const kinds = new Set(chosen.flat().map(({ fault }) => fault.kind));
  expect(faultKinds(source).filter((kind) => !kinds.has(kind))).toEqual([]);
});

it('the same seed chooses the same faults', () => {
  expect(chooseFaults(7, new Random(7), ANY)).toEqual(chooseFaults(7, new Random(7), ANY));
});
