/** What the router adds to a point read and a point write, before the cutover and after it. */
import Database from 'better-sqlite3';
import pg from 'pg';
import { DatabaseConnection } from '../../src/index.ts';
import { connectionConfig } from '../../src/databases/postgres/connection.ts';
import type { Bench } from '../bench.ts';
import { itemSource } from '../data/items.ts';
import { interleave, type Run, type Side, type SideResult } from '../interleave.ts';
import { BenchMigration } from '../migration.ts';
import type { Figure, Measurement } from '../results.ts';
import { quantile } from '../statistics.ts';

const ROWS = 100_000;
const BLOCKS_PER_RUN = 5;
const OPERATIONS = 2_000;
const LIMIT_US = 10;
const MAX_PAUSE_MS = 10_000;
const MAX_LAG_MS = 1_000;
const READ = 'SELECT id, a, n FROM item WHERE id = ?';
const WRITE = 'UPDATE item SET n = n + 1 WHERE id = ?';

type Operation = (id: number) => unknown;

/** The same operation twice: by the driver alone, and through the router. */
interface Pair {
  name: string;
  bare: Operation;
  routed: Operation;
}

export const router: Measurement = {
  name: 'router',
  async run(bench) {
    const source = await itemSource(bench, ROWS, 1);
    const sides: SideResult[] = [];
    const figures: Figure[] = [];
    const measure = async (pair: Pair): Promise<void> => {
      const measured = await compare(bench, pair);
      sides.push(...measured.results);
      figures.push(measured.figure);
    };
    try {
      await bench.withDatabase(async (url) => {
        const migration = new BenchMigration(source, url, bench.signal);
        await migration.begin();
        await migration.copy();
        await migration.index();
        const replay = migration.replay();
        await migration.verify(MAX_LAG_MS);
        const db = new Database(source.path);
        db.pragma('synchronous = NORMAL');
        const pool = new pg.Pool({ ...connectionConfig(url), max: 1 });
        const routed = new DatabaseConnection({ source: source.path, target: url, synchronous: 'normal' });
        try {
          for (const pair of onSource(db, routed)) await measure(pair);
          await migration.cutOver(MAX_PAUSE_MS);
          await replay.stop();
          for (const pair of onTarget(pool, routed)) await measure(pair);
        } finally {
          await routed.close();
          await pool.end();
          db.close();
        }
      });
    } finally {
      bench.removeSource(source);
    }
    return {
      title: 'router: point reads and writes, capture on, beside the bare driver',
      unit: 'operations',
      sides,
      ratios: [],
      figures,
      notes: [
        'One operation after the other. Both sides of a pair write to the same tables, triggers included.',
        'pg is called with text and values, better-sqlite3 with prepared statements, as applications call them.',
      ],
    };
  },
};

function onSource(db: Database.Database, routed: DatabaseConnection): Pair[] {
  const [read, write] = [db.prepare(READ), db.prepare(WRITE)];
  return [
    { name: 'read on SQLite', bare: (id) => read.all(id), routed: (id) => routed.query(READ, [id]) },
    {
      name: 'write on SQLite, synchronous NORMAL',
      bare: (id) => write.run(id),
      routed: (id) => routed.write(WRITE, [id]),
    },
  ];
}

function onTarget(pool: pg.Pool, routed: DatabaseConnection): Pair[] {
  const [read, write] = [READ, WRITE].map((sql) => sql.replace('?', '$1'));
  return [
    {
      name: 'read on PostgreSQL',
      bare: (id) => pool.query(read!, [id]),
      routed: (id) => routed.query(READ, [id]),
    },
    {
      name: 'write on PostgreSQL',
      bare: (id) => pool.query(write!, [id]),
      routed: (id) => routed.write(WRITE, [id]),
    },
  ];
}

async function compare(
  bench: Bench,
  { name, bare, routed }: Pair,
): Promise<{ results: SideResult[]; figure: Figure }> {
  const times: [number[], number[]] = [[], []];
  const sides = [bare, routed].map((operation, i): Side => ({
    name: `${i === 0 ? 'driver' : 'router'}: ${name}`,
    run: (round) => block(operation, round, times[i]!),
  }));
  const results = await interleave(sides, bench.options.runs * BLOCKS_PER_RUN, bench.signal, () => undefined);
  bench.log(`router: ${name}`);
  const [alone, through] = times.map((all) => quantile(all, 0.5) * 1_000);
  return {
    results,
    figure: { name: `added at p50, ${name}`, value: through! - alone!, unit: 'µs', goal: LIMIT_US },
  };
}

/** @param times is given how long each operation took, ms */
async function block(operation: Operation, round: number, times: number[]): Promise<Run> {
  const started = performance.now();
  for (let i = 0, before = started; i < OPERATIONS; i++) {
    await operation(1 + ((round * OPERATIONS + i * 7) % ROWS));
    const now = performance.now();
    times.push(now - before);
    before = now;
  }
  return { ms: performance.now() - started, units: OPERATIONS };
}
