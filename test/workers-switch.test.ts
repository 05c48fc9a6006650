import { decide } from '../src/router/route.ts';
import type { Answer } from './support/workers/application.ts';
import { OPEN_TOKEN } from './support/router.ts';
import { WorkersPair } from './support/workers/pair.ts';

/** An isolate that has looked once goes by what it saw for the rest of the test. */
const STALE = { cacheMs: 3_600_000 };

let pair: WorkersPair;

beforeEach(async () => {
  pair = await WorkersPair.create();
  await pair.d1(`INSERT INTO items VALUES (1, 'a', 1)`);
});

afterEach(() => pair.close());

const stillWaits = async (promise: Promise<unknown>): Promise<boolean> => {
  const waiting = Symbol('waiting');
  const later = new Promise((resolve) => setTimeout(resolve, 300, waiting));
  return (await Promise.race([promise, later])) === waiting;
};

const values = ({ results }: Answer): unknown[] => results.map(({ value, error }) => error ?? value);
const insert = (id: number, n: number) =>
  ({ do: 'write', sql: 'INSERT INTO items VALUES (?, NULL, ?)', params: [id, n] }) as const;
const increment = { do: 'write', sql: 'UPDATE items SET n = n + 1 WHERE id = 1' } as const;
const one = { changes: 1, rows: [] };

/** The target moved back with epoch 3, and nobody has opened D1 again. */
async function moveBack(): Promise<void> {
  await pair.targetControl(`state = 'moved', epoch = 3`);
}

async function cutOver(): Promise<void> {
  await pair.replay();
  await pair.move();
  await pair.openTarget();
}

describe('a Worker that writes', () => {
  it('serves D1 before and PostgreSQL after the cutover', async () => {
    expect(await pair.run(increment)).toEqual(one);
    await pair.startMigration();
    expect(await pair.run(increment)).toEqual(one);
    await cutOver();
    expect(await pair.run(increment)).toEqual(one);
    expect(await pair.run({ do: 'query', sql: 'SELECT n FROM items' })).toEqual([{ n: 4 }]);
    expect(await pair.sourceItems()).toEqual([{ id: 1, name: 'a', n: 3 }]);
  });

  it('waits for the fence and writes once, to PostgreSQL', async () => {
    await pair.startMigration();
    await pair.run({ do: 'query', sql: 'SELECT 1 AS one' });
    await pair.replay();
    await pair.fence();
    const request = pair.send({
      together: true,
      steps: [
        insert(2, 5),
        // Matches no row of D1, so that no trigger could refuse it.
        { do: 'write', sql: `UPDATE items SET name = 'late' WHERE name = 'x'` },
        {
          do: 'batch',
          operations: [
            { sql: 'INSERT INTO items VALUES (3, NULL, NULL)' },
            { sql: 'UPDATE items SET n = ? WHERE id = ?', params: [6, 3] },
          ],
        },
      ],
    });
    expect(await stillWaits(request)).toBe(true);
    await pair.admin.query(
      `BEGIN; SET LOCAL crossfade.lease = 'applier'; INSERT INTO items VALUES (9, 'x', 9); COMMIT`,
    );
    await pair.move();
    await pair.openTarget();
    const answer = await request;
    expect(values(answer)).toEqual([one, one, [one, one]]);
    expect(answer.stats).toMatchObject({
      primary: 'target',
      writes: { source: { count: 0 }, target: { count: 3, errors: 0 } },
    });
    expect(answer.stats.fenceRetries).toBeGreaterThanOrEqual(3);
    expect(await pair.sourceItems()).toEqual([{ id: 1, name: 'a', n: 1 }]);
    expect(await pair.targetItems()).toEqual([
      { id: 1, name: 'a', n: 1 },
      { id: 2, name: null, n: 5 },
      { id: 3, name: null, n: 6 },
      { id: 9, name: 'late', n: 9 },
    ]);
  });

  it('stays on D1 where the fence is lifted', async () => {
    await pair.startMigration();
    await pair.fence();
    const write = pair.run(increment);
    expect(await stillWaits(write)).toBe(true);
    await pair.control(`state = 'open', deadline = NULL`);
    expect(await write).toEqual(one);
    expect(await pair.sourceItems()).toEqual([{ id: 1, name: 'a', n: 2 }]);
  });

  it('is told when its time is up, and has written nothing', async () => {
    await pair.startMigration();
    await pair.fence();
    const { results, alerts } = await pair.send({ steps: [increment], options: { fenceTimeoutMs: 250 } });
    expect(results[0]!.error).toMatchObject({ code: 'Fenced' });
    expect(results[0]!.error!.message).toMatch(/250 ms; it was not applied.*source fencing \(epoch 1/);
    expect(alerts.map(({ kind }) => kind)).toEqual(['fence_timeout']);
    expect(await pair.sourceItems()).toEqual([{ id: 1, name: 'a', n: 1 }]);
  });

  it('opens PostgreSQL where nobody has done so', async () => {
    await pair.startMigration();
    await pair.replay();
    await pair.move();
    expect(await pair.run(increment)).toEqual(one);
    const { rows } = await pair.admin.query('SELECT state, epoch::int FROM crossfade.control');
    expect(rows).toEqual([{ state: 'open', epoch: 2 }]);
    expect(await pair.targetItems()).toEqual([{ id: 1, name: 'a', n: 2 }]);
  });

  it('opens D1 again after a rollback, once', async () => {
    await pair.startMigration();
    const trigger = `CREATE TRIGGER "of the ""application" AFTER INSERT ON items BEGIN
      UPDATE items SET name = 'seen; it''s' WHERE id = new.id; END`;
    await pair.d1(
      `INSERT INTO _crossfade_suspended VALUES ('of the "application', '${trigger.replaceAll("'", "''")}')`,
      `UPDATE _crossfade_lease SET holder = 'somebody'`,
      `UPDATE _crossfade_control SET read_percent = 50, dual_writes = 1`,
    );
    await cutOver();
    expect(await pair.run(increment)).toEqual(one);
    await moveBack();
    // What reverse replay has brought back.
    await pair.d1(
      'UPDATE _crossfade_control SET applying = 1',
      'UPDATE items SET n = 2',
      'UPDATE _crossfade_control SET applying = 0',
    );
    const [first, second] = await Promise.all([pair.run(insert(2, 2)), pair.run(insert(3, 3), {}, 'other')]);
    expect([first, second]).toEqual([one, one]);
    expect(await pair.sourceItems()).toEqual([
      { id: 1, name: 'a', n: 2 },
      { id: 2, name: `seen; it's`, n: 2 },
      { id: 3, name: `seen; it's`, n: 3 },
    ]);
    expect(
      await pair.d1(
        'SELECT state, epoch, typeof(epoch) AS type, read_percent, dual_writes FROM _crossfade_control',
      ),
    ).toEqual([{ state: 'open', epoch: 3, type: 'integer', read_percent: 0, dual_writes: 0 }]);
    expect(await pair.d1('SELECT DISTINCT epoch, holder FROM _crossfade_lease')).toEqual([
      { epoch: 3, holder: '' },
    ]);
    expect(await pair.d1('SELECT count(*) AS n FROM _crossfade_suspended')).toEqual([{ n: 0 }]);
    expect(await pair.targetItems()).toEqual([{ id: 1, name: 'a', n: 2 }]);
  });

  it('leaves a source alone that another migration has moved', async () => {
    await pair.startMigration();
    await cutOver();
    await pair.run(increment);
    await pair.targetControl(`state = 'moved', epoch = 3`);
    await pair.control(`migration = 'another'`);
    await expect(pair.run(increment, { fenceTimeoutMs: 250 })).rejects.toMatchObject({ code: 'Fenced' });
    expect(await pair.d1('SELECT state, epoch FROM _crossfade_control')).toEqual([
      { state: 'moved', epoch: 2 },
    ]);
  });

  it('opens D1 again only where its row is the one that was seen', async () => {
    await pair.startMigration();
    const source = pair.source();
    const row = (): Promise<unknown> => pair.d1('SELECT state, epoch FROM _crossfade_control');
    expect(await source.openAgain('test', 2)).toBe(false);
    await pair.move();
    expect(await source.openAgain('another', 3)).toBe(false);
    expect(await source.openAgain('test', 4)).toBe(false);
    expect(await row()).toEqual([{ state: 'moved', epoch: 2 }]);
    expect(await source.openAgain('test', 3)).toBe(true);
    await pair.fence();
    expect(await source.openAgain('test', 3)).toBe(true);
    expect(await row()).toEqual([{ state: 'fencing', epoch: 3 }]);
  });

  it('reads again what D1 lost, three times in all, and sends no write again', async () => {
    await pair.startMigration();
    let left = 0;
    const source = pair.source(() => left-- > 0);
    const losing = async <T>(answers: number, work: () => Promise<T>): Promise<T> => {
      left = answers;
      return work();
    };
    const route = decide(await losing(2, () => source.view()), { control: 'none' });
    // The row that anchors the log.
    expect(await losing(2, () => source.head())).toBe(1);
    const reading = ['SELECT n FROM items', []] as const;
    expect(await losing(2, () => source.read(...reading, route))).toEqual({ rows: [{ n: 1 }], inRole: true });
    await expect(losing(3, () => source.read(...reading, route))).rejects.toThrow('Network connection lost');
    const operations = [{ sql: increment.sql, params: [] }];
    await expect(losing(1, () => source.write(operations, route))).rejects.toMatchObject({
      code: 'OutcomeUnknown',
    });
    expect(await pair.d1('SELECT n FROM items')).toEqual([{ n: 2 }]);
  });

  it('needs to know the target once D1 has moved', async () => {
    await pair.startMigration();
    await cutOver();
    const { results } = await pair.send({
      steps: [increment, { do: 'query', sql: 'SELECT 1' }],
      alone: true,
    });
    for (const { error } of results) expect(error!.message).toMatch(/give it as `target`/);
  });

  it('meets a control table without its row as a fence', async () => {
    await pair.startMigration();
    await pair.d1('DELETE FROM _crossfade_control');
    const nothing = { do: 'write', sql: 'UPDATE items SET n = 3 WHERE id = 99' } as const;
    await expect(pair.run(nothing, { fenceTimeoutMs: 250 })).rejects.toMatchObject({ code: 'Fenced' });
    expect(await pair.run({ do: 'query', sql: 'SELECT n FROM items' })).toEqual([{ n: 1 }]);
  });
});

describe('an isolate that has not looked for an hour', () => {
  const miss = { do: 'write', sql: `UPDATE items SET name = 'late' WHERE name = 'x'` } as const;

  it('knew no migration', async () => {
    await pair.run({ do: 'query', sql: 'SELECT n FROM items' }, STALE);
    await pair.startMigration();
    await cutOver();
    await pair.admin.query(`UPDATE items SET n = 7`);
    expect(await pair.run(miss, STALE)).toEqual({ changes: 0, rows: [] });
    expect(await pair.run({ do: 'primary' }, STALE)).toBe('target');
  });

  it('knew D1 as the primary', async () => {
    await pair.startMigration();
    await pair.run(increment, STALE);
    await pair.run(increment, STALE, 'other');
    await cutOver();
    await pair.admin.query(`UPDATE items SET n = 7, name = 'x'`);
    expect(await pair.run({ do: 'query', sql: 'SELECT n FROM items' }, STALE)).toEqual([{ n: 7 }]);
    expect(await pair.run(miss, STALE, 'other')).toEqual(one);
    expect(await pair.sourceItems()).toEqual([{ id: 1, name: 'a', n: 3 }]);
  });

  it('knew PostgreSQL as the primary', async () => {
    await pair.startMigration();
    await cutOver();
    await pair.run(increment, STALE);
    await moveBack();
    expect(await pair.run(increment, STALE)).toEqual(one);
    expect(await pair.sourceItems()).toEqual([{ id: 1, name: 'a', n: 2 }]);
    expect(await pair.targetItems()).toEqual([{ id: 1, name: 'a', n: 2 }]);
  });

  it('reads after the way back what another isolate has written to D1', async () => {
    await pair.startMigration();
    await cutOver();
    const read = { do: 'query', sql: 'SELECT n FROM items' } as const;
    expect(await pair.run(read, STALE)).toEqual([{ n: 1 }]);
    await moveBack();
    expect(await pair.run(increment, {}, 'other')).toEqual(one);
    expect(await pair.run(read, STALE)).toEqual([{ n: 2 }]);
    expect(await pair.targetItems()).toEqual([{ id: 1, name: 'a', n: 1 }]);
  });

  it('knew a migration that was rolled back and cleaned up', async () => {
    await pair.startMigration();
    await pair.run(increment, STALE);
    const ours = await pair.d1(
      `SELECT type, name FROM sqlite_master WHERE name LIKE '\\_crossfade%' ESCAPE '\\'`,
    );
    await pair.d1(
      ...ours.filter(({ type }) => type === 'trigger').map(({ name }) => `DROP TRIGGER ${String(name)}`),
      ...ours.filter(({ type }) => type === 'table').map(({ name }) => `DROP TABLE ${String(name)}`),
    );
    await pair.admin.query('DROP TABLE items; DROP SCHEMA crossfade CASCADE');
    expect(await pair.run(increment, STALE)).toEqual(one);
    expect(await pair.run({ do: 'query', sql: 'SELECT n FROM items' }, STALE)).toEqual([{ n: 3 }]);
  });
});

it('does not serve a D1 that was put back to a time before its cutover', async () => {
  await pair.startMigration();
  await cutOver();
  await pair.control(`state = 'open', epoch = 1, open_token = NULL`);
  expect(await pair.run(increment)).toEqual(one);
  expect(await pair.sourceItems()).toEqual([{ id: 1, name: 'a', n: 1 }]);
  expect(await pair.targetItems()).toEqual([{ id: 1, name: 'a', n: 2 }]);
});

it('loses and doubles nothing while many requests of two isolates write through a cutover', async () => {
  await pair.startMigration();
  let stop = false;
  let id = 100;
  const acknowledged: number[] = [];
  const writers = Array.from({ length: 6 }, async (_, i) => {
    while (!stop) {
      const mine = (id += 1);
      await pair.run(insert(mine, mine), i % 2 === 0 ? STALE : {}, i % 3 === 0 ? 'other' : 'one');
      acknowledged.push(mine);
    }
  });
  const enough = async (more: number): Promise<void> => {
    const goal = acknowledged.length + more;
    while (acknowledged.length < goal) await new Promise((resolve) => setTimeout(resolve, 5));
  };
  await enough(30);
  await pair.fence();
  await pair.replay();
  const before = (await pair.sourceItems()).length;
  await pair.move();
  await pair.admin.query('SELECT crossfade.open_target(2, $1)', [OPEN_TOKEN]);
  await enough(30);
  stop = true;
  await Promise.all(writers);
  expect((await pair.sourceItems()).length).toBe(before);
  const found = (await pair.targetItems()).map((row) => row['id']).filter((found) => Number(found) > 100);
  expect(found).toEqual(acknowledged.sort((a, b) => a - b));
});
