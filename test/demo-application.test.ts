import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Application } from '../demo/application/application.ts';
import { Figures } from '../demo/application/figures.ts';
import type { JournalLine } from '../demo/application/journal.ts';
import { ApplicationRefusal, outcomeOf } from '../demo/application/outcome.ts';
import { Pace } from '../demo/application/pace.ts';
import { checkDatabase } from '../demo/checker/check.ts';
import { generateDatabase } from '../demo/database/generate.ts';
import { CrossfadeError, DatabaseConnection, type Row, type Sql, type Value } from '../src/index.ts';
import { SqliteStore } from './support/demo-stores.ts';

/** Answers one kind of read with an old value. */
class StaleStore extends SqliteStore {
  override async query<T = Row>(sql: Sql, params: readonly Value[] = []): Promise<T[]> {
    const rows = await super.query<T>(sql, params);
    return typeof sql === 'string' && sql.startsWith('SELECT view_count') ? [{ view_count: -1 } as T] : rows;
  }
}

describe("the demo's application", () => {
  let directory: string;
  let baseline: string;
  let runs = 0;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'crossfade-application-'));
    baseline = join(directory, 'baseline.sqlite');
    await generateDatabase({ path: baseline, users: 300, seed: 5 });
  });

  afterAll(() => rmSync(directory, { recursive: true }));

  function fresh(): { path: string; journalPath: string } {
    const path = join(directory, `run-${++runs}.sqlite`);
    copyFileSync(baseline, path);
    return { path, journalPath: join(directory, `run-${runs}.jsonl`) };
  }

  async function until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise((resolve) => setImmediate(resolve));
  }

  it('serves through DatabaseConnection without an error, and its journal is what the file holds', async () => {
    const { path, journalPath } = fresh();
    const store = new DatabaseConnection({ source: `sqlite:${path}`, synchronous: 'normal' });
    const errors: string[] = [];
    const application = new Application({
      store,
      journalPath,
      operationsPerSecond: 50_000,
      lanes: 8,
      seed: 2,
      onError: (message) => errors.push(message),
    });
    await application.start();
    await until(() => application.figures().writes >= 1_500);
    await application.stop();
    await store.close();
    const figures = application.figures();
    expect(errors).toEqual([]);
    expect(figures).toMatchObject({ primary: 'source', errors: 0, staleReads: 0, unknown: 0, switches: [] });
    expect(figures.reads).toBeGreaterThan(figures.writes);
    expect(figures.refusals).toBeGreaterThan(0);
    const check = await checkDatabase({ baseline, journal: journalPath, database: { sqlite: path } });
    expect(check.findings).toEqual([]);
    expect(check).toMatchObject({ agrees: true, acknowledged: figures.writes });
  });

  it('counts a read that does not show its own last write', async () => {
    const { path, journalPath } = fresh();
    const store = new StaleStore(path);
    const application = new Application({
      store,
      journalPath,
      operationsPerSecond: 50_000,
      lanes: 2,
      seed: 2,
    });
    await application.start();
    let staleReads = 0;
    await until(() => (staleReads = application.figures().staleReads) > 3);
    await application.stop();
    store.close();
    expect(staleReads).toBeGreaterThan(3);
    expect(application.figures().lastError).toMatch(/^stale read: content:\d+: expected .*, read .*-1/);
  });

  it('has written the attempt before the write is sent', async () => {
    const { path, journalPath } = fresh();
    let attemptsWhenSent = -1;
    const store = new SqliteStore(path, () => {
      const lines = readFileSync(journalPath, 'utf8').trimEnd().split('\n');
      const last = JSON.parse(lines.at(-1) ?? '') as JournalLine;
      if (attemptsWhenSent < 0) attemptsWhenSent = last.type === 'attempt' ? last.n : 0;
      return 'apply';
    });
    const application = new Application({
      store,
      journalPath,
      operationsPerSecond: 50_000,
      lanes: 1,
      seed: 1,
    });
    await application.start();
    await until(() => application.figures().writes > 0);
    await application.stop();
    store.close();
    expect(attemptsWhenSent).toBe(1);
    expect(existsSync(journalPath)).toBe(true);
  });

  it('takes a failure for a refusal only where nothing can have been applied', () => {
    const error = (code: string): Error => Object.assign(new Error(code), { code });
    for (const code of ['SQLITE_CONSTRAINT_UNIQUE', 'SQLITE_BUSY', '23505', '40001', '22P02']) {
      expect(outcomeOf(error(code))).toBe('refused');
    }
    for (const code of ['ECONNRESET', '57P01', '08006', '40003', 'SQLITE_IOERR_FSYNC']) {
      expect(outcomeOf(error(code))).toBe('unknown');
    }
    expect(outcomeOf(new CrossfadeError('OutcomeUnknown', 'x'))).toBe('unknown');
    expect(outcomeOf(new CrossfadeError('Fenced', 'x'))).toBe('refused');
    expect(outcomeOf(new ApplicationRefusal('x'))).toBe('refused');
    expect(outcomeOf(new Error('x'))).toBe('unknown');
  });

  it('measures a switch of the primary by the longest wait around it', () => {
    const clock = jest.spyOn(performance, 'now');
    try {
      const figures = new Figures();
      const write = (sentAt: number, answeredAt: number, primary: 'source' | 'target'): void => {
        clock.mockReturnValue(sentAt);
        figures.writeSent();
        clock.mockReturnValue(answeredAt);
        figures.writeAcknowledged(answeredAt - sentAt, primary);
      };
      write(1_000, 1_900, 'source');
      // While nobody writes, nobody waits.
      write(50_000, 50_100, 'source');
      write(50_100, 50_200, 'target');
      write(50_200, 50_700, 'target');
      write(90_000, 90_700, 'target');
      const taken = figures.take('target');
      expect(taken.switches).toMatchObject([{ to: 'target', pauseMs: 500 }]);
      expect(taken.longestPauseMs).toBe(900);
      expect(taken.acknowledged).toEqual({ source: 2, target: 3 });
    } finally {
      clock.mockRestore();
    }
  });

  it('keeps its pace and does not make up for a pause', async () => {
    const clock = jest.spyOn(performance, 'now');
    try {
      clock.mockReturnValue(0);
      const pace = new Pace(10);
      clock.mockReturnValue(60_000);
      await pace.turn();
      const second = pace.turn();
      let early = true;
      void second.then(() => (early = false));
      await new Promise((resolve) => setImmediate(resolve));
      expect(early).toBe(true);
      pace.stop();
      expect(await second).toBe(false);
      expect(await pace.turn()).toBe(false);
    } finally {
      clock.mockRestore();
    }
  });
});
