/** The copy as a migration runs it: leases, fence, checkpoints with every batch. */
import type { Side } from '../interleave.ts';
import { BenchMigration } from '../migration.ts';
import type { CopyWork } from './copy-work.ts';

export function crossfadeCopy(name: string, work: CopyWork): Side {
  const { bench, source } = work;
  return {
    name,
    async run() {
      let migration: BenchMigration | undefined;
      try {
        return await work.measure(
          name,
          async (url) => {
            migration = new BenchMigration(source, url, bench.signal);
            await migration.begin();
          },
          async () => {
            const { ms, peakRss, result } = await migration!.copy();
            return { ms, peakRss, bytes: result.bytes };
          },
        );
      } finally {
        await migration?.end();
      }
    },
  };
}
