import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Plan } from '../src/contract.ts';
import { runCommand, type Result } from './support/command-line.ts';
import { startD1, type D1Server } from '../cloudflare/server.ts';
import { createTestDatabase, type TestDatabase } from './support/postgres.ts';

let d1: D1Server;
let target: TestDatabase;
beforeAll(async () => {
  d1 = await startD1();
  target = await createTestDatabase();
});
afterAll(async () => {
  await target.drop();
  await d1.stop();
});

function crossfade(...argv: string[]): Promise<Result> {
  return runCommand([...argv, '--source', d1.url, '--target', target.url], d1.env);
}

test('the plan of a D1 database tells types, blockers and requests, and leaves no trace in it', async () => {
  await d1.exec(
    'CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL, score NUMERIC, created DATETIME)',
    `INSERT INTO users VALUES (1, 'Ada', 1.5, '2024-01-01 10:00:00'), (9007199254740993, 'Bob', 2, NULL)`,
    'CREATE TRIGGER tr AFTER INSERT ON users BEGIN SELECT 1; END',
    'CREATE VIRTUAL TABLE words USING fts5 (body)',
  );
  const { status, out, err } = await crossfade('plan', '--json');
  expect({ status, err }).toEqual({ status: 3, err: '' });
  const plan = JSON.parse(out) as Plan;
  expect(plan.tables.map(({ name, rows }) => [name, rows])).toEqual([['users', 2]]);
  expect(plan.tables[0]!.columns.map(({ name, targetType }) => [name, targetType])).toEqual([
    ['id', 'bigint'],
    ['name', 'text'],
    ['score', 'numeric'],
    ['created', 'timestamp'],
  ]);
  expect(plan.tables[0]!.columns[0]!.census).toMatchObject({ greatest: '9007199254740993' });
  expect(plan.blockers.map(({ code }) => code).sort()).toEqual(['application-trigger', 'virtual-table']);
  expect(plan.notices.find(({ code }) => code === 'd1-requests')?.message).toMatch(
    /^reading every row once took \d requests/,
  );
  const { out: text } = await crossfade('plan');
  expect(text).toContain('users (2 rows, key id)');
});

test('a command that cannot take a D1 database says so', async () => {
  const { status, err } = await runCommand(['export', '--source', d1.url, '--out', 'nowhere'], d1.env);
  expect({ status, err }).toEqual({
    status: 2,
    err: 'crossfade: --source names a D1 database, and this needs a file: for a local one use d1-local:PATH; inside a Worker use crossfade/workers\n',
  });
});
