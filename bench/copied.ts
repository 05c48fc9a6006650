/** A source with its whole copy, for measurements that only read both. */
import type { Endpoints } from '../src/engine/endpoints.ts';
import type { Bench, Source } from './bench.ts';
import { BenchMigration } from './migration.ts';

export interface Copied {
  source: Source;
  endpoints: Endpoints;
  /** Resident set of the copy's own process before it and at its greatest, bytes. */
  rssBefore: number;
  peakRss: number;
}

const pairs = new WeakMap<Bench, Map<number, Promise<Copied>>>();

/**
 * The copy is made once for each number of rows. The source has nothing of ours in it afterwards, so that another
 * migration may begin there. @throws Error where not every row was copied
 */
export function copied(bench: Bench, rows: number): Promise<Copied> {
  const known = pairs.get(bench) ?? new Map<number, Promise<Copied>>();
  pairs.set(bench, known);
  let pair = known.get(rows);
  if (pair === undefined) {
    pair = copyOnce(bench, rows);
    known.set(rows, pair);
  }
  return pair;
}

async function copyOnce(bench: Bench, rows: number): Promise<Copied> {
  const source = await bench.source(rows);
  const { url } = await bench.database();
  const migration = new BenchMigration(source, url, bench.signal);
  try {
    await migration.begin();
    const { result, rssBefore, peakRss } = await migration.copy();
    if (result.rows !== rows) throw new Error(`${result.rows} of ${rows} rows were copied`);
    // Verification waits for tables that replay has not taken up.
    await migration.catchUp();
    return { source, endpoints: migration.endpoints, rssBefore, peakRss };
  } finally {
    await migration.end();
  }
}
