import { WorkersPair } from './support/workers/pair.ts';

let pair: WorkersPair;

beforeEach(async () => {
  pair = await WorkersPair.create();
});

afterEach(() => pair.close());

describe('the router in a Worker', () => {
  it('writes to D1 before, and to PostgreSQL after the cutover', async () => {
    await pair.run({ do: 'write', sql: 'INSERT INTO items VALUES (?, ?, ?)', params: [1, 'a', 5] });
    await pair.startMigration();
    expect(
      await pair.run({ do: 'write', sql: 'UPDATE items SET n = n + ? WHERE id = ?', params: [1, 1] }),
    ).toEqual({ changes: 1, rows: [] });
    await pair.replay();
    await pair.move();
    await pair.openTarget();
    expect(
      await pair.run({ do: 'write', sql: 'INSERT INTO items VALUES (?, ?, ?)', params: [2, 'b', 7] }),
    ).toEqual({ changes: 1, rows: [] });
    expect(await pair.run({ do: 'query', sql: 'SELECT id, n FROM items ORDER BY id' })).toEqual([
      { id: 1, n: 6 },
      { id: 2, n: 7 },
    ]);
    expect(await pair.sourceItems()).toEqual([{ id: 1, name: 'a', n: 6 }]);
  });
});
