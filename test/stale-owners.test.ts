/**
 * Stale owners: a worker that was stopped in the middle of a step and wakes up when others have gone on has no effect,
 * neither on the migration that has gone on nor on the next one of the same databases.
 */
import { existsSync, readdirSync } from 'node:fs';
import Database from 'better-sqlite3';
import pg from 'pg';
import { MockActivityEnvironment } from '@temporalio/testing';
import { createActivities } from '../activities/index.ts';
import { ordinalAfter } from '../activities/context.ts';
import { DEFAULT_INPUT } from '../src/contract.ts';
import { connectTarget } from '../src/databases/postgres/connection.ts';
import { readControl as readTargetControl } from '../src/databases/postgres/control.ts';
import { readControl } from '../src/databases/sqlite/control.ts';
import { backUp, backupPathOf } from '../src/engine/backup.ts';
import { beginMigration } from '../src/engine/begin.ts';
import { cleanSource, finishMigration } from '../src/engine/finish.ts';
import { Replayer } from '../src/engine/replay.ts';
import { ReverseReplayer } from '../src/engine/reverse.ts';
import { moveWritesBack } from '../src/engine/rollback.ts';
import { startCapture } from '../src/engine/source-control.ts';
import { createIndexes } from '../src/engine/target-indexes.ts';
import { addForeignKeys, advanceSequences, leaveTarget } from '../src/engine/target-schema.ts';
import { verifyRecent, verifyStep } from '../src/engine/verify-step.ts';
import { never, TestMigration } from './support/migration.ts';

const SCHEMA = `CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT UNIQUE); INSERT INTO t (v) VALUES ('a'), ('b')`;
const lost = { code: 'LeaseLost' };

let migration: TestMigration;

beforeEach(async () => {
  migration = await TestMigration.create(SCHEMA);
});

afterEach(async () => {
  jest.restoreAllMocks();
  await migration.dispose();
});

const triggers = (): number =>
  migration.app
    .prepare(
      `SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND name LIKE '\\_crossfade%' ESCAPE '\\'`,
    )
    .pluck()
    .get() as number;
const ours = async (): Promise<number> =>
  (await migration.target.query(`SELECT 1 FROM pg_trigger WHERE tgname LIKE '%crossfade%'`)).rowCount!;

/**
 * A later owner has the target's lease `replay`, under which the way back and finish act. By hand, because a takeover
 * also ends the older one's connection, and here only the lease is to stand in its way.
 */
async function overtake(): Promise<void> {
  await migration.target.query(`UPDATE crossfade.lease SET holder = 'later' WHERE role = 'replay'`);
}

/** Committed changes of the target's control row from here on, as states. */
async function watchStates(): Promise<() => Promise<string[]>> {
  await migration.target.query(`
    CREATE TABLE crossfade.seen (n serial, state text);
    CREATE FUNCTION crossfade.see() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN INSERT INTO crossfade.seen (state) VALUES (NEW.state); RETURN NULL; END $$;
    CREATE TRIGGER see AFTER UPDATE ON crossfade.control FOR EACH ROW EXECUTE FUNCTION crossfade.see()`);
  return async () =>
    (await migration.target.query<{ state: string }>('SELECT state FROM crossfade.seen ORDER BY n')).rows.map(
      ({ state }) => state,
    );
}

describe('a beginning', () => {
  it('that fails after another attempt has gone on takes nothing away from it', async () => {
    await migration.begin();
    const before = triggers();
    // The connection is lost after both databases were found free.
    const connect = pg.Client.prototype.connect as () => Promise<pg.Client>;
    let connections = 0;
    function once(this: pg.Client): Promise<pg.Client> {
      return ++connections === 1 ? connect.call(this) : Promise.reject(new Error('lost'));
    }
    jest.spyOn(pg.Client.prototype, 'connect').mockImplementation(once as unknown as () => void);
    await expect(beginMigration(migration.endpoints, migration.name, migration.plan)).rejects.toMatchObject({
      code: 'TargetUnreachable',
    });
    expect(connections).toBe(2);
    expect(readControl(migration.app)).toMatchObject({ migration: migration.name, state: 'open' });
    expect(triggers()).toBe(before);
  });

  it('of an attempt that died untold is undone by the one that fails after it, and by no other', async () => {
    const { endpoints, name } = migration;
    const activities = createActivities({
      endpoints: async () => ({ endpoints, release: async () => undefined }),
      proveBoth: async () => undefined,
      hostQueue: 'here',
      knownAttributes: () => Promise.resolve([]),
    });
    const step = { source: 's', target: 't', migration: name, epoch: 1, ordinal: 1 };
    const wrong = { nowhere: { nothing: 'text' } } as unknown as (typeof DEFAULT_INPUT)['overrides'];
    const attempt = (n: number, overrides = {}): Promise<unknown> =>
      new MockActivityEnvironment({ attempt: n }).run(
        activities.planMigration,
        step,
        DEFAULT_INPUT.policies,
        overrides,
      );
    await attempt(1);
    await expect(attempt(2, wrong)).rejects.toThrow();
    expect(readControl(migration.app)).toBeNull();
    expect(await readTargetControl(migration.target)).toBeNull();

    await migration.begin();
    await expect(attempt(2, wrong)).rejects.toThrow();
    expect(triggers()).toBeGreaterThan(0);
    expect(await readTargetControl(migration.target)).toMatchObject({ state: 'standby' });
  });
});

describe('each step that writes', () => {
  it('before the cutover stops without effect where a later owner has its lease', async () => {
    const { endpoints } = migration;
    const stale = { control: migration.lease('control'), replay: migration.lease('replay') };
    await migration.upToVerified();
    const state = async (): Promise<unknown> =>
      (
        await migration.target.query(
          `SELECT position::text, verified_position::text, whole_batches, built FROM crossfade.checkpoint`,
        )
      ).rows;
    const before = await state();
    migration.app.exec(`INSERT INTO t (v) VALUES ('later')`);
    await migration.foreignKeys();
    const built = await state();
    expect(built).not.toEqual(before);
    const lease = stale.control;
    for (const [what, work] of Object.entries({
      indexes: () => createIndexes(endpoints, lease, never),
      'foreign keys': () => addForeignKeys(endpoints, lease),
      verification: () =>
        verifyStep({
          endpoints,
          lease,
          mode: 'full',
          sampleRows: 1,
          signal: never,
          onProgress: () => undefined,
        }),
      'a stage': () => verifyRecent(endpoints, lease, never),
      capture: () => startCapture(endpoints.sourcePath, lease, migration.plan, DEFAULT_INPUT.capture),
      replay: () => Replayer.open(endpoints, stale.replay),
    })) {
      await expect(work().then(() => what)).rejects.toMatchObject(lost);
    }
    await expect(
      advanceSequences(migration.target, stale.replay, migration.plan, new Map([['t', 1_000n]])),
    ).rejects.toMatchObject(lost);
    expect((await migration.target.query(`SELECT nextval('t_id_seq')::int AS id`)).rows).toEqual([{ id: 1 }]);
    expect(await state()).toEqual(built);
  });

  it('of finish: another owner may come between the last drain and the end', async () => {
    await migration.upToVerified();
    await migration.cutOver();
    const close = ReverseReplayer.prototype.close;
    const finish = jest.spyOn(ReverseReplayer.prototype, 'close').mockImplementationOnce(async function (
      this: ReverseReplayer,
    ) {
      await close.call(this);
      await overtake();
    });
    const before = await ours();
    await expect(
      finishMigration(migration.endpoints, migration.lease('reverse'), 'free'),
    ).rejects.toMatchObject(lost);
    expect(finish).toHaveBeenCalled();
    expect(await readTargetControl(migration.target)).toMatchObject({ finished: false });
    expect(await ours()).toBe(before);

    // After the end, too: the tables may be another migration's by now.
    const stale = migration.lease('reverse');
    await finishMigration(migration.endpoints, migration.lease('reverse'), 'fenced');
    await expect(finishMigration(migration.endpoints, stale, 'free')).rejects.toMatchObject(lost);
    const another = { ...migration.lease('reverse'), migration: 'another' };
    await expect(finishMigration(migration.endpoints, another, 'free')).rejects.toMatchObject({
      code: 'MigrationExists',
    });
    expect(readControl(migration.app)).toMatchObject({ state: 'moved' });
  });

  it.each(['before the fence', 'under the fence'])(
    'of the way back: another owner comes %s',
    async (when) => {
      await migration.upToVerified();
      await migration.cutOver();
      const states = await watchStates();
      if (when === 'before the fence') {
        const mend = ReverseReplayer.prototype.mend;
        jest.spyOn(ReverseReplayer.prototype, 'mend').mockImplementationOnce(async function (
          this: ReverseReplayer,
        ) {
          const mended = await mend.call(this);
          await overtake();
          return mended;
        });
      } else {
        const step = ReverseReplayer.prototype.step;
        jest.spyOn(ReverseReplayer.prototype, 'step').mockImplementation(async function (
          this: ReverseReplayer,
        ) {
          const rows = await step.call(this);
          if ((await readTargetControl(migration.target))?.state === 'fencing') await overtake();
          return rows;
        });
      }
      const report = await moveWritesBack({
        endpoints: migration.endpoints,
        lease: migration.lease('reverse'),
        maxPauseMs: 2_000,
      });
      expect(report).toMatchObject({ outcome: 'returned' });
      expect(await states()).toEqual(when === 'before the fence' ? [] : ['fencing', 'open']);
      expect(readControl(migration.app)).toMatchObject({ state: 'moved', epoch: 2 });
    },
  );

  it('of the backup: two attempts at once leave one whole file and nothing half-written', async () => {
    const { sourcePath } = migration.endpoints;
    migration.app.exec(
      `WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 20000)
       INSERT INTO t (v) SELECT hex(randomblob(50)) FROM i`,
    );
    const attempts = await Promise.allSettled(
      [1, 2].map(() => backUp(sourcePath, migration.name, () => undefined, never)),
    );
    expect(attempts.map(({ status }) => status)).toContain('fulfilled');
    const backup = new Database(backupPathOf(sourcePath, migration.name), { readonly: true });
    expect(backup.prepare('SELECT count(*) FROM t').pluck().get()).toBe(20_002);
    backup.close();
    expect(readdirSync(migration.folder).filter((name) => name.endsWith('.partial'))).toEqual([]);
    expect(existsSync(`${backupPathOf(sourcePath, migration.name)}.partial`)).toBe(false);
  });
});

describe('a clean-up that wakes up late', () => {
  it('leaves the next migration of the source alone', async () => {
    await migration.begin();
    const other = new Database(migration.endpoints.sourcePath);
    other.exec('BEGIN IMMEDIATE');
    // It waits for the lock, and what it would have read before is history.
    const cleaning = cleanSource(migration.endpoints, migration.name);
    other.exec(`UPDATE _crossfade_control SET migration = 'the next'; COMMIT`);
    expect(await cleaning).toMatch(/belongs to another migration/);
    other.close();
    expect(readControl(migration.app)).toMatchObject({ migration: 'the next' });
    expect(triggers()).toBeGreaterThan(0);
  });

  it('leaves the next migration of the target alone, and a primary whose fence will lift', async () => {
    await migration.begin();
    const { target } = migration;
    await target.query(`BEGIN; UPDATE crossfade.control SET migration = 'the next', state = 'open'`);
    const leaving = leaveTarget(migration.endpoints, migration.name, 'drop');
    const watcher = await connectTarget(migration.endpoints.targetUrl, { applicationName: 'watcher' });
    const waiting = `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'crossfade clean-up' AND wait_event_type = 'Lock'`;
    while ((await watcher.query(waiting)).rowCount === 0);
    await watcher.end();
    await target.query('COMMIT');
    expect(await leaving).toMatch(/belongs to another migration/);

    await target.query(
      `UPDATE crossfade.control SET migration = '${migration.name}', state = 'fencing', deadline = now() + interval '1 hour'`,
    );
    await expect(leaveTarget(migration.endpoints, migration.name, 'drop')).rejects.toMatchObject({
      code: 'OutcomeUnknown',
    });
    expect((await target.query('SELECT 1 FROM t')).rowCount).toBe(0);
  });
});

it('a worker that was given other databases under the same names moves no writes', async () => {
  await migration.upToVerified();
  const attempt = (name: string) =>
    moveWritesBack({
      endpoints: migration.endpoints,
      lease: { ...migration.lease('reverse'), migration: name },
      maxPauseMs: 1_000,
    });
  await expect(attempt('another')).rejects.toMatchObject({ code: 'MigrationExists' });
  await migration.cutOver();
  // The target's row says that the writes have left it, but it is another migration's target.
  await migration.target.query(
    `UPDATE crossfade.control SET state = 'moved', epoch = 3, migration = 'another'`,
  );
  await expect(attempt(migration.name)).rejects.toMatchObject({ code: 'MigrationExists' });
  expect(readControl(migration.app)).toMatchObject({ state: 'moved', epoch: 2 });
});

it('the first step of a roll-back comes after every owner, whatever the clocks say', () => {
  expect(ordinalAfter(5e15)).toBe(5e9 + 1);
  expect(ordinalAfter(12_000_003)).toBeGreaterThan(1.7e9);
});

it('finish takes a fence whose deadline has passed for none, and one that holds for a rollback under way', async () => {
  await migration.upToVerified();
  await migration.cutOver();
  const fence = (deadline: string) =>
    migration.target.query(
      `UPDATE crossfade.control SET state = 'fencing', fence_token = 'x', deadline = ${deadline}`,
    );
  await fence(`now() + interval '1 hour'`);
  await expect(
    finishMigration(migration.endpoints, migration.lease('reverse'), 'free'),
  ).rejects.toMatchObject({
    code: 'OutcomeUnknown',
  });
  await fence('now()');
  await finishMigration(migration.endpoints, migration.lease('reverse'), 'free');
  expect(await readTargetControl(migration.target)).toMatchObject({ state: 'open', finished: true });
  expect(readControl(migration.app)).toBeNull();
});

it('a table that is taken up after the log was cut by its cap is not taken for complete', async () => {
  await migration.begin(DEFAULT_INPUT.policies, { maxLogRows: 1_000 });
  await migration.copy();
  // Its copy is still under way while replay of the others goes on.
  await migration.target.query(`UPDATE crossfade.copied SET state = 'copying'`);
  migration.app.exec(`UPDATE t SET v = 'changed meanwhile' WHERE id = 1`);
  await migration.catchUp();
  for (let i = 0; i < 4; i++) {
    migration.app.exec(`WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 700)
      INSERT INTO t (v) SELECT '${i} ' || n FROM i`);
    await migration.catchUp();
  }
  await migration.target.query(`UPDATE crossfade.copied SET state = 'copied'`);
  await expect(migration.catchUp()).rejects.toMatchObject({ code: 'LogOverflow' });
});
