/** What an application and its source feel of a migration, and how far the target is behind: one worker does all of it. */
import Database from 'better-sqlite3';
import { Application, type Answer } from '../application.ts';
import { planOf, type Bench, type Source } from '../bench.ts';
import { BenchMigration } from '../migration.ts';
import { Observer } from '../observer.ts';
import type { Figure, Measurement } from '../results.ts';
import { quantile, spreadOf } from '../statistics.ts';
import { withClient } from '../target.ts';
import type { Spans, WorkerStep } from '../tasks/worker.ts';

const ITEMS = 20_000;
const QUIET_MS = 5_000;
const MAX_LAG_MS = 1_000;
const MIB = 2 ** 20;
/** Largest values that are aimed at, by the rate of the writes. */
const LAG_RATE = 1_000;
const LAG_MS = { p50: 20, p99: 50 };
const WAL_RATE = 5_000;
const WAL_MIB = 20;
const SLOWER = 1.5;
const BUSY: WorkerStep[] = ['copy', 'verification'];
const FOLLOWED: WorkerStep[] = ['replay alone', ...BUSY];

/** One migration as it was seen. */
interface Seen {
  spans: Spans;
  writes: Answer[];
  reads: Answer[];
  /** From the answer to a write until the target showed it, by the moment of the answer. */
  lags: { at: number; ms: number }[];
  wal: { at: number; bytes: number }[];
}

export const beside: Measurement = {
  name: 'beside',
  async run(bench) {
    const source = await sourceWithItems(bench);
    const figures: Figure[] = [];
    let operations = 0;
    try {
      for (const rate of [LAG_RATE, WAL_RATE]) {
        const runs: Seen[] = [];
        for (let i = 0; i < bench.options.runs; i++) {
          const seen = await bench.withDatabase((url) => migrate(bench, source, url, rate));
          operations += seen.writes.length + seen.reads.length;
          runs.push(seen);
          bench.log(`beside ${i + 1}/${bench.options.runs}: ${rate} writes/s`);
        }
        figures.push(...figuresOf(runs, rate));
      }
    } finally {
      bench.removeSource(source);
    }
    return {
      title:
        'beside the application: a write and a point read at a steady rate, through the router of one process',
      unit: 'operations',
      sides: [],
      ratios: [],
      figures,
      notes: [
        `${operations} operations, none failed. Times are from the moment when an operation was due.`,
        'Replay, copy and verification share the event loop of one process, as in a worker.',
      ],
    };
  },
};

async function sourceWithItems(bench: Bench): Promise<Source> {
  const source = await bench.ownSource(bench.options.rows);
  const db = new Database(source.path);
  try {
    db.exec(`CREATE TABLE item (id INTEGER PRIMARY KEY, n INTEGER NOT NULL);
      WITH RECURSIVE i(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM i WHERE id < ${ITEMS})
      INSERT INTO item SELECT id, 0 FROM i`);
  } finally {
    db.close();
  }
  return { ...source, plan: await planOf(source.path) };
}

async function migrate(bench: Bench, source: Source, url: string, rate: number): Promise<Seen> {
  const migration = new BenchMigration(source, url, bench.signal);
  await migration.begin();
  // The table that is written to is there before the others, so that replay may follow it while they are copied.
  await migration.copy(source.plan.tables.filter(({ name }) => name === 'item'));
  await migration.catchUp();
  const rows = lastItem(source);
  const application = await Application.start({
    source: source.path,
    target: url,
    rows,
    writesPerSecond: rate,
    write: 'insert',
    reads: true,
  });
  const remove = bench.cleanup.add('stop the application', () => application.stop());
  try {
    return await withClient(url, async (client) => {
      const observer = new Observer(client, source.path);
      const spans = await observer.during(() => migration.work(QUIET_MS, MAX_LAG_MS));
      const { writes, reads, failures } = await application.report();
      if (failures.length > 0) throw new Error(`operations failed: ${failures.slice(0, 3).join('; ')}`);
      return { spans, writes, reads, lags: lagsOf(writes, observer), wal: observer.wal };
    });
  } finally {
    await remove();
    await migration.endBoth();
  }
}

function lastItem(source: Source): number {
  const db = new Database(source.path, { readonly: true });
  try {
    return db.prepare('SELECT max(id) FROM item').pluck().get() as number;
  } finally {
    db.close();
  }
}

/** Ids rise with the commits, so the first sighting of as high a one tells. */
function lagsOf(writes: Answer[], { sightings }: Observer): Seen['lags'] {
  const lags: Seen['lags'] = [];
  let next = 0;
  for (const { id, at } of writes) {
    while (next < sightings.length && sightings[next]!.id < id) next++;
    const sighting = sightings[next];
    if (sighting !== undefined) lags.push({ at, ms: Math.max(0, sighting.at - at) });
  }
  return lags;
}

function figuresOf(runs: Seen[], rate: number): Figure[] {
  const median = (value: (seen: Seen) => number): number => spreadOf(runs.map(value)).median;
  const at = `${rate} writes/s`;
  const lags = FOLLOWED.flatMap((step) =>
    (
      [
        ['p50', 0.5],
        ['p99', 0.99],
      ] as const
    ).map(([name, share]): Figure => ({
      name: `lag at ${at}, ${step}, ${name}`,
      value: median((seen) => quantile(times(within(seen.lags, seen.spans[step])), share)),
      unit: 'ms',
      ...(rate === LAG_RATE ? { goal: LAG_MS[name] } : {}),
    })),
  );
  const wal = BUSY.map((step): Figure => ({
    name: `greatest WAL at ${at}, ${step}`,
    value: median((seen) => Math.max(...within(seen.wal, seen.spans[step]).map(({ bytes }) => bytes)) / MIB),
    unit: 'MiB',
    ...(rate === WAL_RATE ? { goal: WAL_MIB } : {}),
  }));
  const felt = (['writes', 'reads'] as const).flatMap((kind) => {
    const p99 = (seen: Seen, step: WorkerStep): number =>
      quantile(times(within(seen[kind], seen.spans[step])), 0.99);
    return [
      ...FOLLOWED.map((step): Figure => ({
        name: `p99 of the ${kind} at ${at}, ${step}`,
        value: median((seen) => p99(seen, step)),
        unit: 'ms',
      })),
      ...BUSY.map((step): Figure => ({
        name: `p99 of the ${kind} at ${at}, ${step} ÷ replay alone`,
        value: median((seen) => p99(seen, step) / p99(seen, 'replay alone')),
        unit: '×',
        goal: SLOWER,
      })),
    ];
  });
  return [...lags, ...wal, ...felt];
}

function within<T extends { at: number }>(all: T[], { from, to }: { from: number; to: number }): T[] {
  const found = all.filter(({ at }) => at >= from && at < to);
  if (found.length === 0) throw new Error('a step was too short to see anything in: give more --rows');
  return found;
}

function times(all: { ms: number }[]): number[] {
  return all.map(({ ms }) => ms);
}
