import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { d1Access, d1Address } from '../src/databases/d1/address.ts';
import { exactSql } from '../src/databases/d1/cells.ts';
import { D1Client } from '../src/databases/d1/client.ts';
import { ACCOUNT, DATABASE, READ_TOKEN, startD1, type D1Server } from '../cloudflare/server.ts';
import { startFaultyProxy, type FaultyProxy } from '../cloudflare/faults.ts';
import { seeded } from './support/random.ts';

let d1: D1Server;
let proxy: FaultyProxy;
beforeAll(async () => {
  d1 = await startD1();
  proxy = await startFaultyProxy(d1.env['CLOUDFLARE_API_BASE_URL']!);
});
afterAll(async () => {
  await proxy.stop();
  await d1.stop();
});
beforeEach(() => {
  proxy.next.length = 0;
  proxy.seen = 0;
});

const open = async (url = d1.url, env: NodeJS.ProcessEnv = {}): Promise<D1Client> =>
  D1Client.open(
    d1Address(url, '--source'),
    d1Access({ ...d1.env, CLOUDFLARE_API_BASE_URL: proxy.baseUrl, ...env }),
  );

/** As users report it (https://github.com/cloudflare/workers-sdk/issues/9519). */
const EXPORTING = 'Currently processing a long-running export.';

type Mistake = [string, () => Promise<unknown>, string, RegExp];
const mistakes: Mistake[] = [
  [
    'a token that Cloudflare does not know',
    () => open(d1.url, { CLOUDFLARE_API_TOKEN: 'x' }),
    'SourceDenied',
    /refuses CLOUDFLARE_API_TOKEN \(Authentication error \[10000\]\): it needs the permission "D1 Read"/,
  ],
  [
    'another account',
    () => open(`d1://${'f'.repeat(32)}/${DATABASE}`),
    'SourceDenied',
    /The given account is not valid/,
  ],
  [
    'a database that is not there',
    () => open(`d1://${ACCOUNT}/${DATABASE.replace('1', '9')}`),
    'SourceMissing',
    /does not exist \(The database 9.* could not be found \[7404\]\): "wrangler d1 list"/,
  ],
  [
    'a name that is not there',
    () => open(`d1://${ACCOUNT}/sho`),
    'SourceMissing',
    /no D1 database that is called "sho"; it has shop \(11111111-/,
  ],
  [
    'no token',
    () => open(d1.url, { CLOUDFLARE_API_TOKEN: '' }),
    'BadConnection',
    /CLOUDFLARE_API_TOKEN is not set/,
  ],
  ...['0', '17', '2.5', 'many'].map((concurrency): Mistake => [
    `${concurrency} requests at once`,
    () => open(d1.url, { CROSSFADE_D1_CONCURRENCY: concurrency }),
    'BadConnection',
    new RegExp(`CROSSFADE_D1_CONCURRENCY is ${concurrency}: .* 1 to 16`),
  ]),
  [
    'a token that may only read, where something is to be changed',
    async () => {
      const client = await open(d1.url, { CLOUDFLARE_API_TOKEN: READ_TOKEN });
      await client.read(['SELECT 1']);
      await client.change([{ sql: 'CREATE TABLE never (id)' }]);
    },
    'SourceDenied',
    /it needs the permission "D1 Edit" for this account/,
  ],
  [
    'a database that is being exported',
    async () => {
      const client = await open();
      proxy.next.push({ status: 400, code: 7500, message: EXPORTING });
      await client.read(['SELECT 1']);
    },
    'SourceBusy',
    /is being exported \(.*\), and answers nothing meanwhile: wait until the export has ended/,
  ],
  [
    'a change while the database is being exported',
    async () => {
      const client = await open();
      proxy.next.push({ status: 400, code: 7500, message: EXPORTING });
      await client.change([{ sql: 'CREATE TABLE never (id)' }]);
    },
    'SourceBusy',
    /is being exported/,
  ],
  [
    'an address without an account',
    async () => d1Address('d1://shop', '--source'),
    'BadConnection',
    /--source is not d1:\/\/ACCOUNT_ID\/DATABASE_ID/,
  ],
];
test.each(mistakes)('%s is told in one line', async (_, attempt, code, message) => {
  const error: unknown = await attempt().catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code, message: expect.stringMatching(message) });
  expect((error as Error).message).not.toContain('a-token');
});

test('a database is found by its name', async () => {
  expect((await open(`d1://${ACCOUNT}/shop`)).name).toBe(`d1://${ACCOUNT}/${DATABASE}`);
});

test('a read goes on after a rate limit, an internal error, a cut and a lost reply', async () => {
  const client = await open();
  proxy.next.push(
    { status: 429, code: 10429, message: 'rate limited', retryAfter: 1 },
    { status: 500, code: 7500, message: 'internal error; reference=x' },
    'cut',
    'lost-reply',
  );
  expect(await client.read(['SELECT 1 AS one'])).toEqual([{ columns: ['one'], rows: [[1]] }]);
  expect(client.counts.repeated).toBe(4);
});

test('a statement that SQLite refuses is not sent again', async () => {
  const client = await open();
  proxy.seen = 0;
  await expect(client.read(['SELECT * FROM missing'])).rejects.toMatchObject({
    name: 'D1Error',
    code: 'SQLITE_ERROR',
    message: expect.stringContaining('no such table: missing'),
  });
  expect(proxy.seen).toBe(1);
});

test('a double written as SQL is that double in D1, to the bit', async () => {
  const random = seeded('d1 doubles');
  const values = [
    5e-324,
    2.2250738585072014e-308,
    -2.225073858507201e-308,
    1.7976931348623157e308,
    0.1,
    -0,
    1 / 3,
  ];
  const bits = new BigUint64Array(1);
  while (values.length < 200) {
    bits[0] = (BigInt(random.below(2 ** 32)) << 32n) | BigInt(random.below(2 ** 32));
    const value = new Float64Array(bits.buffer)[0]!;
    if (Number.isFinite(value)) values.push(value);
  }
  const client = await open();
  const back: number[] = [];
  for (let i = 0; i < values.length; i += 50) {
    const some = values.slice(i, i + 50);
    const [answer] = await client.read([
      `SELECT ${some.map((value, n) => `${exactSql(value)} AS c${n}`).join(', ')}`,
    ]);
    back.push(...(answer!.rows[0] as number[]));
  }
  // JSON has no negative zero.
  expect(back).toEqual(values.map((value) => value + 0));
});
