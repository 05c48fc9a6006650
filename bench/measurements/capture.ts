/** What capture adds to the application's own writes. */
import Database from 'better-sqlite3';
import type { Bench, Source } from '../bench.ts';
import { itemSource } from '../data/items.ts';
import { interleave, type Side, type SideResult } from '../interleave.ts';
import { BenchMigration } from '../migration.ts';
import type { Figure, Measurement } from '../results.ts';
import { spreadOf } from '../statistics.ts';

const ROWS = 100_000;
/** Pairs of blocks for each run that was asked for: a block is short, so that the disk's moods fall on both sides. */
const BLOCKS_PER_RUN = 10;

interface Kind {
  name: string;
  synchronous: 'FULL' | 'NORMAL';
  /** Row changes in a transaction. */
  each: number;
  /** Row changes in a block. */
  changes: number;
  /** Microseconds that capture may add to a row change. */
  goal: number;
}

const KINDS: Kind[] = [
  { name: 'autocommit, synchronous FULL', synchronous: 'FULL', each: 1, changes: 600, goal: 15 },
  { name: 'autocommit, synchronous NORMAL', synchronous: 'NORMAL', each: 1, changes: 3_000, goal: 15 },
  { name: '100 in a transaction', synchronous: 'NORMAL', each: 100, changes: 12_000, goal: 4 },
];

export const capture: Measurement = {
  name: 'capture',
  async run(bench) {
    const sides: SideResult[] = [];
    const figures: Figure[] = [];
    for (const uniques of [1, 3]) {
      const [plain, captured] = [
        await itemSource(bench, ROWS, uniques),
        await itemSource(bench, ROWS, uniques),
      ];
      await bench.withDatabase(async (url) => {
        const migration = new BenchMigration(captured, url, bench.signal);
        await migration.begin();
        for (const kind of KINDS) {
          const name = `${kind.name}, ${uniques} unique ${uniques === 1 ? 'index' : 'indexes'}`;
          const [without, with_] = await compare(bench, name, kind, [plain, captured]);
          sides.push(without!, with_!);
          const added = with_!.runs.map((run, i) => ((run.ms - without!.runs[i]!.ms) / run.units) * 1_000);
          figures.push({
            name: `added to a row change, ${name}`,
            value: spreadOf(added).median,
            unit: 'µs',
            goal: kind.goal,
          });
        }
      });
      bench.removeSource(plain);
      bench.removeSource(captured);
    }
    return {
      title: 'capture: its triggers beside none, on inserts, updates and deletes',
      unit: 'row changes',
      sides,
      ratios: [],
      figures,
      notes: ['The fence has no triggers before the cutover begins.'],
    };
  },
};

async function compare(
  bench: Bench,
  name: string,
  kind: Kind,
  sources: [Source, Source],
): Promise<SideResult[]> {
  const sides = ['no triggers', 'capture'].map((which, i): Side => ({
    name: `${which}: ${name}`,
    run: (round) => Promise.resolve(writeBlock(sources[i]!.path, kind, round)),
  }));
  const results = await interleave(sides, bench.options.runs * BLOCKS_PER_RUN, bench.signal, () => undefined);
  bench.log(`capture: ${name}`);
  return results;
}

/** A third inserts, a third updates, a third deletes of what was inserted: the table stays as large as it is. */
function writeBlock(
  path: string,
  { synchronous, each, changes }: Kind,
  round: number,
): { ms: number; units: number; result: string } {
  const db = new Database(path);
  try {
    db.pragma(`synchronous = ${synchronous}`);
    const insert = db.prepare('INSERT INTO item VALUES (?, ?, ?, ?, 1)');
    const update = db.prepare('UPDATE item SET n = n + 1, a = ? WHERE id = ?');
    const remove = db.prepare('DELETE FROM item WHERE id = ?');
    const third = changes / 3;
    const change = (i: number): void => {
      const id = ROWS + 1 + (i % third);
      const old = 1 + ((round * third + i) % ROWS);
      if (i < third) insert.run(id, `a${id}`, `b${id}`, `c${id}`);
      else if (i < 2 * third) update.run(`${changes} ${round} ${i}`, old);
      else remove.run(id);
    };
    const several = db.transaction((from: number) => {
      for (let i = from; i < from + each; i++) change(i);
    });
    // What the block before has left in the WAL is not this one's.
    db.pragma('wal_checkpoint(TRUNCATE)');
    const started = performance.now();
    for (let i = 0; i < changes; i += each) {
      if (each === 1) change(i);
      else several(i);
    }
    const ms = performance.now() - started;
    const sums = db.prepare('SELECT count(*), sum(id) FROM item').raw().get();
    return { ms, units: changes, result: JSON.stringify(sums) };
  } finally {
    db.close();
  }
}
