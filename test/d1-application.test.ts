/** An application in workerd serves through the router of crossfade/workers while its D1 database moves, and comes back. */
import { fileURLToPath } from 'node:url';
import { Connection } from '@temporalio/client';
import { bundleWorker } from '../cloudflare/bundle-worker.ts';
import { fetchOnce } from '../cloudflare/fetch-once.ts';
import { D1Migration, inPhase } from './support/d1-migration.ts';
import { eventually } from './support/eventually.ts';
import { PRODUCTS, ShopTraffic } from './support/shop-traffic.ts';
import { SHOP_TABLES, type Place, type ShopStatistics } from './support/workers/shop.ts';

const SHOP = fileURLToPath(new URL('./support/workers/shop.ts', import.meta.url));
/** Two Workers are two isolates that share nothing but the databases. */
const WORKERS = ['one', 'other'];
const USERS = 6;

const INPUT = {
  // What a busy machine does to latencies is not for this test.
  gates: { minSamples: 1, latencyFloorMs: 60_000, maxLagMs: 600_000 },
  dualWrites: { enabled: true, timeoutMs: 300 },
};

const TABLES = {
  note: 'id, user, label, version, place',
  product: 'id, sold',
  sale: 'id, product, user, number, place',
};
type Table = keyof typeof TABLES;

let connection: Connection;
let script: string;

beforeAll(async () => {
  connection = await Connection.connect({ address: process.env['TEST_TEMPORAL_ADDRESS']! });
  script = (await bundleWorker({ file: SHOP })).code;
});
afterAll(() => connection.close());

class Shop {
  readonly migration: D1Migration;
  readonly traffic: ShopTraffic;
  readonly #workers: string[];

  private constructor(migration: D1Migration, workers: string[]) {
    this.migration = migration;
    this.#workers = workers;
    this.traffic = new ShopTraffic(USERS, workers);
  }

  static async open(): Promise<Shop> {
    const migration = await D1Migration.create(connection, (target) =>
      WORKERS.map((name) => ({ name, script, bindings: { TARGET: target } })),
    );
    await migration.d1.exec(
      ...SHOP_TABLES,
      ...Array.from({ length: PRODUCTS }, (_, i) => `INSERT INTO product VALUES (${i + 1}, 0)`),
    );
    return new Shop(migration, await Promise.all(WORKERS.map((name) => migration.d1.application(name))));
  }

  rows(place: Place, table: Table): Promise<unknown[][]> | unknown[][] {
    const columns = TABLES[table];
    if (place === 'D1')
      return this.migration.inD1(`SELECT ${columns} FROM ${table} ORDER BY id`) as unknown[][];
    const exact = columns
      .replace(/\buser\b/, '"user"')
      .replaceAll(/\b(id|version|product|number|sold)\b/g, '$1::int');
    return this.migration.inTarget(`SELECT ${exact} FROM ${table} ORDER BY id`) as Promise<unknown[][]>;
  }

  /** Acknowledged writes, and nothing else, are there, each once. */
  async expectRecords(place: Place): Promise<void> {
    expect(await this.rows(place, 'note')).toEqual(this.traffic.notes());
    expect(await this.rows(place, 'sale')).toEqual(this.traffic.sales());
    expect(await this.rows(place, 'product')).toEqual(this.traffic.products());
  }

  /** Writes are acknowledged, `more` of them by this database. */
  async writes(place: Place, more: number): Promise<void> {
    const goal = this.traffic.writes(place) + more;
    await eventually(
      `${more} writes on ${place}`,
      () => this.traffic.failures.length > 0 || this.traffic.writes(place) >= goal,
    );
    expect(this.traffic.failures).toEqual([]);
  }

  statistics(): Promise<ShopStatistics[]> {
    return Promise.all(
      this.#workers.map(
        async (worker) => (await fetchOnce(`${worker}/-/statistics`)).json() as Promise<ShopStatistics>,
      ),
    );
  }

  async close(): Promise<void> {
    await this.traffic.stop();
    await this.migration.dispose();
  }
}

/** Equal neighbours once. */
function runs(places: Place[]): Place[] {
  return places.filter((place, i) => place !== places[i - 1]);
}

let shop: Shop;
beforeEach(async () => {
  shop = await Shop.open();
  shop.migration.startWorker();
  shop.traffic.start();
  await shop.writes('D1', 20);
}, 120_000);
afterEach(() => shop.close(), 60_000);

it('is served by D1, then by PostgreSQL, and nothing fails, is lost, doubled or read too early', async () => {
  const { migration, traffic } = shop;
  const handle = await migration.start({ ...INPUT, soakMs: 1_000 });
  const report = await handle.result();
  await shop.writes('PostgreSQL', 30);
  await traffic.stop();

  expect(traffic.failures).toEqual([]);
  expect(report).toMatchObject({ outcome: 'complete', verdict: { equal: true } });
  await shop.expectRecords('PostgreSQL');
  for (const { writes, reads } of traffic.users) {
    expect(runs(writes)).toEqual(['D1', 'PostgreSQL']);
    expect(reads[0]).toBe('D1');
    expect(reads.at(-1)).toBe('PostgreSQL');
  }

  // What PostgreSQL has not changed since is in D1 as well, which takes nothing any more.
  const [notes, sales] = [await shop.rows('D1', 'note'), await shop.rows('D1', 'sale')];
  const untouched = traffic.notes(({ place }) => place === 'D1');
  expect(notes.filter(([id]) => untouched.some(([kept]) => kept === id))).toEqual(untouched);
  const gone = traffic.users.flatMap(({ deleted }) => [...deleted].filter(([, place]) => place === 'D1'));
  expect(notes.filter(([id]) => gone.some(([deleted]) => deleted === id))).toEqual([]);
  expect(sales.filter(([, , , , place]) => place === 'D1')).toEqual(
    traffic.sales(({ place }) => place === 'D1'),
  );
  await expect(migration.d1.exec('DELETE FROM note')).rejects.toThrow('crossfade: fenced');

  const statistics = await shop.statistics();
  const served = (kind: 'reads' | 'writes', side: 'source' | 'target', what: 'count' | 'errors'): number =>
    statistics.reduce((sum, one) => sum + one[kind][side][what], 0);
  for (const [side, place] of [
    ['source', 'D1'],
    ['target', 'PostgreSQL'],
  ] as const) {
    expect(served('writes', side, 'count')).toBe(traffic.writes(place));
    expect(served('writes', side, 'errors')).toBe(0);
    expect(served('reads', side, 'errors')).toBe(0);
  }
}, 240_000);

it('goes back to D1 with what was written on PostgreSQL, and nothing fails', async () => {
  const { migration, traffic } = shop;
  const handle = await migration.start({ ...INPUT, soakMs: 600_000, targetAfterRollback: 'keep' });
  await inPhase(handle, 'soak');
  await shop.writes('PostgreSQL', 30);
  await traffic.stop();
  await shop.expectRecords('PostgreSQL');
  await eventually(
    'D1 has what PostgreSQL has',
    async () => JSON.stringify(await shop.rows('D1', 'sale')) === JSON.stringify(traffic.sales()),
  );
  await eventually(
    'D1 has the notes as well',
    async () => JSON.stringify(await shop.rows('D1', 'note')) === JSON.stringify(traffic.notes()),
  );
  await shop.expectRecords('D1');

  traffic.start();
  await shop.writes('PostgreSQL', 10);
  await handle.signal('abort', 'enough');
  await expect(handle.result()).rejects.toMatchObject({ cause: { message: 'rolled back: enough' } });
  await shop.writes('D1', 30);
  await traffic.stop();
  expect(traffic.failures).toEqual([]);
  for (const { writes } of traffic.users) expect(runs(writes)).toEqual(['D1', 'PostgreSQL', 'D1']);
  await shop.expectRecords('D1');
  expect(
    migration.inD1(`SELECT name FROM sqlite_master WHERE name LIKE '\\_crossfade%' ESCAPE '\\'`),
  ).toEqual([]);
}, 240_000);
