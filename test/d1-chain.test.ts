/** Batches that change D1 are done once or never, whatever becomes of their replies and whoever else is at it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import type Database from 'better-sqlite3';
import { d1Access, d1Address } from '../src/databases/d1/address.ts';
import { D1Client } from '../src/databases/d1/client.ts';
import { openD1, type OpenD1 } from '../src/databases/d1/open.ts';
import { removeAll } from '../src/databases/sqlite/clean-up.ts';
import { openSource } from '../src/databases/sqlite/connection.ts';
import {
  BATCH_TABLE,
  CONTROL_TABLE,
  createControl,
  hasControl,
  LEASE_TABLE,
  LOG_TABLE,
  readControl,
  SUSPENDED_TABLE,
  type Lease,
} from '../src/databases/sqlite/control.ts';
import { writeTransaction } from '../src/databases/sqlite/transaction.ts';
import { changeSource } from '../src/engine/source-control.ts';
import { startFaultyProxy, type Fault, type FaultyProxy } from '../cloudflare/faults.ts';
import { startD1, type D1Server } from '../cloudflare/server.ts';

let d1: D1Server;
let proxy: FaultyProxy;
let folder: string;
const opened: { open: OpenD1; db: Database.Database }[] = [];

beforeAll(async () => {
  d1 = await startD1();
  proxy = await startFaultyProxy(d1.env['CLOUDFLARE_API_BASE_URL']!);
  proxy.meant = (body) => body.includes('UPDATE _crossfade_control');
  folder = mkdtempSync(join(tmpdir(), 'crossfade-d1-'));
  await d1.exec('CREATE TABLE t (id INTEGER PRIMARY KEY)');
});
afterAll(async () => {
  await proxy.stop();
  await d1.stop();
  rmSync(folder, { recursive: true });
});

/** Another process: a mirror and connections of its own. */
async function owner(): Promise<{ path: string; db: Database.Database; open: OpenD1 }> {
  const path = join(folder, `${randomUUID()}.db`);
  const env = { ...d1.env, CLOUDFLARE_API_BASE_URL: proxy.baseUrl };
  const open = openD1(await D1Client.open(d1Address(d1.url, 'SOURCE_URL'), d1Access(env)), path);
  await open.live.ready();
  const db = openSource(path, 'write');
  opened.push({ open, db });
  return { path, db, open };
}

let first: Awaited<ReturnType<typeof owner>>;
beforeEach(async () => {
  first = await owner();
  await writeTransaction(first.db, () => createControl(first.db, 'm', 1));
});
afterEach(async () => {
  proxy.next = [];
  // Past the chain, which would have to stay for some seconds.
  await d1.exec(
    ...[CONTROL_TABLE, LEASE_TABLE, LOG_TABLE, SUSPENDED_TABLE, BATCH_TABLE].map(
      (table) => `DROP TABLE IF EXISTS ${table}`,
    ),
  );
  for (const { open, db } of opened.splice(0)) {
    db.close();
    open.close();
  }
});

function lease(ordinal: number): Lease<'control'> {
  return { role: 'control', epoch: 1, ordinal, holder: randomUUID() };
}

/** A change that shows how often it was done. */
function addOne(db: Database.Database): number {
  return db.prepare('UPDATE _crossfade_control SET read_percent = read_percent + 1').run().changes;
}

async function percent(): Promise<number> {
  const { db, open } = await owner();
  await open.live.refresh();
  return readControl(db)!.readPercent;
}

const FAULTS: [string, Fault[]][] = [
  ['lost', ['lost-reply']],
  ['cut off', ['cut', 'cut']],
  ['a 500', [{ status: 500, code: 7500, message: 'internal error; reference = x' }, 'lost-reply']],
  ['a 429', [{ status: 429, code: 10429, message: 'slow down', retryAfter: 0 }]],
];

test.each(FAULTS)('a change whose reply is %s is done once', async (_, faults) => {
  proxy.next = faults;
  expect(await writeTransaction(first.db, () => addOne(first.db))).toBe(1);
  expect(proxy.next).toEqual([]);
  expect(readControl(first.db)!.readPercent).toBe(1);
  expect(await percent()).toBe(1);
});

test('a batch that arrives after it was given up changes nothing', async () => {
  let release!: () => void;
  let done!: (answer: string) => void;
  const late = new Promise<void>((resolve) => (release = resolve));
  const answer = new Promise<string>((resolve) => (done = resolve));
  proxy.next = [{ late, done }];
  expect(await writeTransaction(first.db, () => addOne(first.db))).toBe(1);
  release();
  expect(await answer).toContain('crossfade: changed');
  expect(await percent()).toBe(1);
});

test('a beginning that arrives after everything of ours was removed brings nothing back', async () => {
  await writeTransaction(first.db, () => removeAll(first.db));
  const begins = (body: string): boolean => body.includes('CREATE TABLE _crossfade_control');
  let release!: () => void;
  let done!: (answer: string) => void;
  const late = new Promise<void>((resolve) => (release = resolve));
  const answer = new Promise<string>((resolve) => (done = resolve));
  const { meant } = proxy;
  proxy.meant = begins;
  proxy.next = [{ late, done }];
  await writeTransaction(first.db, () => createControl(first.db, 'm', 1));
  proxy.meant = meant;
  expect(proxy.next).toEqual([]);
  await writeTransaction(first.db, () => removeAll(first.db));
  release();
  expect(await answer).toContain('crossfade: changed');
  const { open, db } = await owner();
  await open.live.refresh();
  expect(hasControl(db)).toBe(false);
});

test('changes of two processes at the same time are all done, each on the result of the one before', async () => {
  const second = await owner();
  const many = (db: Database.Database): Promise<number>[] =>
    Array.from({ length: 5 }, () => writeTransaction(db, () => addOne(db)));
  await Promise.all([...many(first.db), ...many(second.db)]);
  expect(await percent()).toBe(10);
});

test('an owner whose lease was taken over stops without effect', async () => {
  const second = await owner();
  await changeSource(first.path, lease(1), addOne);
  await changeSource(second.path, lease(3), addOne);
  await expect(changeSource(first.path, lease(2), addOne)).rejects.toMatchObject({ code: 'LeaseLost' });
  expect(await percent()).toBe(2);
});

test('a change that looked at the schema is decided again where it has changed meanwhile', async () => {
  const seen: unknown[] = [];
  const tables = first.db
    .prepare(`SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('t', 'later')`)
    .pluck();
  proxy.next = [{ before: () => d1.exec('CREATE TABLE later (id)') }];
  await writeTransaction(first.db, () => {
    seen.push(tables.get());
    addOne(first.db);
  });
  expect(seen).toEqual([1, 2]);
  expect(await percent()).toBe(1);
  await d1.exec('DROP TABLE later');
});
