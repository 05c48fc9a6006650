/** Cutover: it completes or returns to the state before it, within its time; what was acknowledged is on the new primary. */
import { randomUUID } from 'node:crypto';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { openSource } from '../src/databases/sqlite/connection.ts';
import { installFence } from '../src/databases/sqlite/fence.ts';
import { CONTROL_TABLE, NOW_MS, readControl } from '../src/databases/sqlite/control.ts';
import { readControl as readTargetControl } from '../src/databases/postgres/control.ts';
import { cutOver, rollForward } from '../src/engine/cutover.ts';
import { Replayer } from '../src/engine/replay.ts';
import { moveWritesBack } from '../src/engine/rollback.ts';
import { Verifier } from '../src/engine/verify.ts';
import { TestMigration } from './support/migration.ts';
import { differences } from './support/same.ts';

const SCHEMA = `
  CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT, n INT);
  CREATE TABLE plain (id INTEGER PRIMARY KEY, v TEXT);
  CREATE TABLE empty (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT);
  INSERT INTO t (v, n) VALUES ('a', 1), ('b', 2), ('c', 3), ('d', 4); DELETE FROM t WHERE id = 4;
  INSERT INTO plain VALUES (41, 'x');
`;

let migration: TestMigration;

beforeEach(async () => {
  migration = await TestMigration.create(SCHEMA);
  await migration.upToVerified();
});

afterEach(async () => {
  jest.restoreAllMocks();
  await migration.dispose();
});

/** Runs `work` under the fence, before the drain begins. */
function underTheFence(work: () => unknown): void {
  const original = Replayer.prototype.drainTo;
  jest.spyOn(Replayer.prototype, 'drainTo').mockImplementationOnce(async function (this: Replayer, ...given) {
    expect(() => migration.app.exec(`UPDATE t SET v = 'late'`)).toThrow(/crossfade: fenced/);
    await work();
    return original.apply(this, given);
  });
}

/** Runs work before the nth comparison: the first two come before the fence, the third under it. */
function beforeComparisons(works: Record<number, () => unknown>): void {
  const original = Verifier.prototype.verifyChanges;
  let calls = 0;
  jest.spyOn(Verifier.prototype, 'verifyChanges').mockImplementation(async function (
    this: Verifier,
    ...given
  ) {
    await works[++calls]?.();
    return original.apply(this, given);
  });
}

/** The application goes on as if nothing had been, and a later attempt succeeds. */
async function expectReturned(attempt: ReturnType<TestMigration['cutOver']>, reason: RegExp): Promise<void> {
  const report = await attempt;
  expect(report).toMatchObject({ outcome: 'returned', epoch: 1, reason: expect.stringMatching(reason) });
  expect(readControl(migration.app)).toMatchObject({ state: 'open', epoch: 1, fenceToken: null });
  migration.app.exec(`INSERT INTO t (v) VALUES ('after the return')`);
  const triggers = `SELECT count(*) FROM sqlite_master WHERE name LIKE '%fence%' AND type = 'trigger'`;
  expect(migration.app.prepare(triggers).pluck().get()).toBe(0);
  expect(await readTargetControl(migration.target)).toMatchObject({ state: 'standby', epoch: 1 });
}

async function expectMoved(): Promise<void> {
  jest.restoreAllMocks();
  expect(await migration.cutOver()).toMatchObject({ outcome: 'moved', epoch: 2 });
  expect(() => migration.app.exec(`DELETE FROM t`)).toThrow(/crossfade: fenced/);
  expect(await differences(migration.app, migration.target, migration.plan)).toEqual([]);
  await migration.target.query(`INSERT INTO t (v) VALUES ('on the target')`);
}

describe('a cutover that cannot complete returns, and a later one succeeds', () => {
  it('when the target is locked, and stays so', async () => {
    const holder = new pg.Client({ connectionString: migration.endpoints.targetUrl });
    await holder.connect();
    try {
      underTheFence(() => holder.query('BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE'));
      migration.app.exec(`UPDATE t SET v = 'last' WHERE id = 1`);
      // Something to drain: written after the last catching up.
      beforeComparisons({ 2: () => void migration.app.exec(`UPDATE t SET v = 'drained' WHERE id = 2`) });
      await expectReturned(migration.cutOver(600), /did not end within 600 ms/);
      await holder.query('ROLLBACK');
      await expectMoved();
    } finally {
      await holder.end();
    }
  });

  it('when the schema changes under the fence', async () => {
    for (const [change, undo, reason] of [
      ['CREATE TABLE late (id INTEGER PRIMARY KEY)', 'DROP TABLE late', /schema changed/],
      ['CREATE INDEX late ON t (n)', 'DROP INDEX late', /schema changed/],
      [
        'CREATE TRIGGER late AFTER INSERT ON t BEGIN SELECT 1; END',
        'DROP TRIGGER late',
        /newer than capture/,
      ],
    ] as const) {
      underTheFence(() => migration.app.exec(change));
      await expectReturned(migration.cutOver(), reason);
      migration.app.exec(undo);
    }
    await expectMoved();
  });

  it('when a write slips in after the deadline, also if the clock is set back then', async () => {
    for (const afterwards of ['deadline', `${NOW_MS} + 60000`]) {
      underTheFence(() => {
        migration.app.exec(`UPDATE ${CONTROL_TABLE} SET deadline = 0`);
        migration.app.exec(`INSERT INTO t (v) VALUES ('slipped')`);
        migration.app.exec(`UPDATE ${CONTROL_TABLE} SET deadline = ${afterwards}`);
      });
      await expectReturned(migration.cutOver(), /passed the fence|had lifted/);
    }
    // Too late is too late, also where nobody has noticed.
    underTheFence(() => migration.app.exec(`UPDATE ${CONTROL_TABLE} SET deadline = 0`));
    await expectReturned(migration.cutOver(), /had lifted/);
    await expectMoved();
    const { rows } = await migration.target.query(`SELECT count(*)::int AS n FROM t WHERE v = 'slipped'`);
    expect(rows).toEqual([{ n: 2 }]);
  });

  it('when a row is in quarantine, before the fence and under it', async () => {
    migration.app.exec(`UPDATE t SET n = 'text' WHERE id = 1`);
    await expectReturned(migration.cutOver(), /quarantine, the first in table "t"/);
    migration.app.exec(`UPDATE t SET n = 1 WHERE id = 1`);
    beforeComparisons({ 2: () => void migration.app.exec(`UPDATE t SET n = 'text' WHERE id = 2`) });
    await expectReturned(migration.cutOver(), /quarantine/);
    migration.app.exec(`UPDATE t SET n = 2 WHERE id = 2`);
    await expectMoved();
  });

  it('when a row that changed last is another one on the target', async () => {
    const corrupt = async (): Promise<void> => {
      await migration.target.query(
        `ALTER TABLE t DISABLE TRIGGER ALL; UPDATE t SET v = 'corrupt' WHERE id = 1; ALTER TABLE t ENABLE ALWAYS TRIGGER "!crossfade_fence"`,
      );
    };
    beforeComparisons({
      2: () => void migration.app.exec(`UPDATE t SET v = 'new' WHERE id = 1`),
      3: corrupt,
    });
    await expectReturned(migration.cutOver(), /databases differ: table "t", key 1, column "v"/);
    migration.app.exec(`UPDATE t SET v = 'mended' WHERE id = 1`);
    await expectMoved();
  });

  it('when the role of a running router may not write', async () => {
    const role = `crossfade_app_${randomUUID().slice(0, 8)}`;
    await migration.target.query(
      `CREATE ROLE "${role}" LOGIN PASSWORD 'app'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO "${role}"`,
    );
    try {
      const url = new URL(migration.endpoints.targetUrl);
      url.username = role;
      url.password = 'app';
      const app = new pg.Client({ connectionString: url.href });
      await app.connect();
      const report = `SELECT crossfade.report_traffic('router', '[]')`;
      await app.query(report);
      await expectReturned(
        migration.cutOver(),
        /role "crossfade_app_\w+" may not (INSERT|UPDATE|DELETE) on target table .*GRANT/,
      );
      await migration.target.query(
        `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO "${role}"`,
      );
      await expectMoved();
      await app.query(`INSERT INTO plain (v) VALUES ('by the application'); ${report}`);
      await app.end();
    } finally {
      await migration.target.query(`DROP OWNED BY "${role}"; DROP ROLE "${role}"`);
    }
  });

  it('when its connection breaks, or it is called off before the fence', async () => {
    underTheFence(() =>
      migration.target.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'crossfade%' AND datname = current_database()`,
      ),
    );
    await expectReturned(migration.cutOver(), /returned to the state before it/);
    const called = new AbortController();
    called.abort();
    const attempt = cutOver({
      endpoints: migration.endpoints,
      replayLease: migration.lease('replay'),
      sourceLease: migration.lease('control'),
      maxPauseMs: 1_000,
      signal: called.signal,
    });
    await expectReturned(attempt, /cancelled before its fence/);
    await expectMoved();
  });

  it('when its worker dies under the fence, which lifts itself', async () => {
    const db = openSource(migration.endpoints.sourcePath, 'write');
    installFence(db, migration.plan.tables);
    db.exec(
      `UPDATE ${CONTROL_TABLE} SET state = 'fencing', fence_token = 'dead', deadline = ${NOW_MS} + 200, open_token = NULL`,
    );
    db.close();
    expect(() => migration.app.exec(`DELETE FROM plain`)).toThrow(/crossfade: fenced/);
    await sleep(210);
    migration.app.exec(`INSERT INTO plain VALUES (42, 'after the deadline')`);
    await expectMoved();
  });
});

describe('a cutover that has passed its commit point', () => {
  const hide = (): Promise<unknown> =>
    migration.target.query('ALTER FUNCTION crossfade.open_target RENAME TO hidden');
  const show = (): Promise<unknown> =>
    migration.target.query('ALTER FUNCTION crossfade.hidden RENAME TO open_target');

  beforeEach(async () => {
    // It dies between the commit point and the opening.
    await hide();
    migration.app.exec(`INSERT INTO t (v) VALUES ('last')`);
    await expect(migration.cutOver()).rejects.toThrow(/open_target/);
    expect(readControl(migration.app)).toMatchObject({ state: 'moved', epoch: 2 });
    expect(await readTargetControl(migration.target)).toMatchObject({ state: 'standby', epoch: 1 });
    // Nobody accepts a write now, so nothing can be lost.
    expect(() => migration.app.exec(`DELETE FROM t`)).toThrow(/crossfade: fenced/);
    await expect(migration.target.query(`DELETE FROM t`)).rejects.toThrow(/crossfade: fenced/);
    await show();
  });

  it('is rolled forward by the next attempt', async () => {
    migration.epoch = 1;
    expect(await migration.cutOver()).toMatchObject({ outcome: 'moved', epoch: 2 });
    await migration.target.query(`INSERT INTO t (v) VALUES ('on the target')`);
    const token = migration.app.prepare(`SELECT open_token FROM ${CONTROL_TABLE}`).pluck().get();
    await migration.target.query('SELECT crossfade.open_target(2, $1)', [token]);
    expect(await readTargetControl(migration.target)).toMatchObject({ state: 'open', epoch: 2 });
  });

  it('is opened by whoever has read the moved row, and by nobody else', async () => {
    const open = async (epoch: number, token: unknown): Promise<unknown> =>
      (await migration.target.query('SELECT crossfade.open_target($1, $2) AS open', [epoch, token])).rows[0];
    const token = migration.app.prepare(`SELECT open_token FROM ${CONTROL_TABLE}`).pluck().get();
    expect(await open(2, 'guessed')).toEqual({ open: false });
    expect(await open(3, token)).toEqual({ open: false });
    const db = openSource(migration.endpoints.sourcePath, 'read');
    await rollForward(migration.endpoints, db);
    db.close();
    expect(await open(2, token)).toEqual({ open: true });
  });

  it('is never undone by a guess: the way back goes over the target', async () => {
    const back = await moveWritesBack({
      endpoints: migration.endpoints,
      // Its caller does not know that the commit point was passed.
      lease: { ...migration.lease('reverse'), epoch: 1 },
      maxPauseMs: 5_000,
    });
    expect(back).toMatchObject({ outcome: 'moved', epoch: 3 });
    expect(await readTargetControl(migration.target)).toMatchObject({ state: 'moved', epoch: 3 });
    expect(readControl(migration.app)).toMatchObject({ state: 'open', epoch: 3 });
    expect(migration.app.prepare(`SELECT count(*) FROM t WHERE v = 'last'`).pluck().get()).toBe(1);
    migration.app.exec(`INSERT INTO t (v) VALUES ('on the source again')`);
  });
});

describe('a cutover under load', () => {
  it('completes although a write comes at every moment, and loses none that was acknowledged', async () => {
    let [stop, accepted, refused] = [false, 0, 0];
    const insert = migration.app.prepare('INSERT INTO plain VALUES (?, ?)');
    const writer = (async () => {
      while (!stop) {
        try {
          insert.run(1_000 + accepted, 'load');
          accepted++;
        } catch (error) {
          expect(String(error)).toMatch(/crossfade: fenced/);
          refused++;
        }
        await nextTurn();
      }
    })();
    const report = await migration.cutOver(5_000);
    stop = true;
    await writer;
    expect(report).toMatchObject({ outcome: 'moved' });
    expect(report.pauseMs).toBeLessThan(5_000);
    expect(refused).toBeGreaterThan(0);
    expect(await differences(migration.app, migration.target, migration.plan)).toEqual([]);
    const { rows } = await migration.target.query(`SELECT count(*)::int AS n FROM plain WHERE v = 'load'`);
    expect(rows).toEqual([{ n: accepted }]);
  });
});

describe('numbering', () => {
  const next = async (table: string): Promise<number> =>
    Number((await migration.target.query(`INSERT INTO ${table} (v) VALUES ('n') RETURNING id`)).rows[0].id);

  it('goes on after every number that the source has given out, and after every one chosen since', async () => {
    await migration.cutOver();
    // 4 was given out and deleted.
    expect([await next('t'), await next('plain'), await next('empty')]).toEqual([5, 42, 1]);
    await migration.target.query(
      `INSERT INTO plain (id, v) VALUES (100, 'chosen'), (70, 'chosen'), (-5, 'chosen')`,
    );
    await migration.target.query(`UPDATE empty SET id = 9`);
    expect([await next('plain'), await next('empty')]).toEqual([101, 10]);
    // Given out and deleted on the target, in a table that SQLite has never numbered.
    await migration.target.query(`DELETE FROM empty; DELETE FROM t WHERE id = 5`);
    const back = await moveWritesBack({
      endpoints: migration.endpoints,
      lease: migration.lease('reverse'),
      maxPauseMs: 5_000,
    });
    expect(back).toMatchObject({ outcome: 'moved' });
    const given = (table: string): unknown =>
      migration.app.prepare(`INSERT INTO ${table} (v) VALUES ('s') RETURNING id`).pluck().get();
    expect([given('t'), given('empty'), given('plain')]).toEqual([6, 11, 102]);
  });
});
