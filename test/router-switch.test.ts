import { CrossfadeError } from '../src/errors.ts';
import { openAgainDurably } from '../src/databases/sqlite/control.ts';
import { OPEN_TOKEN, Pair, until } from './support/router.ts';

let pair: Pair;

beforeEach(async () => {
  pair = await Pair.create();
  await pair.startMigration();
  pair.source.exec(`INSERT INTO items VALUES (1, 'a', 1)`);
  await pair.replay();
});

afterEach(() => pair.close());

const pending = async (promise: Promise<unknown>): Promise<boolean> => {
  const state = Symbol('pending');
  await new Promise((resolve) => setTimeout(resolve, 40));
  return (await Promise.race([promise, Promise.resolve(state)])) === state;
};

describe('a write during the cutover', () => {
  it('waits for the fence and is made on the target', async () => {
    const db = pair.router();
    await db.write('UPDATE items SET n = 2');
    await pair.replay();
    pair.fenceSource();
    const writes = [
      db.write('INSERT INTO items VALUES (?, ?, ?)', [2, 'b', 5]),
      // Matches no row, so that no trigger of SQLite could refuse it.
      db.write(`UPDATE items SET name = 'late' WHERE name = 'x'`),
      db.batch([
        { sql: 'INSERT INTO items VALUES (3, NULL, NULL)' },
        { sql: 'UPDATE items SET n = 6 WHERE id = 3' },
      ]),
    ];
    expect(await pending(Promise.race(writes))).toBe(true);
    // What only the target has, so that the second write shows where it was made.
    await pair.admin.query(
      `BEGIN; SET LOCAL crossfade.lease = 'applier'; INSERT INTO items VALUES (9, 'x', 9); COMMIT`,
    );
    pair.moveSource();
    await pair.admin.query('SELECT crossfade.open_target(2, $1)', [OPEN_TOKEN]);
    expect(await Promise.all(writes)).toEqual([
      { changes: 1, rows: [] },
      { changes: 1, rows: [] },
      [
        { changes: 1, rows: [] },
        { changes: 1, rows: [] },
      ],
    ]);
    expect(pair.sourceItems()).toEqual([{ id: 1, name: 'a', n: 2 }]);
    expect(await pair.targetItems()).toEqual([
      { id: 1, name: 'a', n: 2 },
      { id: 2, name: 'b', n: 5 },
      { id: 3, name: null, n: 6 },
      { id: 9, name: 'late', n: 9 },
    ]);
    expect(db.primary()).toBe('target');
    expect(db.stats()).toMatchObject({
      writes: { source: { count: 1, errors: 0 }, target: { count: 3, errors: 0 } },
    });
    expect(db.stats().writes.target.p50Ms).toBeGreaterThan(30);
  });

  it('stays on the source where the fence is lifted or lifts itself', async () => {
    const db = pair.router();
    pair.fenceSource();
    const write = db.write('UPDATE items SET n = 3');
    expect(await pending(write)).toBe(true);
    pair.control(`state = 'open', deadline = NULL`);
    expect(await write).toMatchObject({ changes: 1 });
    pair.fenceSource(60);
    expect(await db.write('UPDATE items SET n = 4')).toMatchObject({ changes: 1 });
    expect(pair.sourceItems()).toEqual([{ id: 1, name: 'a', n: 4 }]);
  });

  it('runs a transaction again from its beginning', async () => {
    const db = pair.router();
    await db.query('SELECT 1');
    const sides: unknown[] = [];
    pair.moveSource();
    await db.transaction(async (tx) => {
      const [row] = await tx.query<{ v: string }>({
        sqlite: `SELECT 'source' AS v`,
        postgres: `SELECT 'target' AS v`,
      });
      sides.push(row?.v);
      await tx.write('UPDATE items SET n = n + 1');
    });
    // The source refuses before the callback begins.
    expect(sides).toEqual(['target']);
    // The target's fence comes down in the middle of it.
    const started = db.transaction(async (tx) => {
      sides.push('again');
      await tx.query('SELECT 1 AS one');
      if (sides.length === 2)
        await pair.targetControl(`state = 'fencing', deadline = now() + interval '1 minute'`);
      // The refusal counts even if the callback makes an error of its own of it.
      await tx.write('UPDATE items SET n = n + 1').catch(() => {
        throw new Error('mine');
      });
    });
    await until(() => sides.length === 2);
    expect(await pending(started)).toBe(true);
    await pair.targetControl(`state = 'open', deadline = NULL`);
    await started;
    expect(sides).toEqual(['target', 'again', 'again']);
    expect(await pair.targetItems()).toEqual([{ id: 1, name: 'a', n: 3 }]);
  });

  it('is told when its time is up, and was not applied', async () => {
    const db = pair.router({ fenceTimeoutMs: 80 });
    pair.fenceSource();
    const error = await db.write('UPDATE items SET n = 3').catch((e: unknown) => e);
    expect(error).toBeInstanceOf(CrossfadeError);
    expect(error).toMatchObject({ code: 'Fenced', retryable: true });
    expect((error as Error).message).toMatch(/80 ms.*fencing \(epoch 1/);
    expect(pair.alerts.map(({ kind }) => kind)).toEqual(['fence_timeout']);
    pair.control(`state = 'open'`);
    expect(pair.sourceItems()).toEqual([{ id: 1, name: 'a', n: 1 }]);
  });

  it('meets a schema that lost its control row as a fence', async () => {
    const db = pair.router({ fenceTimeoutMs: 50 });
    pair.source.exec('DELETE FROM _crossfade_control');
    await expect(db.write('UPDATE items SET n = 3 WHERE id = 99')).rejects.toMatchObject({ code: 'Fenced' });
    expect(await db.query('SELECT n FROM items')).toEqual([{ n: 1 }]);
  });

  it('is not lost or doubled by many who write while the primary changes', async () => {
    const routers = [pair.router(), pair.router()];
    let stop = false;
    let id = 100;
    const acknowledged: number[] = [];
    const writers = Array.from({ length: 12 }, async (_, i) => {
      const db = routers[i % 2] as (typeof routers)[0];
      while (!stop) {
        const mine = (id += 1);
        if (i % 3 === 0)
          await db.transaction((tx) => tx.write('INSERT INTO items VALUES (?, ?, ?)', [mine, 'w', i]));
        else await db.write('INSERT INTO items VALUES (?, ?, ?)', [mine, 'w', i]);
        acknowledged.push(mine);
      }
    });
    await until(() => acknowledged.length > 100);
    pair.fenceSource();
    await pair.replay();
    pair.moveSource();
    const atMove = acknowledged.length;
    await until(() => acknowledged.length > atMove + 100);
    stop = true;
    await Promise.all(writers);
    const ids = ((await pair.targetItems()) as { id: number }[]).map((row) => row.id).filter((n) => n > 100);
    expect(ids).toEqual(acknowledged.sort((a, b) => a - b));
    expect(routers.map((db) => db.stats().writes.target.errors)).toEqual([0, 0]);
  });
});

describe('a switch that passed its commit point', () => {
  it('is rolled forward by a router alone', async () => {
    const db = pair.router();
    await db.query('SELECT 1');
    pair.moveSource();
    expect(await pair.targetState()).toEqual({ state: 'standby', epoch: '1' });
    expect(await db.write('UPDATE items SET n = 7')).toMatchObject({ changes: 1 });
    expect(await pair.targetState()).toEqual({ state: 'open', epoch: '2' });
    expect(await pair.targetItems()).toEqual([{ id: 1, name: 'a', n: 7 }]);
  });

  it('is rolled forward by the poll of a router without traffic, and by several at once', async () => {
    for (let i = 0; i < 3; i += 1) pair.router({ pollMs: 5 });
    pair.moveSource();
    await until(async () => (await pair.targetState()).state === 'open');
    expect(pair.alerts).toEqual([]);
  });

  it('does not open the target without the token of the moved row', async () => {
    const db = pair.router({ fenceTimeoutMs: 60 });
    pair.moveSource();
    pair.control(`open_token = 'another'`);
    await expect(db.write('UPDATE items SET n = 7')).rejects.toMatchObject({ code: 'Fenced' });
    expect(await pair.targetState()).toEqual({ state: 'standby', epoch: '1' });
  });

  it('waits for a target that does not answer', async () => {
    const proxy = await pair.proxy();
    const db = pair.router({ target: proxy.url });
    await db.query('SELECT 1');
    proxy.cut();
    pair.moveSource();
    const write = db.write('UPDATE items SET n = 7');
    expect(await pending(write)).toBe(true);
    proxy.down = false;
    expect(await write).toMatchObject({ changes: 1 });
    expect(await pair.targetItems()).toEqual([{ id: 1, name: 'a', n: 7 }]);
  });

  it('is refused by a router that has no target', async () => {
    const db = pair.router();
    pair.moveSource();
    await db.close();
    const { DatabaseConnection } = await import('../src/index.ts');
    const alone = new DatabaseConnection({ source: pair.path });
    await expect(alone.write('UPDATE items SET n = 7')).rejects.toMatchObject({ code: 'Fenced' });
    await expect(alone.query('SELECT * FROM items')).rejects.toMatchObject({ code: 'Fenced' });
    await alone.close();
  });
});

describe('reads of a source that moved', () => {
  it('are never made on it, however old the route is', async () => {
    const db = pair.router();
    await db.query('SELECT 1');
    await pair.cutOver();
    await pair.admin.query(`UPDATE items SET n = 50`);
    expect(await db.query('SELECT n FROM items')).toEqual([{ n: 50 }]);
  });

  it('that are marked primary notice that the target has moved back', async () => {
    await pair.cutOver();
    const db = pair.router();
    expect(await db.query('SELECT n FROM items')).toEqual([{ n: 1 }]);
    await pair.targetControl(`state = 'moved', epoch = 3`);
    openAgainDurably(pair.source, 'test', 3);
    pair.source.exec('UPDATE items SET n = 60');
    expect(await db.query('SELECT n FROM items', [], { primary: true })).toEqual([{ n: 60 }]);
  });

  it('inside a transaction that writes nothing notice it too', async () => {
    await pair.cutOver();
    const db = pair.router();
    await db.query('SELECT 1');
    await pair.targetControl(`state = 'moved', epoch = 3`);
    openAgainDurably(pair.source, 'test', 3);
    pair.source.exec('UPDATE items SET n = 60');
    expect(await db.transaction((tx) => tx.query('SELECT n FROM items'))).toEqual([{ n: 60 }]);
  });
});

describe('the rollback', () => {
  beforeEach(async () => {
    pair.source.exec(`
      CREATE TRIGGER app AFTER INSERT ON items BEGIN UPDATE items SET n = 77 WHERE id = NEW.id; END;
      INSERT INTO _crossfade_suspended SELECT name, sql FROM sqlite_master WHERE name = 'app';
      DROP TRIGGER app;`);
    pair.control('read_percent = 100, dual_writes = 1');
    await pair.cutOver();
  });

  it('is finished by a router alone: the source is open, its triggers are back', async () => {
    const db = pair.router();
    await db.write('UPDATE items SET n = 2');
    await pair.targetControl(`state = 'fencing', deadline = now() + interval '1 minute'`);
    const write = db.write(`INSERT INTO items VALUES (2, 'b', 0)`);
    const nothing = db.write('UPDATE items SET n = 0 WHERE id = 99');
    expect(await pending(Promise.race([write, nothing]))).toBe(true);
    await pair.targetControl(`state = 'moved', epoch = 3`);
    expect(await write).toMatchObject({ changes: 1 });
    expect(await nothing).toMatchObject({ changes: 0 });
    expect(db.primary()).toBe('source');
    expect(pair.sourceItems()).toContainEqual({ id: 2, name: 'b', n: 77 });
    const { source } = pair;
    expect(
      source.prepare('SELECT state, epoch, read_percent, dual_writes FROM _crossfade_control').get(),
    ).toEqual({
      state: 'open',
      epoch: 3,
      read_percent: 0,
      dual_writes: 0,
    });
    expect(source.prepare('SELECT * FROM _crossfade_suspended').all()).toEqual([]);
    expect(source.prepare(`SELECT epoch, holder FROM _crossfade_lease WHERE role = 'reverse'`).get()).toEqual(
      {
        epoch: 3,
        holder: '',
      },
    );
    await expect(pair.admin.query('UPDATE items SET n = 1')).rejects.toMatchObject({ code: 'CF001' });
  });

  it('reaches a router that has slept until the tables of the target were dropped', async () => {
    const [reading, writing] = [pair.router(), pair.router()];
    for (const db of [reading, writing]) expect(await db.query('SELECT n FROM items')).toEqual([{ n: 1 }]);
    const read = reading.query('SELECT nothing FROM items');
    await expect(read).rejects.toMatchObject({ code: '42703' });
    await pair.targetControl(`state = 'moved', epoch = 3`);
    openAgainDurably(pair.source, 'test', 3);
    await pair.admin.query('DROP TABLE items; DROP SCHEMA crossfade CASCADE');
    expect(await writing.write('UPDATE items SET n = 60')).toMatchObject({ changes: 1 });
    expect(await reading.query('SELECT n FROM items')).toEqual([{ n: 60 }]);
  });

  it('opens the source once, and only for the epoch that follows', () => {
    expect(openAgainDurably(pair.source, 'test', 4)).toBe(false);
    expect(openAgainDurably(pair.source, 'test', 2)).toBe(false);
    // Epochs recur: a process that slept through the end of one migration may not open what the next has moved.
    expect(openAgainDurably(pair.source, 'the one before', 3)).toBe(false);
    expect(openAgainDurably(pair.source, 'test', 3)).toBe(true);
    expect(openAgainDurably(pair.source, 'test', 3)).toBe(true);
    expect(pair.source.prepare(`SELECT count(*) FROM sqlite_master WHERE name = 'app'`).pluck().get()).toBe(
      1,
    );
  });

  it('shows a serialization failure of the fence as a wait, any other as it is', async () => {
    const db = pair.router();
    let runs = 0;
    const write = db.transaction(async (tx) => {
      runs += 1;
      await tx.write({ sqlite: 'SELECT 1', postgres: 'SET TRANSACTION ISOLATION LEVEL REPEATABLE READ' });
      await tx.query('SELECT n FROM items');
      if (runs === 1) await pair.targetControl(`state = 'fencing', deadline = now() + interval '1 minute'`);
      await tx.write('UPDATE items SET n = 5 WHERE id = 1');
    });
    await until(() => runs === 1);
    expect(await pending(write)).toBe(true);
    await pair.targetControl(`state = 'open', deadline = NULL`);
    await write;
    expect(runs).toBe(2);
    // Raised and lifted again before the write met it.
    let lifted = 0;
    await db.transaction(async (tx) => {
      lifted += 1;
      await tx.write('SET TRANSACTION ISOLATION LEVEL SERIALIZABLE');
      await tx.query('SELECT n FROM items');
      if (lifted === 1) await pair.targetControl(`deadline = now()`);
      await tx.write('UPDATE items SET n = 5 WHERE id = 1');
    });
    expect(lifted).toBe(2);
    const own = db.transaction(async (tx) => {
      runs += 1;
      await tx.write('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ');
      await tx.query('SELECT n FROM items');
      await pair.admin.query('UPDATE items SET n = 6 WHERE id = 1');
      await tx.write('UPDATE items SET n = 7 WHERE id = 1');
    });
    await expect(own).rejects.toMatchObject({ code: '40001' });
    expect(runs).toBe(3);
  });
});

describe('after finish', () => {
  const removeOurs = (): void => {
    const { source } = pair;
    for (const name of source
      .prepare(
        `SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE '\\_crossfade%' ESCAPE '\\'`,
      )
      .pluck()
      .all()) {
      source.exec(`DROP TRIGGER "${String(name)}"`);
    }
    source.exec(`DROP TABLE _crossfade_control; DROP TABLE _crossfade_lease; DROP TABLE _crossfade_log;
      DROP TABLE _crossfade_suspended`);
  };

  it('the target is primary, also for a router that slept through it all', async () => {
    const asleep = pair.router();
    await asleep.write('UPDATE items SET n = 2');
    const before = pair.router();
    await before.write('UPDATE items SET n = 2');
    await pair.cutOver();
    await before.write('UPDATE items SET n = 3');
    removeOurs();
    await pair.targetControl('finished_at = now()');
    const fresh = pair.router();
    for (const db of [asleep, before, fresh]) {
      expect(await db.write('UPDATE items SET n = n + 1')).toMatchObject({ changes: 1 });
      expect(db.primary()).toBe('target');
    }
    expect(pair.sourceItems()).toEqual([{ id: 1, name: 'a', n: 2 }]);
    expect(await pair.targetItems()).toEqual([{ id: 1, name: 'a', n: 6 }]);
  });

  it('a router that never saw a control table notices that one came and went', async () => {
    const other = await Pair.create();
    try {
      const db = other.router();
      await db.write(`INSERT INTO items VALUES (1, 'a', 1)`);
      await other.startMigration();
      await other.cutOver();
      const { source } = other;
      source.exec(
        `DROP TRIGGER _crossfade_fence_UPDATE; DROP TRIGGER _crossfade_capture_UPDATE; DROP TABLE _crossfade_control`,
      );
      expect(await db.write('UPDATE items SET n = 9')).toMatchObject({ changes: 1 });
      expect(other.sourceItems()).toEqual([{ id: 1, name: 'a', n: 1 }]);
      expect(await db.query('SELECT n FROM items')).toEqual([{ n: 9 }]);
    } finally {
      await other.close();
    }
  });

  it('an outage of the target does not bring the old source back', async () => {
    const proxy = await pair.proxy();
    const db = pair.router({ target: proxy.url, pollMs: 10 });
    await pair.cutOver();
    await db.write('UPDATE items SET n = 3');
    removeOurs();
    await pair.targetControl('finished_at = now()');
    await db.query('SELECT 1');
    proxy.cut();
    await until(() => pair.alerts.some(({ kind }) => kind === 'target_unreachable'));
    await expect(db.write('UPDATE items SET n = 4')).rejects.toMatchObject({ code: 'TargetUnreachable' });
    await expect(db.query('SELECT 1')).rejects.toMatchObject({ code: 'TargetUnreachable' });
    expect(pair.sourceItems()).toEqual([{ id: 1, name: 'a', n: 1 }]);
    proxy.down = false;
    await until(() =>
      db.write('UPDATE items SET n = 5').then(
        () => true,
        () => false,
      ),
    );
    expect(db.primary()).toBe('target');
  });
});

describe('a write whose outcome is unknown', () => {
  it('is not sent again', async () => {
    await pair.cutOver();
    const proxy = await pair.proxy();
    const db = pair.router({ target: proxy.url });
    await db.write('UPDATE items SET n = 10');
    proxy.loseRepliesTo = /n \+ 1/;
    await expect(db.write('UPDATE items SET n = n + 1')).rejects.toMatchObject({ code: 'OutcomeUnknown' });
    proxy.loseRepliesTo = /COMMIT/;
    let runs = 0;
    await expect(
      db.transaction(async (tx) => {
        runs += 1;
        await tx.write('UPDATE items SET n = n + 100');
      }),
    ).rejects.toMatchObject({ code: 'OutcomeUnknown' });
    expect(runs).toBe(1);
    proxy.loseRepliesTo = undefined;
    await until(async () => ((await db.query<{ n: number }>('SELECT n FROM items'))[0]?.n ?? 0) === 111);
    expect(pair.alerts.map(({ kind }) => kind)).toEqual(['outcome_unknown', 'outcome_unknown']);
    expect(db.stats().writes.target).toMatchObject({ count: 3, errors: 2 });
  });
});
