/** Leases: of two owners of a step only the later one has any effect, in both databases and in both directions. */
import pg from 'pg';
import { applyBatch } from '../src/databases/postgres/apply.ts';
import { connectTarget } from '../src/databases/postgres/connection.ts';
import { applicationName, holdLeaseSql, takeLease } from '../src/databases/postgres/lease.ts';
import { openSource } from '../src/databases/sqlite/connection.ts';
import { holdLease, takeLease as takeSourceLease } from '../src/databases/sqlite/control.ts';
import { batchTokens, Receiver } from '../src/databases/sqlite/receive.ts';
import { writeTransaction } from '../src/databases/sqlite/transaction.ts';
import { copyTables } from '../src/engine/copy.ts';
import { cutOver } from '../src/engine/cutover.ts';
import { DEFAULT_INPUT } from '../src/contract.ts';
import { Replayer } from '../src/engine/replay.ts';
import { replayLoop } from '../src/engine/replay-loop.ts';
import { ReverseReplayer } from '../src/engine/reverse.ts';
import { setRouting } from '../src/engine/source-control.ts';
import { createTables } from '../src/engine/target-schema.ts';
import { never, TestMigration } from './support/migration.ts';
import { differences } from './support/same.ts';

const lost = { code: 'LeaseLost' };
/** Does it fail because the lease is gone, or the connection that relied on it was ended? */
function isEnded(work: Promise<unknown>): Promise<boolean> {
  return work.then(
    () => false,
    (error: unknown) =>
      ['LeaseLost', '57P01'].includes(String((error as { code?: string }).code)) ||
      /terminat|closed|not queryable/i.test(String(error)),
  );
}

describe('two owners', () => {
  let migration: TestMigration;

  beforeEach(async () => {
    migration = await TestMigration.create(
      `CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'b')`,
    );
    await migration.begin();
  });

  afterEach(async () => {
    await migration.dispose();
  });

  const target = async (): Promise<unknown[]> =>
    (await migration.target.query('SELECT id::int, v FROM t ORDER BY id')).rows;
  const position = async (): Promise<unknown> =>
    (await migration.target.query('SELECT position FROM crossfade.checkpoint')).rows;

  it('of the copy: the older one sends nothing more', async () => {
    const older = migration.lease('copy');
    const newer = migration.lease('copy');
    const stale = await connectTarget(migration.endpoints.targetUrl, { applicationName: 'stale' });
    try {
      await takeLease(stale, older);
      const holder = await connectTarget(migration.endpoints.targetUrl, { applicationName: 'holder' });
      await takeLease(holder, newer);
      await holder.end();
      const [table] = migration.plan.tables;
      const batch = {
        tables: [{ table: table!, deletions: [], rows: Buffer.from('7\tzombie\n') }],
        quarantine: [],
        healed: [],
        checkpointSql: `UPDATE crossfade.copied SET rows = 99`,
      };
      for (const replica of [true, false])
        await expect(applyBatch({ client: stale, lease: older, replica }, batch)).rejects.toMatchObject(
          // Without its lease it is not even let through the fence.
          { code: expect.stringMatching(/^(LeaseLost|CF001)$/) },
        );
      // Nor can it take the lease back, whatever it says of itself.
      await expect(takeLease(stale, older)).rejects.toMatchObject(lost);
      await expect(takeLease(stale, { ...older, ordinal: newer.ordinal })).rejects.toMatchObject(lost);
      await expect(takeLease(stale, { ...older, epoch: 2, ordinal: 1e9 })).rejects.toMatchObject(lost);
    } finally {
      await stale.end();
    }
    expect(await target()).toEqual([]);
    const running = copyTables({
      endpoints: migration.endpoints,
      lease: migration.lease('copy'),
      tables: migration.plan.tables,
      settings: DEFAULT_INPUT.copy,
      signal: never,
      onProgress: () => undefined,
    });
    await running;
    expect(await target()).toHaveLength(2);
  });

  it('of replay: a batch that is under way when another takes over comes to nothing', async () => {
    await migration.copy();
    const [older, newer] = [migration.lease('replay'), migration.lease('replay')];
    const url = migration.endpoints.targetUrl;
    // Under a name of its own its connection is not ended by the takeover: only the lease stands in its way.
    const stale = await connectTarget(url, { applicationName: 'stale' });
    const holder = await connectTarget(url, { applicationName: 'holder' });
    try {
      await takeLease(stale, older);
      await migration.target.query('BEGIN; LOCK TABLE crossfade.checkpoint');
      const [table] = migration.plan.tables;
      const applying = applyBatch(
        { client: stale, lease: older, replica: true },
        {
          tables: [{ table: table!, deletions: [['1']], rows: Buffer.from('1\tzombie\n') }],
          quarantine: [],
          healed: [],
          checkpointSql: `UPDATE crossfade.checkpoint SET position = 1000`,
        },
      ).then(
        () => 'applied',
        (error: { code?: string }) => error.code,
      );
      const waiting = `SELECT 1 FROM pg_stat_activity WHERE application_name = 'stale' AND wait_event_type = 'Lock'`;
      while ((await holder.query(waiting)).rowCount === 0);
      await takeLease(holder, newer);
      await migration.target.query('COMMIT');
      expect(await applying).toBe('LeaseLost');
      expect(await target()).toEqual([
        { id: 1, v: 'a' },
        { id: 2, v: 'b' },
      ]);
    } finally {
      await stale.end();
      await holder.end();
    }
  });

  it('of replay: the older one applies nothing and moves no checkpoint', async () => {
    await migration.copy();
    const older = await Replayer.open(migration.endpoints, migration.lease('replay'));
    const newer = await Replayer.open(migration.endpoints, migration.lease('replay'));
    try {
      migration.app.exec(`UPDATE t SET v = 'new'`);
      const before = await position();
      // Taking over has ended the older one's connection.
      expect(await isEnded(older.step())).toBe(true);
      expect(await position()).toEqual(before);
      expect(await target()).toEqual([
        { id: 1, v: 'a' },
        { id: 2, v: 'b' },
      ]);
      await newer.step();
      expect(await differences(migration.app, migration.target, migration.plan)).toEqual([]);
    } finally {
      await older.close();
      await newer.close();
    }
    await expect(
      Replayer.open(migration.endpoints, { ...migration.lease('replay'), ordinal: 1 }),
    ).rejects.toMatchObject(lost);
  });

  it('of replay: a loop that was taken over ends as superseded, also where the new owner moves the writes', async () => {
    await migration.copy();
    const loop = replayLoop(
      { endpoints: migration.endpoints, signal: never, onProgress: () => undefined },
      migration.lease('replay'),
    );
    while (
      (await migration.target.query(`SELECT 1 FROM crossfade.copied WHERE state <> 'live'`)).rowCount !== 0
    );
    await migration.index();
    await migration.verify();
    expect(await migration.cutOver()).toMatchObject({ outcome: 'moved' });
    expect(await loop).toBe('superseded');
  });

  it('in the target: a takeover ends the open transaction of the owner before, whose locks would outlive it', async () => {
    const [older, newer] = [migration.lease('control'), migration.lease('control')];
    const url = migration.endpoints.targetUrl;
    const stale = await connectTarget(url, { applicationName: applicationName(older) });
    const holder = await connectTarget(url, { applicationName: applicationName(newer) });
    try {
      await takeLease(stale, older);
      await stale.query('BEGIN');
      await stale.query('LOCK TABLE t IN ACCESS EXCLUSIVE MODE');
      await stale.query(holdLeaseSql(older));
      await takeLease(holder, newer);
      await holder.query(`SELECT count(*) FROM t`);
      expect(await isEnded(stale.query('COMMIT'))).toBe(true);
    } finally {
      await holder.end();
      await stale.end().catch(() => undefined);
    }
  });

  it('in the target: DDL of the older owner does not happen', async () => {
    const older = migration.lease('control');
    await createTables(migration.endpoints, migration.lease('control'));
    await migration.target.query('DROP TABLE t');
    await expect(createTables(migration.endpoints, older)).rejects.toMatchObject(lost);
    expect((await migration.target.query(`SELECT to_regclass('public.t') AS t`)).rows).toEqual([{ t: null }]);
  });

  it('in the source: control changes of the older owner do not happen', async () => {
    const [older, newer] = [migration.lease('control'), migration.lease('control')];
    const { sourcePath } = migration.endpoints;
    const routing = { readPercent: 10, dualWrites: false, dualWriteTimeoutMs: 0 };
    await setRouting(sourcePath, newer, routing);
    await expect(setRouting(sourcePath, older, { ...routing, readPercent: 99 })).rejects.toMatchObject(lost);
    await expect(
      setRouting(sourcePath, { ...migration.lease('control'), epoch: 2 }, { ...routing, readPercent: 99 }),
    ).rejects.toMatchObject(lost);
    expect(migration.app.prepare('SELECT read_percent FROM _crossfade_control').pluck().get()).toBe(10);
    const db = openSource(sourcePath, 'write');
    try {
      await expect(
        writeTransaction(db, () => {
          takeSourceLease(db, migration.lease('reverse'));
          holdLease(db, { ...newer, role: 'reverse' });
        }),
      ).rejects.toMatchObject(lost);
      // Nothing was taken, because it was one transaction.
      expect(db.prepare(`SELECT ordinal FROM _crossfade_lease WHERE role = 'reverse'`).pluck().get()).toBe(0);
    } finally {
      db.close();
    }
  });

  it('of the way back: the older one neither applies to the source nor consumes the log', async () => {
    await migration.copy();
    await migration.catchUp();
    await migration.index();
    await migration.verify();
    await migration.cutOver();
    const stale = migration.lease('reverse');
    const older = await ReverseReplayer.open(migration.endpoints, stale);
    const newer = await ReverseReplayer.open(migration.endpoints, migration.lease('reverse'));
    try {
      await migration.target.query(`UPDATE t SET v = 'back' WHERE id = 1`);
      expect(await isEnded(older.step())).toBe(true);
      expect(migration.app.prepare('SELECT v FROM t WHERE id = 1').pluck().get()).toBe('a');
      expect((await migration.target.query('SELECT 1 FROM crossfade.log')).rowCount).toBe(1);
      await newer.step();
      expect(migration.app.prepare('SELECT v FROM t WHERE id = 1').pluck().get()).toBe('back');

      // One that has read its batch before it was taken over, and applies it afterwards.
      const receiver = new Receiver(older.db);
      const [table] = migration.plan.tables;
      receiver.stageKeys(table!, [[1n]]);
      receiver.stageRows(table!, [[1n, 'zombie']]);
      const tokens = { last: 'zombie', before: batchTokens(older.db)!.last };
      await expect(receiver.apply({ ...stale, epoch: 2 }, tokens, null)).rejects.toMatchObject(lost);
      expect(migration.app.prepare('SELECT v FROM t WHERE id = 1').pluck().get()).toBe('back');
      expect(batchTokens(older.db)!.last).not.toBe('zombie');
    } finally {
      await older.close();
      await newer.close();
    }
  });

  it('of the cutover: the older attempt neither fences nor lifts the fence of the later one', async () => {
    await migration.copy();
    await migration.catchUp();
    await migration.index();
    await migration.verify();
    const attempt = () => ({
      endpoints: migration.endpoints,
      replayLease: migration.lease('replay'),
      sourceLease: migration.lease('control'),
      maxPauseMs: 5_000,
      signal: never,
    });
    const [older, newer] = [attempt(), attempt()];
    // The later attempt has begun and fenced; now the older one wakes up.
    const db = openSource(migration.endpoints.sourcePath, 'write');
    try {
      await writeTransaction(db, () => takeSourceLease(db, newer.sourceLease));
      db.exec(`UPDATE _crossfade_control SET state = 'fencing', fence_token = 'newer', deadline = 9e15`);
      await expect(cutOver(older)).rejects.toMatchObject(lost);
      expect(db.prepare('SELECT state, fence_token FROM _crossfade_control').get()).toEqual({
        state: 'fencing',
        fence_token: 'newer',
      });
    } finally {
      db.close();
    }
    expect(await cutOver(attempt())).toMatchObject({ outcome: 'moved' });
  });
});

it('a lease that is held while its batch commits cannot be taken over in between', async () => {
  const migration = await TestMigration.create(`CREATE TABLE t (id INTEGER PRIMARY KEY)`);
  const clients: pg.Client[] = [];
  try {
    await migration.begin();
    const [older, newer] = [migration.lease('copy'), migration.lease('copy')];
    for (let i = 0; i < 2; i++) {
      const client = new pg.Client({ connectionString: migration.endpoints.targetUrl });
      await client.connect();
      clients.push(client);
    }
    const [owner, successor] = clients as [pg.Client, pg.Client];
    await takeLease(owner, older);
    await owner.query('BEGIN');
    await owner.query(holdLeaseSql(older));
    // The owner's connection has another name, so that it is not ended but waited for.
    let taken = false;
    const taking = takeLease(successor, newer).then(() => {
      taken = true;
    });
    await owner.query('SELECT pg_sleep(0.2)');
    expect(taken).toBe(false);
    await owner.query('COMMIT');
    await taking;
    await expect(owner.query(holdLeaseSql(older))).rejects.toMatchObject({ code: 'CF002' });
  } finally {
    for (const client of clients) await client.end();
    await migration.dispose();
  }
});
