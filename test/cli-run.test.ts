import { spawn, type ChildProcess } from 'node:child_process';
import { chmod, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import pg from 'pg';
import { processRuns } from '../src/embedded/processes.ts';
import { compile, type Compiled } from './support/compiled.ts';
import { eventually } from './support/eventually.ts';
import { createTestDatabase, type TestDatabase } from './support/postgres.ts';

/** A real process runs the real command against a dev server of its own. */
interface Run {
  process: ChildProcess;
  out: string;
  err: string;
  ended: Promise<number | null>;
}

const ROWS = 3_000;

let compiled: Compiled;
let folder: string;
let source: string;
let database: TestDatabase;
const running: Run[] = [];

beforeAll(async () => {
  compiled = await compile(
    'src/cli/main.ts',
    'workflows/index.ts',
    'src/embedded/supervisor.js',
    'src/embedded/temporal-download.js',
    'src/engine/backup-thread.js',
    'src/engine/integrity-thread.js',
  );
});
afterAll(() => compiled.remove());

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'crossfade-run-'));
  source = join(folder, 'shop.db');
  database = await createTestDatabase();
  const db = new Database(source);
  db.pragma('journal_mode = WAL');
  db.exec(`
    CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, email TEXT NOT NULL UNIQUE, credits REAL, seen DATETIME);
    CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id), note TEXT);
    CREATE INDEX orders_by_user ON orders (user_id, id DESC);
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS})
      INSERT INTO users SELECT i, 'user' || i || '@example.com', i / 7.0, '2026-01-01 00:00:00' FROM n;
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS})
      INSERT INTO orders SELECT i, i, 'Ünïcode ' || i FROM n;`);
  db.close();
});

afterEach(async () => {
  for (const run of running.splice(0)) {
    run.process.kill('SIGKILL');
    await run.ended;
  }
  const pid = await serverPid();
  if (pid !== undefined) await eventually('the server is gone', async () => !(await processRuns(pid)));
  await database.drop();
  await rm(folder, { recursive: true, force: true });
});

/** Whom the command runs as; a superuser may read and write everything. */
let user: { uid?: number; gid?: number } = {};

function crossfade(...args: string[]): Run {
  const { TEMPORAL_ADDRESS: _address, CI: _ci, ...rest } = process.env;
  const child = spawn(process.execPath, [compiled.path('src/cli/main.ts'), ...args], {
    env: { ...rest, CROSSFADE_HOME: join(folder, 'home') },
    ...user,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const run: Run = {
    process: child,
    out: '',
    err: '',
    ended: new Promise((resolve) => child.on('close', (status) => resolve(status))),
  };
  child.stdout.on('data', (chunk) => (run.out += String(chunk)));
  child.stderr.on('data', (chunk) => (run.err += String(chunk)));
  running.push(run);
  return run;
}

function both(): string[] {
  return ['--source', `sqlite:${source}`, '--target', database.url];
}

/** Waits for a text in what a run prints; a run that ends first fails with what it printed. */
async function printed(run: Run, text: string): Promise<void> {
  await eventually(
    `"${text}" is printed`,
    () => {
      if (run.out.includes(text)) return true;
      if (run.process.exitCode !== null) throw new Error(`ended without "${text}":\n${run.out}\n${run.err}`);
      return false;
    },
    90_000,
  );
}

async function serverPid(): Promise<number | undefined> {
  const runs = join(folder, 'home', 'data', 'runs');
  const [hash] = await readdir(runs).catch(() => []);
  if (hash === undefined) return undefined;
  const record = await readFile(join(runs, hash, 'temporal.db.server.json'), 'utf8').catch(() => undefined);
  return record === undefined ? undefined : (JSON.parse(record) as { pid: number }).pid;
}

async function targetCount(sql: string): Promise<number> {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  try {
    return Number((await client.query<{ n: string }>(sql)).rows[0]!.n);
  } finally {
    await client.end();
  }
}

function sourceObjects(): unknown[] {
  const db = new Database(source, { readonly: true });
  try {
    return db.prepare(`SELECT name FROM sqlite_schema WHERE name LIKE '%crossfade%'`).pluck().all();
  } finally {
    db.close();
  }
}

describe('crossfade run', () => {
  it('moves a database, reports, leaves no process, and refuses to do it again', async () => {
    const report = join(folder, 'report.json');
    // What a busy machine does to latencies is not for this test.
    const input = join(folder, 'input.json');
    await writeFile(
      input,
      '{"shift":{"stages":[50,100]},"gates":{"latencyFloorMs":"1m","maxLagMs":"10m"},' +
        '"overrides":{"Orders":{"columns":{"NOTE":{"type":"varchar"}}}}}',
    );
    const args = ['run', ...both(), '--input', input, '--stage-wait', '300ms', '--soak', '300ms', '--plain'];
    args.push('--report', report);
    const run = crossfade(...args);
    const status = await run.ended;
    expect({ status, err: run.err }).toEqual({ status: 0, err: '' });
    expect(run.out).toContain('every row agrees');
    const json = JSON.parse(await readFile(report, 'utf8')) as Record<string, unknown>;
    expect(json).toMatchObject({ outcome: 'complete', verdict: { equal: true, rows: 2 * ROWS } });
    expect(await targetCount('SELECT count(*) AS n FROM orders')).toBe(ROWS);
    const chosen = `SELECT count(*) AS n FROM information_schema.columns WHERE column_name = 'note' AND data_type = 'character varying'`;
    expect(await targetCount(chosen)).toBe(1);
    expect(await processRuns((await serverPid())!)).toBe(false);

    const again = crossfade(...args);
    expect(await again.ended).toBe(2);
    expect(again.err).toMatch(/crossfade: [^\n]+\n$/);
  }, 240_000);

  it('rests on Ctrl-C, and "crossfade rollback" undoes it', async () => {
    const run = crossfade('run', ...both(), '--stage-wait', '10m', '--plain');
    await printed(run, '10 % of reads on PostgreSQL');
    run.process.kill('SIGINT');
    expect(await run.ended).toBe(130);
    expect(run.err).toContain('The same command resumes it');
    expect(await processRuns((await serverPid())!)).toBe(false);
    expect(sourceObjects()).not.toEqual([]);

    const rollback = crossfade('rollback', ...both(), '--plain');
    const status = await rollback.ended;
    expect({ status, err: rollback.err }).toEqual({ status: 0, err: '' });
    expect(sourceObjects()).toEqual([]);
  }, 240_000);

  it('goes on after kill -9, and takes messages from another terminal', async () => {
    const args = ['run', ...both(), '--stage-wait', '10m', '--plain'];
    const killed = crossfade(...args);
    await printed(killed, '10 % of reads on PostgreSQL');
    killed.process.kill('SIGKILL');
    await killed.ended;

    const run = crossfade(...args);
    await printed(run, '10 % of reads on PostgreSQL');
    expect(run.err).toContain('going on with migrate-');
    const status = crossfade('status');
    expect(await status.ended).toBe(0);
    expect(status.out).toContain('shift reads');
    const abort = crossfade('abort', '--reason', 'tea');
    expect({ status: await abort.ended, err: abort.err }).toEqual({ status: 0, err: '' });
    expect(await run.ended).toBe(4);
    expect(run.err).toContain('rolled back: tea');
    expect(sourceObjects()).toEqual([]);
  }, 240_000);
});

describe('crossfade plan', () => {
  it('tells that this user may not write the source, or not even read it', async () => {
    if (process.getuid!() === 0) user = { uid: 65_534, gid: 65_534 };
    // Open, so that the files beside it are there: without them SQLite could not read it.
    const other = new Database(source);
    try {
      other.exec('UPDATE users SET credits = 1 WHERE id = 1');
      for (const suffix of ['', '-wal', '-shm']) await chmod(source + suffix, 0o444);
      await chmod(folder, 0o555);
      const read = crossfade('plan', ...both(), '--json');
      expect(await read.ended).toBe(3);
      expect(JSON.parse(read.out)).toMatchObject({ blockers: [{ code: 'read-only-source' }] });
      await chmod(source, 0o000);
      const denied = crossfade('plan', ...both());
      expect(await denied.ended).toBe(2);
      expect(denied.err).toMatch(/^crossfade: source [^\n]*shop\.db cannot be opened by this user[^\n]*\n$/);
    } finally {
      user = {};
      other.close();
      await chmod(folder, 0o755);
    }
  });
});
