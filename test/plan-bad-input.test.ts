/** `crossfade plan` on sources that are not what they should be: one clear line, the right status, and no trace anywhere. */
import { once } from 'node:events';
import { mkdtemp, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import Database from 'better-sqlite3';
import pg from 'pg';
import { main } from '../src/cli/program.ts';
import type { Plan } from '../src/contract.ts';
import { brief } from './support/plan.ts';
import { createTestDatabase, type TestDatabase } from './support/postgres.ts';

interface Result {
  status: number;
  out: string;
  err: string;
}

let folder: string;
let path: string;
let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'crossfade-bad-'));
  path = join(folder, 'source.db');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function plan(...more: string[]): Promise<Result> {
  const result = { status: -1, out: '', err: '' };
  result.status = await main(['plan', '--source', path, '--target', database.url, ...more], {
    env: {},
    stdout: { write: (text) => (result.out += text), columns: 80 },
    stderr: { write: (text) => (result.err += text) },
    readStdin: () => Promise.resolve(''),
    onInterrupt: () => () => undefined,
  });
  return result;
}

/** @param sql run in a database in WAL mode, closed again */
function make(sql: string, journal = 'WAL'): void {
  const db = new Database(path);
  try {
    db.pragma(`journal_mode = ${journal}`);
    db.exec(sql);
  } finally {
    db.close();
  }
}

const FILLED = `CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT); CREATE INDEX by_x ON t (x);
  WITH RECURSIVE i (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 2000) INSERT INTO t SELECT n, 'text ' || n FROM i`;

function tables(count: number): string {
  return Array.from({ length: count }, (_, i) => `CREATE TABLE t${i} (id INTEGER PRIMARY KEY, x TEXT);`).join(
    '',
  );
}

/** Writes over the middle of the file, which only a connection of another process may have open. */
function damage(at: number, bytes: Buffer): void {
  const file = openSync(path, 'r+');
  try {
    writeSync(file, bytes, 0, bytes.length, at);
  } finally {
    closeSync(file);
  }
}

function expectRefusal(result: Result, status: number, message: RegExp): void {
  expect(result.err).toMatch(message);
  expect(result.err).toMatch(/^crossfade: [^\n]+\n$/);
  expect(result).toMatchObject({ status, out: '' });
}

/** Nothing of ours on the target, nor beside the source. */
async function expectNoTrace(files = ['source.db']): Promise<void> {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  try {
    const { rows } = await client.query(
      `SELECT nspname AS name FROM pg_namespace WHERE nspname = 'crossfade'
       UNION ALL SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace`,
    );
    expect(rows).toEqual([]);
  } finally {
    await client.end();
  }
  const left = (await readdir(folder)).filter((name) => !/-(wal|shm)$/.test(name));
  expect(left.sort()).toEqual(files);
}

describe('a source that cannot be planned', () => {
  it.each<[string, () => unknown, number, RegExp]>([
    ['does not exist', () => undefined, 2, /source\.db does not exist: check the path/],
    ['has 0 bytes', () => writeFile(path, ''), 2, /source\.db is empty \(0 bytes\): check the path/],
    ['is text', () => writeFile(path, 'id;name\n'.repeat(500)), 2, /is not a SQLite database/],
    ['is encrypted', () => writeFile(path, Buffer.alloc(8192, 0x5a)), 2, /not a SQLite database \(encrypted/],
    [
      'is not in WAL mode',
      () => make(FILLED, 'DELETE'),
      3,
      /journal mode "delete".*'PRAGMA journal_mode=WAL'/,
    ],
    [
      'is cut short',
      () => {
        make(FILLED);
        return truncate(path, 3 * 4096 + 100);
      },
      3,
      /source\.db is damaged \(.*\): restore a backup/,
    ],
    [
      'has a page that was written over',
      () => {
        make(FILLED);
        damage(4 * 4096, Buffer.alloc(4096, 0xa5));
      },
      3,
      /is damaged \(.*Tree \d+ page.*\): restore a backup, or recover it/,
    ],
    [
      'has a schema that was written over',
      () => {
        make(FILLED);
        damage(readFileSync(path).indexOf('CREATE TABLE'), Buffer.from('CREATE TOBLE'));
      },
      3,
      /is damaged \(.*malformed database schema/,
    ],
  ])('because it %s', async (_, prepare, status, message) => {
    await prepare();
    const before = await readdir(folder);
    expectRefusal(await plan(), status, message);
    await expectNoTrace(before);
  });

  it.each(['WAL', 'DELETE'])(
    'because another connection holds it exclusively, in journal mode %s',
    async (mode) => {
      make(FILLED, mode);
      const other = new Database(path);
      try {
        other.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; DELETE FROM t WHERE id = 1');
        expectRefusal(
          await plan(),
          1,
          /source\.db is locked by another connection: end its long transaction/,
        );
      } finally {
        other.close();
      }
      await expectNoTrace();
    },
  );

  it('because its schema never rests', async () => {
    make(`CREATE TABLE t (id INTEGER PRIMARY KEY, x0 TEXT); ${tables(100)}`);
    const writer = new Worker(
      `const { workerData } = require('node:worker_threads'), db = new (require('better-sqlite3'))(workerData);
       db.pragma('synchronous = OFF');
       for (let i = 0; ; i++) {
         db.exec('ALTER TABLE t RENAME COLUMN x' + i + ' TO x' + (i + 1));
         if (i === 0) require('node:worker_threads').parentPort.postMessage('begun');
       }`,
      { eval: true, workerData: path },
    );
    await once(writer, 'message');
    try {
      expectRefusal(
        await plan(),
        1,
        /its schema changed during each of 3 plans: wait until its migrations are done/,
      );
    } finally {
      await writer.terminate();
    }
    await expectNoTrace();
  });
});

describe('a source that stands in the way by itself', () => {
  const blockers = async (): Promise<string[]> => {
    const result = await plan('--json');
    expect(result).toMatchObject({ status: 3, err: '' });
    await expectNoTrace();
    return brief((JSON.parse(result.out) as Plan).blockers);
  };

  it('without tables', async () => {
    make('');
    expect(await blockers()).toEqual(['no-tables']);
    expect((await plan()).out).toContain('This migration is refused: 1 blocker.');
  });

  it('with rows that break its own constraints, which quick_check tells of too', async () => {
    make(`CREATE TABLE t (id INTEGER PRIMARY KEY, n INT CHECK (n > 0)); PRAGMA ignore_check_constraints = ON;
      WITH RECURSIVE i (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < 300) INSERT INTO t SELECT x, -x FROM i`);
    expect((await plan()).status).toBe(0);
    damage(4096, Buffer.alloc(4, 0xff));
    expectRefusal(await plan(), 3, /is damaged/);
  });
});

it('plans a source of 500 tables that is being written all the time', async () => {
  make(tables(500));
  const writer = new Worker(
    `const { workerData } = require('node:worker_threads'), db = new (require('better-sqlite3'))(workerData);
     db.pragma('synchronous = OFF');
     const insert = db.prepare("INSERT INTO t7 (x) VALUES ('y')"), remove = db.prepare('DELETE FROM t7 WHERE id = ?');
     for (let i = 1; ; i++) { insert.run(); if (i % 3 === 0) remove.run(i); }`,
    { eval: true, workerData: path },
  );
  try {
    const result = await plan('--json');
    expect(result).toMatchObject({ status: 0, err: '' });
    expect((JSON.parse(result.out) as Plan).tables).toHaveLength(500);
  } finally {
    await writer.terminate();
  }
  await expectNoTrace();
});
