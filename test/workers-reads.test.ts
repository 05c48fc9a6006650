import { assertSettings } from '../src/workers/settings.ts';
import { WorkersPair } from './support/workers/pair.ts';

let pair: WorkersPair;

beforeEach(async () => {
  pair = await WorkersPair.create();
  await pair.d1(`INSERT INTO items VALUES (1, 'a', 1)`);
  await pair.startMigration();
  await pair.replay();
});

afterEach(() => pair.close());

const NEW = { cacheMs: 0 };
const read = (key?: string) =>
  ({
    do: 'query',
    sql: 'SELECT name FROM items WHERE id = 1',
    ...(key === undefined ? {} : { key }),
  }) as const;
const rename = (name: string, key?: string) =>
  ({
    do: 'write',
    sql: 'UPDATE items SET name = ? WHERE id = 1',
    params: [name],
    ...(key === undefined ? {} : { key }),
  }) as const;

/** Without a change on D1, so that it shows who answers. */
async function markTarget(): Promise<void> {
  await pair.admin.query(
    `BEGIN; SET LOCAL crossfade.lease = 'applier'; UPDATE items SET name = 'target'; COMMIT`,
  );
}

describe('reads by percentage', () => {
  beforeEach(async () => {
    await pair.control('read_percent = 100');
    await markTarget();
  });

  it('go to PostgreSQL, those of the primary do not', async () => {
    expect(await pair.run(read(), NEW)).toEqual([{ name: 'target' }]);
    expect(await pair.run({ ...read(), primary: true }, NEW)).toEqual([{ name: 'a' }]);
    await pair.control('read_percent = 0');
    expect(await pair.run(read(), NEW)).toEqual([{ name: 'a' }]);
  });

  it('see the writes of their key, and without a key those of the isolate', async () => {
    await pair.run(rename('mine', 'u'), NEW);
    expect(await pair.run(read('u'), NEW)).toEqual([{ name: 'mine' }]);
    expect(await pair.run(read(), NEW)).toEqual([{ name: 'mine' }]);
    expect(await pair.run(read('another'), NEW)).toEqual([{ name: 'target' }]);
    await pair.replay();
    await markTarget();
    expect(await pair.run(read('u'), NEW)).toEqual([{ name: 'target' }]);
  });

  it('see in another isolate what the session says', async () => {
    const { session } = await pair.send({ steps: [rename('mine', 'u')], options: NEW });
    expect(session).toMatch(/^\d+\.test$/);
    const other = (given?: string) =>
      pair.run(read('u'), { ...NEW, ...(given === undefined ? {} : { session: given }) }, 'other');
    expect(await other()).toEqual([{ name: 'target' }]);
    expect(await other(session)).toEqual([{ name: 'mine' }]);
    // Of another migration, or nobody's.
    expect(await other('999.another')).toEqual([{ name: 'target' }]);
    expect(await other('%%<script>')).toEqual([{ name: 'target' }]);
    const onward = await pair.send({ steps: [read('u')], options: { ...NEW, session: session! } }, 'other');
    expect(onward.session).toBe(session);
    await pair.replay();
    await markTarget();
    const later = await pair.send({ steps: [read('u')], options: { ...NEW, session: session! } }, 'other');
    expect(later.results).toEqual([{ value: [{ name: 'target' }] }]);
    expect(later.session).toBeUndefined();
  });

  it('fall back to D1 where PostgreSQL does not answer', async () => {
    await pair.run(read(), NEW);
    pair.proxy.cut();
    const { results, stats } = await pair.send({ steps: [read()], options: { cacheMs: 60_000 } });
    expect(results).toEqual([{ value: [{ name: 'a' }] }]);
    expect(stats.reads.target.fallbacks).toBe(1);
    // Writes do not need it.
    expect(await pair.run(rename('b'), NEW)).toMatchObject({ changes: 1 });
  });
});

it('answers a dual write when replay has passed it, or after its time', async () => {
  await pair.control('dual_writes = 1, dual_write_timeout_ms = 60000');
  let answered = false;
  const write = pair.send({ steps: [rename('both')], options: NEW }).then((answer) => {
    answered = true;
    return answer;
  });
  while ((await pair.sourceItems())[0]!['name'] !== 'both')
    await new Promise((resolve) => setTimeout(resolve, 5));
  expect(answered).toBe(false);
  await pair.replay();
  expect((await write).session).toBeUndefined();
  await pair.control('dual_write_timeout_ms = 200');
  const late = await pair.send({ steps: [rename('late'), rename('later')], options: NEW });
  expect(late.alerts.map(({ kind }) => kind)).toEqual(['dual_write_failure']);
  expect(late.stats.writes.source.dualWriteFailures).toBe(2);
  expect(late.session).toBeDefined();
});

it('reports what it has served to the gates', async () => {
  await pair.send({ steps: [read(), rename('x')], options: { ...NEW, reportMs: 0 } });
  const windows = async (): Promise<unknown[]> => {
    const { rows } = await pair.admin.query(
      'SELECT side, operation, sum(count)::int AS count FROM crossfade.traffic GROUP BY 1, 2 ORDER BY 2',
    );
    return rows as unknown[];
  };
  while ((await windows()).length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(await windows()).toEqual([
    { side: 'source', operation: 'read', count: 1 },
    { side: 'source', operation: 'write', count: 1 },
  ]);
  const { rows } = await pair.admin.query(`SELECT instance FROM crossfade.router`);
  expect(rows).toEqual([{ instance: expect.stringMatching(/^workers:/) }]);
});

it('asks D1 once, and PostgreSQL not at all, while its route is fresh and no report is due', async () => {
  await pair.send({ steps: [read()], closed: true });
  const { accepted } = pair.proxy;
  expect(accepted).toBeGreaterThan(0);
  const options = { cacheMs: 60_000, reportMs: 60_000 };
  const { batches } = await pair.send({ steps: [read(), rename('x')], options, closed: true });
  expect(batches).toBe(2);
  expect(pair.proxy.accepted).toBe(accepted);
});

it('knows a PostgreSQL that it is looking at when it is closed', async () => {
  await pair.control('read_percent = 100');
  await pair.run(read());
  // The look in the background has not begun when close() is called.
  await pair.send({ steps: [rename('x', 'k')], options: NEW, closed: true });
  const { stats } = await pair.send({ steps: [read('another')], options: { cacheMs: 60_000 } });
  expect(stats.reads.target).toMatchObject({ fallbacks: 0 });
});

it('refuses a way to PostgreSQL that does not keep the settings of a session', async () => {
  await assertSettings(pair.admin);
  await pair.admin.query(`SET TimeZone = 'America/New_York'; SET synchronous_commit = off`);
  await expect(assertSettings(pair.admin)).rejects.toThrow(
    /ALTER ROLE "postgres" SET TimeZone = 'UTC'; ALTER ROLE "postgres" SET synchronous_commit = on$/,
  );
});

it('tells what shadow reads find', async () => {
  await pair.control('dual_writes = 1');
  await markTarget();
  const options = { cacheMs: 60_000, shadowReads: 1 };
  await pair.send({ steps: [read()], options });
  for (;;) {
    const { alerts } = await pair.send({ steps: [], options });
    if (alerts.length > 0) {
      expect(alerts[0]!.kind).toBe('shadow_mismatch');
      return;
    }
  }
});
