/** Replay catching up with changes that have piled up, all secondary indexes in place. */
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { verifyDatabases } from '../../src/engine/verify.ts';
import type { Bench } from '../bench.ts';
import { makeChanges } from '../data/changes.ts';
import { interleave, ratiosTo, type Side } from '../interleave.ts';
import { BenchMigration } from '../migration.ts';
import type { Measurement } from '../results.ts';
import { settle } from '../target.ts';

const CROSSFADE = 'crossfade, replay';
const COMMITS = 'SQLite: single-row commits, synchronous FULL';
const COMMIT_COUNT = 3_000;

export const replay: Measurement = {
  name: 'replay',
  async run(bench) {
    const rows = Math.ceil(bench.options.rows / 5);
    const changes = Math.ceil(rows / 4);
    const source = await bench.ownSource(rows);
    try {
      return await bench.withDatabase(async (url) => {
        const migration = new BenchMigration(source, url, bench.signal);
        await migration.begin();
        await migration.copy();
        await migration.index();
        // Makes the tables live.
        await migration.catchUp();
        const sides = [crossfade(migration, changes), commits(bench)];
        const results = await interleave(sides, bench.options.runs, bench.signal, bench.onRun('replay'));
        const verdict = await verifyDatabases({ ...migration.endpoints, mode: 'full', sampleRows: 100 });
        if (!verdict.equal) {
          throw new Error(`the databases differ after replay: ${JSON.stringify(verdict.mismatches)}`);
        }
        return {
          title: 'replay: catching up, five secondary indexes',
          unit: 'changes',
          sides: results,
          // Replay has to be faster than the source can commit, or it never catches up.
          ratios: ratiosTo(CROSSFADE, results, { [COMMITS]: 1 }),
          figures: [],
          notes: ['Verified in full afterwards: no difference.'],
        };
      });
    } finally {
      bench.removeSource(source);
    }
  },
};

function crossfade(migration: BenchMigration, changes: number): Side {
  const { source, endpoints } = migration;
  return {
    name: CROSSFADE,
    async run(round) {
      makeChanges(source.path, source.rows, changes, round);
      await settle(endpoints.targetUrl);
      const { ms, result, peakRss } = await migration.catchUp();
      if (result === 0) throw new Error('nothing was replayed');
      return { ms, units: result, peakRss };
    },
  };
}

function commits(bench: Bench): Side {
  const path = join(bench.directory, 'commits.sqlite');
  return {
    name: COMMITS,
    run() {
      const db = new Database(path);
      try {
        db.pragma('journal_mode = WAL');
        db.pragma('synchronous = FULL');
        db.exec('CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, text TEXT NOT NULL)');
        const insert = db.prepare('INSERT INTO t (text) VALUES (?)');
        const text = 'x'.repeat(100);
        const started = performance.now();
        for (let i = 0; i < COMMIT_COUNT; i++) insert.run(text);
        return Promise.resolve({ ms: performance.now() - started, units: COMMIT_COUNT });
      } finally {
        db.close();
      }
    },
  };
}
