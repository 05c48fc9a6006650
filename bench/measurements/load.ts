/** Everything that a table needs before an application may use it, against other ways to bring it there. */
import { planOf, seconds, type Bench } from '../bench.ts';
import { interleave, ratiosTo } from '../interleave.ts';
import type { Measurement } from '../results.ts';
import { byOffset } from '../sides/by-offset.ts';
import { CopyWork } from '../sides/copy-work.ts';
import { crossfadeLoad } from '../sides/crossfade-load.ts';
import { pgloader } from '../sides/pgloader.ts';

const CROSSFADE = 'crossfade, planned before';
const PGLOADER = 'pgloader';
const BY_OFFSET = 'LIMIT 1000 OFFSET n, INSERT: rows only';

export const load: Measurement = {
  name: 'load',
  async run(bench) {
    // The other ways take minutes for what fits well here, and hours beyond.
    const work = new CopyWork(bench, await bench.source(Math.ceil(bench.options.rows / 10)));
    const sides = [
      crossfadeLoad(CROSSFADE, work),
      pgloader(PGLOADER, work, 'everything'),
      byOffset(BY_OFFSET, work),
    ];
    const results = await interleave(sides, bench.options.runs, bench.signal, bench.onRun('load'));
    return {
      title: 'whole load: tables, rows, indexes, foreign keys, sequences',
      unit: 'rows',
      sides: results,
      ratios: ratiosTo(CROSSFADE, results, { [PGLOADER]: 0.4, [BY_OFFSET]: 1 }),
      figures: [],
      notes: [
        `Planning, which looks at every value, took ${seconds(await planTime(bench, work))} beside it.`,
      ],
    };
  },
};

async function planTime(bench: Bench, { source }: CopyWork): Promise<number> {
  bench.signal.throwIfAborted();
  const started = performance.now();
  await planOf(source.path);
  return performance.now() - started;
}
