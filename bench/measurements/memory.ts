/** Memory of a process that does nothing but the copy, at two sizes: it may not grow with the number of rows. */
import { count } from '../bench.ts';
import { copied } from '../copied.ts';
import type { Figure, Measurement } from '../results.ts';

const MIB = 2 ** 20;
/** Of a whole worker, whatever the size; one that is idle takes about 180 MB, an empty Node process about 45. */
const LIMIT_MIB = 300;

export const memory: Measurement = {
  name: 'memory',
  async run(bench) {
    const { rows } = bench.options;
    const sizes = [Math.ceil(rows / 4), rows];
    const figures: Figure[] = [];
    for (const size of sizes) {
      const { rssBefore, peakRss } = await copied(bench, size);
      const name = `copy of ${count(size)} rows`;
      figures.push(
        { name: `${name}: before it`, value: rssBefore / MIB, unit: 'MiB' },
        { name: `${name}: peak`, value: peakRss / MIB, unit: 'MiB', goal: LIMIT_MIB },
      );
      bench.log(`memory: ${name} ${(peakRss / MIB).toFixed(0)} MiB`);
    }
    return {
      title: 'memory: resident set of a process that does only the copy',
      unit: 'rows',
      sides: [],
      ratios: [],
      figures,
      notes: [],
    };
  },
};
