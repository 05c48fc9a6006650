/** The whole load as a migration's phases do it: tables, rows, indexes, foreign keys, sequences; the plan is there. */
import type { Side } from '../interleave.ts';
import { BenchMigration } from '../migration.ts';
import type { CopyWork } from './copy-work.ts';

export function crossfadeLoad(name: string, work: CopyWork): Side {
  const { bench, source } = work;
  return {
    name,
    run: () =>
      work.measure(
        name,
        () => Promise.resolve(),
        async (url) => {
          const migration = new BenchMigration(source, url, bench.signal);
          try {
            const before = await timed(() => migration.begin());
            // By the clock of the process that copies: a worker is running already.
            const { ms, peakRss } = await migration.copy();
            const after = await timed(async () => {
              await migration.index();
              await migration.addForeignKeys();
              await migration.advanceSequences();
            });
            return { ms: before + ms + after, peakRss };
          } finally {
            await migration.end();
          }
        },
      ),
  };
}

async function timed(work: () => Promise<void>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}
