/** The write pause of cutovers and of ways back, as the engine counts it and as an application under way feels it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Application, type TrafficReport } from '../application.ts';
import type { Bench, Source } from '../bench.ts';
import { itemSource } from '../data/items.ts';
import { BenchMigration } from '../migration.ts';
import type { Figure, Measurement } from '../results.ts';
import { quantile } from '../statistics.ts';

const ROWS = 20_000;
const WRITES_PER_SECOND = 1_000;
const MAX_PAUSE_MS = 10_000;
const MAX_LAG_MS = 1_000;
/** Of traffic after each switch. */
const SETTLE_MS = 500;
const GOALS: [share: number, name: string, ms: number][] = [
  [0.5, 'p50', 100],
  [0.99, 'p99', 500],
];

interface Pauses {
  /** From the fence to the opening. */
  engine: number[];
  /** The slowest write. */
  felt: number[];
}

export const switches: Measurement = {
  name: 'switches',
  async run(bench) {
    const source = await itemSource(bench, ROWS, 1);
    const cutovers: Pauses = { engine: [], felt: [] };
    const back: Pauses = { engine: [], felt: [] };
    let writes = 0;
    try {
      await bench.withDatabase(async (url) => {
        const application = await Application.start({
          source: source.path,
          target: url,
          rows: ROWS,
          writesPerSecond: WRITES_PER_SECOND,
        });
        const remove = bench.cleanup.add('stop the application', () => application.stop());
        try {
          const take = async (): Promise<TrafficReport> => {
            const report = await application.report();
            if (report.failures.length > 0)
              throw new Error(`writes failed: ${report.failures.slice(0, 3).join('; ')}`);
            writes += report.writes.length;
            return report;
          };
          for (let i = 0; i < bench.options.switches; i++) {
            bench.signal.throwIfAborted();
            await thereAndBack(bench, source, url, take, cutovers, back);
            bench.log(
              `switches ${i + 1}/${bench.options.switches}: ${cutovers.engine.at(-1)} ms, back ${back.engine.at(-1)} ms`,
            );
          }
          await take();
        } finally {
          await remove();
        }
      });
    } finally {
      bench.removeSource(source);
    }
    return {
      title: `write pause: ${bench.options.switches} cutovers and ways back under ${WRITES_PER_SECOND} writes/s`,
      unit: 'switches',
      sides: [],
      ratios: [],
      figures: [...figures('cutover', cutovers), ...figures('way back', back)],
      notes: [`${writes} writes through the router of one process, none failed.`],
    };
  },
};

async function thereAndBack(
  bench: Bench,
  source: Source,
  url: string,
  take: () => Promise<TrafficReport>,
  cutovers: Pauses,
  back: Pauses,
): Promise<void> {
  const migration = new BenchMigration(source, url, bench.signal);
  await migration.begin();
  await migration.copy();
  await migration.index();
  const replay = migration.replay();
  await migration.verify(MAX_LAG_MS);
  await take();
  cutovers.engine.push((await migration.cutOver(MAX_PAUSE_MS)).pauseMs);
  await sleep(SETTLE_MS);
  cutovers.felt.push((await take()).longestMs);
  await replay.stop();
  const reverse = migration.reverse();
  await sleep(SETTLE_MS);
  await take();
  back.engine.push((await migration.moveWritesBack(MAX_PAUSE_MS)).pauseMs);
  await sleep(SETTLE_MS);
  back.felt.push((await take()).longestMs);
  await reverse.stop();
  await migration.endBoth();
}

function figures(what: string, { engine, felt }: Pauses): Figure[] {
  return GOALS.flatMap(([share, name, goal]) => [
    { name: `${what}, ${name} of the pause`, value: quantile(engine, share), unit: 'ms', goal },
    { name: `${what}, ${name} of the slowest write`, value: quantile(felt, share), unit: 'ms', goal },
  ]);
}
