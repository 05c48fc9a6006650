/** A mirror that follows D1 while an application writes between two requests. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import Database from 'better-sqlite3';
import { DEFAULT_INPUT } from '../src/contract.ts';
import { d1Access, d1Address } from '../src/databases/d1/address.ts';
import { D1Client } from '../src/databases/d1/client.ts';
import { openD1, type OpenD1 } from '../src/databases/d1/open.ts';
import { installCapture } from '../src/databases/sqlite/capture.ts';
import { openSource } from '../src/databases/sqlite/connection.ts';
import { createControl, LOG_TABLE } from '../src/databases/sqlite/control.ts';
import { writeTransaction } from '../src/databases/sqlite/transaction.ts';
import { planMigration } from '../src/engine/plan.ts';
import { startFaultyProxy, type FaultyProxy } from '../cloudflare/faults.ts';
import { startD1, type D1Server } from '../cloudflare/server.ts';

let d1: D1Server;
let proxy: FaultyProxy;
let folder: string;
let path: string;
let open: OpenD1;

beforeAll(async () => {
  d1 = await startD1();
  proxy = await startFaultyProxy(d1.env['CLOUDFLARE_API_BASE_URL']!);
  folder = mkdtempSync(join(tmpdir(), 'crossfade-d1-'));
  path = join(folder, 'mirror.db');
  await d1.exec(
    'CREATE TABLE one (id INTEGER PRIMARY KEY, v TEXT UNIQUE)',
    'CREATE TABLE two (id INTEGER PRIMARY KEY, x)',
    `INSERT INTO one VALUES (1, 'a'), (2, 'b')`,
  );
  const env = { ...d1.env, CLOUDFLARE_API_BASE_URL: proxy.baseUrl };
  open = openD1(await D1Client.open(d1Address(d1.url, 'SOURCE_URL'), d1Access(env)), path);
  await open.live.ready();
  const db = openSource(path, 'write');
  try {
    const { policies } = DEFAULT_INPUT;
    const { tables } = await planMigration(db, { policies, overrides: {} });
    await writeTransaction(db, () => createControl(db, 'm', 1));
    await writeTransaction(db, () => installCapture(db, tables, 1_000_000));
  } finally {
    db.close();
  }
  await open.live.ready();
});
afterAll(async () => {
  open.close();
  await proxy.stop();
  await d1.stop();
  rmSync(folder, { recursive: true });
});

/** Runs the statements in D1 after the look at its state, and before the log is read. */
function between(...statements: string[]): void {
  proxy.meant = (body) => body.includes(`FROM ${LOG_TABLE} l WHERE`);
  proxy.next = [{ before: () => d1.exec(...statements) }];
}

function contents(file: string): unknown {
  const db = new Database(file, { readonly: true });
  try {
    return {
      one: db.prepare('SELECT quote(id), typeof(v), hex(v) FROM one ORDER BY id').raw().all(),
      two: db.prepare('SELECT id, typeof(x), quote(x), hex(x) FROM two ORDER BY id').raw().all(),
      log: db.prepare(`SELECT seq, t, quote(k0) FROM ${LOG_TABLE} ORDER BY seq`).raw().all(),
    };
  } finally {
    db.close();
  }
}

test('a row is never newer than the log that names its changes, also where a table comes into the log', async () => {
  await d1.exec(`UPDATE one SET v = 'c' WHERE id = 1`);
  between(`INSERT INTO two (id) VALUES (1)`, `UPDATE one SET v = 'd' WHERE id = 1`);
  await open.live.refresh();
  expect(proxy.next).toEqual([]);
  expect(contents(path)).toEqual(contents(d1.file));
});

test('nor while more has changed than one request asks for', async () => {
  const many = `WITH RECURSIVE i(n) AS (SELECT 10 UNION ALL SELECT n + 1 FROM i WHERE n < 1500)`;
  await d1.exec(
    `INSERT INTO one VALUES (-9223372036854775808, CAST(x'61ff' AS TEXT)), (9007199254740993, '\u{1f600}\t')`,
    `INSERT INTO two VALUES (2, 9007199254740993), (3, 0.1), (4, -0.0), (5, 9e999), (6, x'00ff'), (7, x''), (8, ''), (9, NULL)`,
    `${many} INSERT INTO one SELECT n, 'v' || n FROM i`,
  );
  const before = contents(path);
  let halfway: unknown;
  between(
    `UPDATE one SET v = 'free' WHERE id = 1500`,
    `UPDATE one SET v = 'v1500' WHERE id = 10`,
    `DELETE FROM one WHERE id = 11`,
  );
  proxy.next.push({
    before: async () => {
      halfway = contents(path);
    },
  });
  await open.live.refresh();
  expect(proxy.next).toEqual([]);
  expect(halfway).toEqual(before);
  expect(contents(path)).toEqual(contents(d1.file));
});

test('an audit looks again at a row that changes between page and comparison, by its key, and finds what differs', async () => {
  await d1.exec(`INSERT OR REPLACE INTO one VALUES (1, 'a'), (2, 'b'), (3, 'c')`);
  await open.live.refresh();
  const looks: string[] = [];
  let page = false;
  /** Changes row 1 in D1 after a page was read, and then something in the mirror before the row is looked at again. */
  const audit = (inMirror: string): ReturnType<OpenD1['live']['audit']> => {
    proxy.next = [];
    proxy.meant = (body) => {
      if (body.includes('AS there')) {
        page = true;
        return false;
      }
      if (page) {
        page = false;
        proxy.next.push({ before: () => d1.exec(`UPDATE one SET v = v || 'x' WHERE id = 1`) });
        return true;
      }
      const isLook = body.includes('(VALUES ');
      if (isLook) {
        looks.push(/\(VALUES (.*?)\) d/.exec(body)![1]!);
        const db = new Database(path);
        db.exec(inMirror);
        db.close();
      }
      return false;
    };
    return open.live.audit(['one']);
  };
  expect(await audit('')).toEqual([]);
  expect(looks).toEqual(['(1)']);
  expect(await audit(`UPDATE one SET v = 'other' WHERE id = 1`)).toEqual([
    { table: 'one', key: '["i:1"]', kind: 'different' },
  ]);
});
