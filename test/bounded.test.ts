/**
 * Switches are bounded whatever hangs: by the fence's own deadline, which needs nobody, and by each attempt's own end.
 * No test here measures time; each waits for the deadline by the clock of the database that holds it.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import pg from 'pg';
import { DatabaseConnection } from '../src/index.ts';
import { connectTarget } from '../src/databases/postgres/connection.ts';
import { readControl as readTargetControl } from '../src/databases/postgres/control.ts';
import { takeLease } from '../src/databases/postgres/lease.ts';
import { withinReach } from '../src/databases/postgres/reach.ts';
import { CONTROL_TABLE, NOW_MS, readControl } from '../src/databases/sqlite/control.ts';
import { cutOver } from '../src/engine/cutover.ts';
import { Replayer } from '../src/engine/replay.ts';
import { replayLoop } from '../src/engine/replay-loop.ts';
import { ReverseReplayer } from '../src/engine/reverse.ts';
import { moveWritesBack } from '../src/engine/rollback.ts';
import { eventually } from './support/eventually.ts';
import { never, TestMigration } from './support/migration.ts';
import { differences } from './support/same.ts';
import { SilentProxy } from './support/silent-proxy.ts';

const MAX_PAUSE_MS = 500;

let migration: TestMigration;
let proxy: SilentProxy;
const routers: DatabaseConnection[] = [];

beforeEach(async () => {
  migration = await TestMigration.create(
    `CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT); INSERT INTO t (v) VALUES ('a'), ('b')`,
  );
  proxy = await SilentProxy.before(migration.endpoints.targetUrl);
  await migration.upToVerified();
});

afterEach(async () => {
  jest.restoreAllMocks();
  for (const router of routers.splice(0)) await router.close();
  await proxy.close();
  await migration.dispose();
});

const throughProxy = () => ({
  ...migration.endpoints,
  targetUrl: proxy.through(migration.endpoints.targetUrl),
});

async function attempt(endpoints = migration.endpoints) {
  const report = await cutOver({
    endpoints,
    replayLease: migration.lease('replay'),
    sourceLease: migration.lease('control'),
    maxPauseMs: MAX_PAUSE_MS,
    signal: never,
  });
  migration.epoch = report.epoch;
  return report;
}

/** Runs `work` under the source's fence, before the drain, with a change to drain. */
function underTheFence(work: () => unknown): void {
  const original = Replayer.prototype.drainTo;
  jest.spyOn(Replayer.prototype, 'drainTo').mockImplementationOnce(async function (this: Replayer, ...given) {
    await work();
    return original.apply(this, given);
  });
}

/** Waits for the deadline by SQLite's own clock; from that moment on the source must take writes. */
async function expectAcceptedAfterTheDeadline(): Promise<void> {
  const { app } = migration;
  await eventually('the source is fenced', () => readControl(app)?.state === 'fencing');
  expect(() => app.exec(`UPDATE t SET v = 'late'`)).toThrow(/crossfade: fenced/);
  const deadline = app.prepare(`SELECT deadline FROM ${CONTROL_TABLE}`).pluck().get() as number;
  expect(deadline).toBeLessThanOrEqual(
    (app.prepare(`SELECT ${NOW_MS}`).pluck().get() as number) + MAX_PAUSE_MS,
  );
  await eventually(
    'its deadline passes',
    () => (app.prepare(`SELECT ${NOW_MS}`).pluck().get() as number) >= deadline,
  );
  app.exec(`UPDATE t SET v = 'after the deadline' WHERE id = 1`);
}

async function expectNextAttemptMoves(): Promise<void> {
  jest.restoreAllMocks();
  expect(await attempt()).toMatchObject({ outcome: 'moved', epoch: 2 });
  expect(await differences(migration.app, migration.target, migration.plan)).toEqual([]);
}

/** An application that writes through a router all the while. @returns its end, which fails where a write failed */
function application(): { stop(): Promise<number> } {
  const { sourcePath, targetUrl } = migration.endpoints;
  const router = new DatabaseConnection({ source: sourcePath, target: targetUrl, pollMs: 50 });
  routers.push(router);
  let stopped = false;
  let written = 0;
  const writing = (async () => {
    for (; !stopped; written++) {
      await router.write('INSERT INTO t (v) VALUES (?)', [`application ${written}`]);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  })();
  writing.catch(() => undefined);
  return {
    stop: async () => {
      stopped = true;
      await writing;
      return written;
    },
  };
}

async function expectAllOnTarget(written: number): Promise<void> {
  const { rows } = await migration.target.query(
    `SELECT count(DISTINCT v)::int AS n, count(*)::int AS rows FROM t WHERE v LIKE 'application %'`,
  );
  expect(rows).toEqual([{ n: written, rows: written }]);
}

describe('the cutover', () => {
  it('returns where a table of the target stays locked, and the application sees no error', async () => {
    const users = application();
    const holder = new pg.Client({ connectionString: migration.endpoints.targetUrl });
    await holder.connect();
    underTheFence(() => holder.query('BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE'));
    expect(await attempt()).toMatchObject({
      outcome: 'returned',
      reason: expect.stringMatching(/did not end/),
    });
    await holder.query('ROLLBACK');
    await holder.end();
    // A write more may come between an attempt's fence and its end.
    await eventually('a later attempt moves the writes', async () => (await attempt()).outcome === 'moved');
    await expectAllOnTarget(await users.stop());
  });

  it('returns where the target stops answering under the fence, and the application sees no error', async () => {
    const users = application();
    underTheFence(() => proxy.silence());
    expect(await attempt(throughProxy())).toMatchObject({ outcome: 'returned' });
    expect(readControl(migration.app)).toMatchObject({ state: 'open', epoch: 1 });
    await eventually('a later attempt moves the writes', async () => (await attempt()).outcome === 'moved');
    await expectAllOnTarget(await users.stop());
  });

  it('of a worker that stops dead under the fence ends by the source’s own clock', async () => {
    let wake: () => void = () => undefined;
    underTheFence(() => new Promise<void>((resolve) => (wake = resolve)));
    const sleeping = attempt();
    await expectAcceptedAfterTheDeadline();
    wake();
    expect(await sleeping).toMatchObject({ outcome: 'returned' });
    await expectNextAttemptMoves();
    expect((await migration.target.query(`SELECT v FROM t WHERE id = 1`)).rows).toEqual([
      { v: 'after the deadline' },
    ]);
  });

  it('returns where another process locks the source, which takes writes as soon as it is free', async () => {
    const script = `
      const db = new (require('better-sqlite3'))(process.argv[1]);
      process.stdin.once('data', () => {
        db.exec('BEGIN IMMEDIATE');
        process.stdin.once('data', () => { db.exec('ROLLBACK'); process.exit(); });
        process.stdout.write('locked');
      });`;
    const child = spawn(process.execPath, ['-e', script, migration.endpoints.sourcePath], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    underTheFence(async () => {
      child.stdin.write('lock');
      await once(child.stdout, 'data');
    });
    const locked = attempt();
    const { app } = migration;
    await eventually('the source is fenced', () => readControl(app)?.state === 'fencing');
    await eventually('its deadline passes', () => readControl(app)!.fenceLeftMs! <= 0);
    child.stdin.write('free');
    await once(child, 'exit');
    app.pragma('busy_timeout = 5000');
    app.exec(`UPDATE t SET v = 'after the lock' WHERE id = 1`);
    expect(await locked).toMatchObject({ outcome: 'returned' });
    await expectNextAttemptMoves();
  });

  it('that has passed its commit point is finished by the next attempt where the answer is lost', async () => {
    const users = application();
    // The router, which would open the target itself, sleeps.
    await users.stop();
    proxy.ignore(/crossfade open/);
    await expect(attempt(throughProxy())).rejects.toThrow();
    expect(readControl(migration.app)).toMatchObject({ state: 'moved', epoch: 2 });
    proxy.ignore(null);
    expect(await attempt(throughProxy())).toMatchObject({ outcome: 'moved', epoch: 2 });
    await migration.target.query(`INSERT INTO t (v) VALUES ('on the target')`);
  });
});

describe('the way back', () => {
  beforeEach(async () => {
    expect(await attempt()).toMatchObject({ outcome: 'moved' });
    await migration.target.query(`UPDATE t SET v = 'on the target' WHERE id = 2`);
  });

  const back = (endpoints = migration.endpoints) =>
    moveWritesBack({ endpoints, lease: migration.lease('reverse'), maxPauseMs: MAX_PAUSE_MS });

  /** Runs `work` at the first step of the drain under the target's fence. */
  function underTheTargetsFence(work: () => unknown): void {
    const original = ReverseReplayer.prototype.step;
    let done = false;
    jest.spyOn(ReverseReplayer.prototype, 'step').mockImplementation(async function (this: ReverseReplayer) {
      if (!done && (await readTargetControl(migration.target))?.state === 'fencing') {
        done = true;
        await work();
      }
      return original.call(this);
    });
  }

  it('returns where the target’s answers are lost under the fence, and succeeds later', async () => {
    underTheTargetsFence(() => proxy.silence());
    expect(await back(throughProxy())).toMatchObject({ outcome: 'returned' });
    expect(readControl(migration.app)).toMatchObject({ state: 'moved', epoch: 2 });
    await migration.target.query(`INSERT INTO t (v) VALUES ('the target goes on')`);
    jest.restoreAllMocks();
    expect(await back()).toMatchObject({ outcome: 'moved', epoch: 3 });
    expect(await differences(migration.app, migration.target, migration.plan)).toEqual([]);
  });

  it('of a worker that stops dead under the fence ends by the target’s own clock', async () => {
    let wake: () => void = () => undefined;
    underTheTargetsFence(() => new Promise<void>((resolve) => (wake = resolve)));
    const sleeping = back();
    await eventually(
      'the target is fenced',
      async () => (await readTargetControl(migration.target))?.state === 'fencing',
    );
    await expect(migration.target.query(`UPDATE t SET v = 'late'`)).rejects.toMatchObject({ code: 'CF001' });
    await eventually('its deadline passes', async () => {
      const row = await readTargetControl(migration.target);
      return row?.state === 'open' || (row?.fenceLeftMs ?? 1) <= 0;
    });
    await migration.target.query(`UPDATE t SET v = 'after the deadline' WHERE id = 1`);
    wake();
    expect(await sleeping).toMatchObject({ outcome: 'returned' });
    jest.restoreAllMocks();
    expect(await back()).toMatchObject({ outcome: 'moved' });
    expect(migration.app.prepare('SELECT v FROM t WHERE id = 1').pluck().get()).toBe('after the deadline');
  });

  it('is not called returned while its commit point is still under way', async () => {
    // The answer to the COMMIT is lost, and the server is still at it when the row is asked: a trigger holds it up.
    await migration.target.query(`
      CREATE FUNCTION crossfade.slow() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_sleep(1.5); RETURN NULL; END $$;
      CREATE CONSTRAINT TRIGGER slow AFTER UPDATE ON crossfade.control DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (NEW.state = 'moved') EXECUTE FUNCTION crossfade.slow()`);
    expect(await back()).toMatchObject({ outcome: 'moved', epoch: 3 });
    expect(readControl(migration.app)).toMatchObject({ state: 'open', epoch: 3 });
    expect(migration.app.prepare('SELECT v FROM t WHERE id = 2').pluck().get()).toBe('on the target');
  });
});

describe('work that is called off', () => {
  it('comes to rest although the server has stopped answering', async () => {
    const called = new AbortController();
    const working = withinReach(
      called.signal,
      async () => {
        const client = await connectTarget(throughProxy().targetUrl, { applicationName: 'hanging' });
        try {
          proxy.silence();
          called.abort();
          await client.query('SELECT 1');
        } finally {
          await client.end();
        }
      },
      10,
    );
    await expect(working).rejects.toThrow(/terminated|closed/i);
  });

  it('of replay ends as superseded where its connection was lost without a word', async () => {
    const loop = replayLoop(
      { endpoints: throughProxy(), signal: never, onProgress: () => undefined },
      migration.lease('replay'),
    );
    const running = `SELECT 1 FROM crossfade.lease WHERE role = 'replay' AND ordinal = $1`;
    const { ordinal } = migration.lease('replay');
    await eventually(
      'the loop runs',
      async () => (await migration.target.query(running, [ordinal - 1])).rowCount === 1,
    );
    await eventually('it has replayed', async () => {
      migration.app.exec(`UPDATE t SET v = 'replayed' WHERE id = 1`);
      return (await migration.target.query(`SELECT 1 FROM t WHERE v = 'replayed'`)).rowCount === 1;
    });
    proxy.silence();
    await takeLease(migration.target, migration.lease('replay'));
    expect(await loop).toBe('superseded');
  });
});
