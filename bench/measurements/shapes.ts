/** Databases whose rows or tables are out of the ordinary: they have to come through, in the memory that any other takes. */
import type { Verdict } from '../../src/contract.ts';
import type { Endpoints } from '../../src/engine/endpoints.ts';
import { mebibytes, seconds, type Bench, type Source } from '../bench.ts';
import { manySource, wideSource } from '../data/shapes.ts';
import { BenchMigration } from '../migration.ts';
import type { Figure, Measurement } from '../results.ts';
import { runTask } from '../tasks/run-task.ts';

const MIB = 2 ** 20;
const LIMIT_MIB = 300;
const WIDE_ROWS = 300;
const LARGEST_BYTES = 60 * MIB;
const TABLES = 1_000;
const ROWS_PER_TABLE = 100;

export const shapes: Measurement = {
  name: 'shapes',
  async run(bench) {
    const wide = `${WIDE_ROWS} values of 1 MiB and one of ${mebibytes(LARGEST_BYTES)}`;
    const figures = [
      ...(await through(bench, wide, await wideSource(bench, WIDE_ROWS, LARGEST_BYTES))),
      ...(await through(bench, `${TABLES} tables`, await manySource(bench, TABLES, ROWS_PER_TABLE))),
    ];
    return {
      title:
        'shapes: resident set of a process that does only the copy, and of one that does only verification',
      unit: 'rows',
      sides: [],
      ratios: [],
      figures,
      notes: ['Verified in full: no difference.'],
    };
  },
};

/** @throws Error where the databases differ afterwards */
async function through(bench: Bench, name: string, source: Source): Promise<Figure[]> {
  try {
    return await bench.withDatabase(async (url) => {
      const migration = new BenchMigration(source, url, bench.signal);
      await migration.begin();
      const copied = await migration.copy();
      await migration.catchUp();
      await migration.index();
      const verified = await runTask<Endpoints, Verdict>('verify', migration.endpoints, bench.signal);
      if (!verified.result.equal)
        throw new Error(`the databases differ: ${JSON.stringify(verified.result.mismatches)}`);
      bench.log(`shapes: ${name}: copy ${seconds(copied.ms)}, verification ${seconds(verified.ms)}`);
      return [
        { name: `${name}: copy`, value: copied.ms / 1_000, unit: 's' },
        { name: `${name}: peak of the copy`, value: copied.peakRss / MIB, unit: 'MiB', goal: LIMIT_MIB },
        { name: `${name}: verification`, value: verified.ms / 1_000, unit: 's' },
        {
          name: `${name}: peak of verification`,
          value: verified.peakRss / MIB,
          unit: 'MiB',
          goal: LIMIT_MIB,
        },
      ];
    });
  } finally {
    bench.removeSource(source);
  }
}
