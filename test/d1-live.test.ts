import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import Database from 'better-sqlite3';
import pg from 'pg';
import { DEFAULT_INPUT, type Plan } from '../src/contract.ts';
import { d1Access, d1Address } from '../src/databases/d1/address.ts';
import { D1Client } from '../src/databases/d1/client.ts';
import { openD1, type OpenD1 } from '../src/databases/d1/open.ts';
import type { Lease } from '../src/databases/sqlite/control.ts';
import { beginMigration } from '../src/engine/begin.ts';
import { copyTables } from '../src/engine/copy.ts';
import { cutOver } from '../src/engine/cutover.ts';
import { cleanSource } from '../src/engine/finish.ts';
import { planSource } from '../src/engine/plan-source.ts';
import { Replayer } from '../src/engine/replay.ts';
import { ReverseReplayer } from '../src/engine/reverse.ts';
import { moveWritesBack } from '../src/engine/rollback.ts';
import { startCapture } from '../src/engine/source-control.ts';
import { createIndexes } from '../src/engine/target-indexes.ts';
import { addForeignKeys, createTables } from '../src/engine/target-schema.ts';
import { verifyStep } from '../src/engine/verify-step.ts';
import { startFaultyProxy, type FaultyProxy } from '../cloudflare/faults.ts';
import { startD1, type D1Server } from '../cloudflare/server.ts';
import { createTestDatabase, type TestDatabase } from './support/postgres.ts';

const never = new AbortController().signal;

let d1: D1Server;
let proxy: FaultyProxy;
let database: TestDatabase;
let target: pg.Client;
let folder: string;
let open: OpenD1;
beforeAll(async () => {
  d1 = await startD1();
  proxy = await startFaultyProxy(d1.env['CLOUDFLARE_API_BASE_URL']!);
  database = await createTestDatabase();
  target = new pg.Client({ connectionString: database.url });
  target.on('error', () => undefined);
  await target.connect();
  folder = mkdtempSync(join(tmpdir(), 'crossfade-d1-'));
});
afterAll(async () => {
  open?.close();
  await target.end();
  await database.drop();
  await proxy.stop();
  await d1.stop();
  rmSync(folder, { recursive: true });
});

let ordinal = 0;
let epoch = 1;
function lease<Role extends string>(role: Role): Lease<Role> {
  return { role, epoch, ordinal: ++ordinal, holder: randomUUID() };
}

/** Rows of the file in which workerd keeps the database. */
function inD1(sql: string): unknown[] {
  const db = new Database(d1.file, { readonly: true });
  try {
    return db.prepare(sql).raw().all();
  } finally {
    db.close();
  }
}

async function inTarget(sql: string): Promise<unknown[]> {
  return (await target.query({ text: sql, rowMode: 'array' })).rows;
}

test('a live D1 database moves to PostgreSQL and back, with every write', async () => {
  await d1.exec(
    'CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, balance REAL, note TEXT)',
    'CREATE TABLE posts (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users (id) ON DELETE CASCADE, body TEXT)',
    `CREATE TRIGGER touched AFTER UPDATE OF balance ON users BEGIN UPDATE users SET note = 'touched' WHERE id = NEW.id; END`,
    `WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 500)
       INSERT INTO users (name, balance) SELECT 'u' || n, n / 10.0 FROM i`,
    `INSERT INTO posts (user_id, body) SELECT id, 'post of ' || name FROM users`,
    'CREATE TABLE plans (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id), active INTEGER NOT NULL)',
    'CREATE UNIQUE INDEX one_plan ON plans (user_id) WHERE active = 1',
    'INSERT INTO plans VALUES (1, 9, 0), (2, 9, 1), (3, 10, 0), (4, 10, 1)',
  );
  const path = join(folder, 'mirror.db');
  const env = { ...d1.env, CLOUDFLARE_API_BASE_URL: proxy.baseUrl };
  open = openD1(await D1Client.open(d1Address(d1.url, 'SOURCE_URL'), d1Access(env)), path);
  const { live } = open;
  await live.ready();
  const endpoints = { sourcePath: path, targetUrl: database.url };
  const choices = { policies: { ...DEFAULT_INPUT.policies, triggers: 'drop' as const }, overrides: {} };
  const plan: Plan = await planSource(endpoints, 'd1-test', choices);
  expect(plan.blockers).toEqual([]);
  await beginMigration(endpoints, 'd1-test', plan);
  await createTables(endpoints, lease('control'));
  await d1.exec(`UPDATE users SET balance = 1000 WHERE id = 1`);
  await startCapture(path, lease('control'), plan, DEFAULT_INPUT.capture);
  await d1.exec(
    `UPDATE users SET balance = 2000 WHERE id = 2`,
    `DELETE FROM users WHERE id = 3`,
    `INSERT OR REPLACE INTO users (id, name, balance) VALUES (900, 'u4', 0.1)`,
  );
  await live.ready();
  await copyTables({
    endpoints,
    lease: lease('copy'),
    tables: plan.tables,
    settings: DEFAULT_INPUT.copy,
    signal: never,
    onProgress: () => undefined,
  });
  await d1.exec(`UPDATE users SET name = 'renamed' WHERE id = 5`, `DELETE FROM posts WHERE id = 6`);
  const catchUp = async (): Promise<void> => {
    await live.refresh();
    const replayer = await Replayer.open(endpoints, lease('replay'));
    while ((await replayer.step()) > 0);
    await replayer.close();
  };
  await catchUp();
  await createIndexes(endpoints, lease('control'), never);
  await catchUp();
  const verdict = await verifyStep({
    endpoints,
    lease: lease('control'),
    mode: 'full',
    sampleRows: 100,
    signal: never,
    onProgress: () => undefined,
  });
  expect(verdict).toMatchObject({ equal: true, mismatches: [] });
  const all = `SELECT id, name, balance, note FROM users ORDER BY id`;
  const tampered = new Database(path);
  tampered.exec(`CREATE TEMP TABLE saved AS SELECT * FROM posts WHERE id = 30;
    UPDATE users SET note = 'other' WHERE id = 20; DELETE FROM posts WHERE id = 30`);
  expect(await live.audit(['users', 'posts'])).toEqual([
    { table: 'posts', key: '["i:30"]', kind: 'only at the origin' },
    { table: 'users', key: '["i:20"]', kind: 'different' },
  ]);
  tampered.exec(`UPDATE users SET note = NULL WHERE id = 20; INSERT INTO posts SELECT * FROM saved`);
  tampered.close();
  expect(await live.audit(['users', 'posts'])).toEqual([]);
  expect(await inTarget(all.replace('id,', 'id::int,'))).toEqual(inD1(all));
  await addForeignKeys(endpoints, lease('control'));
  await d1.exec(`INSERT INTO users (name, balance) VALUES ('last', 7)`);
  const cutover = await cutOver({
    endpoints,
    replayLease: lease('replay'),
    sourceLease: lease('control'),
    maxPauseMs: 10_000,
    signal: never,
  });
  expect(cutover).toMatchObject({ outcome: 'moved', epoch: 2 });
  await expect(d1.exec(`UPDATE users SET name = 'x' WHERE id = 7`)).rejects.toThrow('crossfade: fenced');
  expect(await inTarget(all.replace('id,', 'id::int,'))).toEqual(inD1(all));

  epoch = 2;
  await target.query(`UPDATE users SET name = 'on target' WHERE id = 8`);
  await target.query(`UPDATE users SET name = 'swap' WHERE id = 9; UPDATE users SET name = 'u9' WHERE id = 10;
    UPDATE users SET name = 'u10' WHERE id = 9; DELETE FROM users WHERE id = 11;
    INSERT INTO users (name, balance) VALUES ('new there', 0.1)`);
  // The value moves to a new row; a row that is outside the partial index has it as well, and nobody touches that.
  await target.query(`UPDATE plans SET active = 0 WHERE id = 2; INSERT INTO plans VALUES (5, 9, 1);
    UPDATE plans SET user_id = 7 WHERE id = 4; INSERT INTO plans VALUES (6, 10, 1)`);
  const replayer = await ReverseReplayer.open(endpoints, lease('reverse'));
  const catchUpBack = async (): Promise<void> => {
    while ((await replayer.step()) > 0);
    expect((await replayer.refused()).quarantined).toBe(0);
    expect(inD1(all)).toEqual(await inTarget(all.replace('id,', 'id::int,')));
  };
  await catchUpBack();
  // What a batch moved whose reply was lost has moved for the next one.
  await target.query(`UPDATE users SET name = 'swap' WHERE id = 9; UPDATE users SET name = 'u10' WHERE id = 10;
    UPDATE users SET name = 'u9' WHERE id = 9`);
  proxy.meant = (body) => body.includes('INSERT OR ABORT INTO');
  proxy.next = ['lost-reply'];
  await catchUpBack();
  expect(proxy.next).toEqual([]);
  await target.query('UPDATE users SET balance = 1 WHERE id = 9');
  await catchUpBack();
  // As a worker leaves it that dies between a batch and its own rows.
  const left = new Database(path);
  left.exec('DELETE FROM users WHERE id = 20; UPDATE _crossfade_mirror SET filled = 0');
  left.close();
  await target.query('DELETE FROM users WHERE id = 20');
  await catchUpBack();
  await replayer.close();
  const plans = `SELECT id, user_id, active FROM plans ORDER BY id`;
  expect(inD1(plans)).toEqual(
    await inTarget(plans.replace('id, user_id, active', 'id::int, user_id::int, active::int')),
  );
  const posts = `SELECT id, user_id, body FROM posts ORDER BY id`;
  expect(inD1(posts)).toEqual(await inTarget(posts.replace('id, user_id', 'id::int, user_id::int')));

  await target.query(`UPDATE users SET name = 'very last' WHERE id = 12`);
  const back = await moveWritesBack({ endpoints, lease: lease('reverse'), maxPauseMs: 10_000 });
  expect(back).toMatchObject({ outcome: 'moved', epoch: 3 });
  expect(inD1(`SELECT name FROM users WHERE id = 12`)).toEqual([['very last']]);
  await d1.exec(`UPDATE users SET balance = 5 WHERE id = 7`);
  expect(inD1(`SELECT note FROM users WHERE id = 7`)).toEqual([['touched']]);
  await cleanSource(endpoints, 'd1-test');
  expect(inD1(`SELECT name FROM sqlite_master WHERE name LIKE '\\_crossfade%' ESCAPE '\\'`)).toEqual([]);
});
