import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import Database from 'better-sqlite3';
import { runCommand, type Result } from './support/command-line.ts';
import type { End } from './support/fake-migration.ts';
import { createTestDatabase, type TestDatabase } from './support/postgres.ts';

let folder: string;
let temporal: string;

function crossfade(argv: string[], env: NodeJS.ProcessEnv = {}, stdin = ''): Promise<Result> {
  return runCommand(argv, { PATH: process.env['PATH'], CROSSFADE_HOME: join(folder, 'home'), ...env }, stdin);
}

/** One clear line on standard error, and nothing else. */
function expectOneLine({ err, out }: Result, ...parts: (string | RegExp)[]): void {
  expect(err).toMatch(/^crossfade: [^\n]+\n$/);
  expect(err).not.toContain('    at ');
  expect(out).toBe('');
  for (const part of parts) expect(err).toMatch(part);
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'crossfade-cli-'));
  temporal = process.env['TEST_TEMPORAL_ADDRESS']!;
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('usage', () => {
  it('shows every command, the exit statuses and an example', async () => {
    const { status, out } = await crossfade(['--help']);
    expect(status).toBe(0);
    for (const name of [
      'plan',
      'run',
      'verify',
      'schedule',
      'worker',
      'start',
      'status',
      'watch',
      'pause',
      'abort',
      'rollback',
    ]) {
      expect(out).toContain(`  ${name} `);
    }
    expect(out).toContain('3 refused by the plan');
  });

  it.each([
    'plan',
    'run',
    'verify',
    'schedule',
    'worker',
    'start',
    'status',
    'watch',
    'pause',
    'resume',
    'approve',
    'abort',
    'rollback',
  ])('explains %s with an example', async (name) => {
    const { status, out, err } = await crossfade([name, '--help']);
    expect(status).toBe(0);
    expect(err).toBe('');
    expect(out).toMatch(new RegExp(`Example:\\n.*crossfade ${name}`));
  });

  it.each([
    [['fly'], /unknown command 'fly'/],
    [['run', '--fast'], /unknown option '--fast'/],
    [['run', '--stage-wait', '5 parsecs'], /--stage-wait.*duration like/],
    [['verify', '--sample', '0'], /--sample.*whole number from 1/],
    [['start', 'too', 'many'], /too many arguments/],
    [['worker', '--metrics', 'localhost:9464'], /--metrics.*an IP address and a port/],
    [['start', '--input'], /argument missing/],
  ])('refuses %j', async (argv, message) => {
    const result = await crossfade(argv);
    expect(result.status).toBe(2);
    expectOneLine(result, message);
  });

  it('shows the help where no command is given', async () => {
    const { status, err } = await crossfade([]);
    expect(status).toBe(2);
    expect(err).toContain('Usage: crossfade');
  });
});

describe('bad input', () => {
  let database: TestDatabase;
  let good: string;
  beforeAll(async () => {
    database = await createTestDatabase();
    good = join(folder, 'good.db');
    const db = new Database(good);
    db.exec('PRAGMA journal_mode=WAL; CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)');
    db.close();
    const rollback = new Database(join(folder, 'rollback-journal.db'));
    rollback.exec('CREATE TABLE t (id INTEGER PRIMARY KEY)');
    rollback.close();
    await writeFile(join(folder, 'text.db'), 'this is not a database, whatever its name says');
  });
  afterAll(() => database.drop());

  describe.each(['plan', 'run', 'verify', 'rollback'])('%s', (command) => {
    const args = (source: string, target: string): string[] => [
      command,
      '--source',
      source,
      '--target',
      target,
    ];

    it.each<[string, () => string[], number, RegExp]>([
      ['no source', () => [command, '--target', database.url], 2, /--source sqlite:PATH, or set SOURCE_URL/],
      ['no target', () => [command, '--source', good], 2, /--target postgres:.*, or set TARGET_URL/],
      ['a missing source', () => args('sqlite:/nowhere.db', database.url), 2, /\/nowhere\.db does not exist/],
      [
        'a source that is no SQLite file',
        () => args(join(folder, 'text.db'), database.url),
        2,
        /text\.db is not a SQLite/,
      ],
      ['a directory as source', () => args(folder, database.url), 2, /is not a file/],
      [
        'a source of another kind',
        () => args('mysql://u:hunter2@h/d', database.url),
        2,
        /--source begins with "mysql:"/,
      ],
      [
        'a source that is not in WAL mode',
        () => args(join(folder, 'rollback-journal.db'), database.url),
        3,
        /journal_mode=WAL/,
      ],
      ['a target that is no URL', () => args(good, 'db.example.com'), 2, /--target is not a URL/],
      [
        'a target of another kind',
        () => args(good, 'mysql://u:hunter2@h/d'),
        2,
        /--target begins with "mysql:"/,
      ],
      [
        'an unreachable target',
        () => args(good, 'postgres://u:hunter2@127.0.0.1:1/d'),
        2,
        /127\.0\.0\.1:1\/d cannot be reached/,
      ],
      [
        'a database that does not exist',
        () => args(good, elsewhere(database.url)),
        2,
        /does not exist; create it first/,
      ],
    ])('refuses %s', async (_what, argv, status, message) => {
      const result = await crossfade(argv());
      expect(result.status).toBe(status);
      expectOneLine(result, message);
      expect(result.err).not.toContain('hunter2');
    });
  });

  it.each([
    ['run', ['--source', 'x.db', '--target', 'postgres://h/d']],
    ['start', []],
    ['plan', ['--source', 'x.db', '--target', 'postgres://h/d']],
    ['rollback', []],
  ])('%s refuses a bad input before it looks at anything', async (command, more) => {
    const run = (content: string) => crossfade([command, ...more, '--input', '-'], {}, content);
    const unknown = await run('{"speed":1}');
    expect(unknown.status).toBe(2);
    expectOneLine(unknown, 'unknown field "speed"');
    const broken = await run('{"source":');
    expect(broken.status).toBe(2);
    expectOneLine(broken, /input file - is not JSON/);
    const missing = await crossfade([command, ...more, '--input', join(folder, 'none.json')]);
    expect(missing.status).toBe(2);
    expectOneLine(missing, /none\.json cannot be read/);
  });

  it('names the stage that is over 100 %', async () => {
    const result = await crossfade(['start', '--input', '-'], {}, '{"shift":{"stages":[50,120]}}');
    expect(result.status).toBe(2);
    expectOneLine(result, 'input field "shift.stages[1]" is 120');
  });

  it.each(['start', 'worker'])('%s says that Temporal does not answer', async (command) => {
    const result = await crossfade([command], { TEMPORAL_ADDRESS: '127.0.0.1:1' });
    expect(result.status).toBe(2);
    expectOneLine(result, 'the Temporal server at 127.0.0.1:1 does not answer');
  });

  it('says where metrics cannot be served', async () => {
    const taken = process.env['TEST_TEMPORAL_ADDRESS']!;
    const result = await crossfade(['worker', '--metrics', taken], { TEMPORAL_ADDRESS: taken });
    expect(result.status).toBe(2);
    expectOneLine(result, `metrics cannot be served at ${taken}: `);
  });

  it('shows the stack only where it was asked for', async () => {
    const result = await crossfade(['plan', '--source', '/nowhere.db', '--target', database.url], {
      CROSSFADE_DEBUG: '1',
    });
    expect(result.err).toContain('    at ');
  });
});

describe('plan', () => {
  it('shows the plan, changes nothing, and refuses with status 3', async () => {
    const database = await createTestDatabase();
    try {
      const path = join(folder, 'plan.db');
      const db = new Database(path);
      db.exec(`PRAGMA journal_mode=WAL;
        CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
        INSERT INTO users (name) VALUES ('Ada'), ('Grace');`);
      const args = ['plan', '--source', `sqlite:${path}`, '--target', database.url];
      const good = await crossfade(args);
      expect(good).toMatchObject({ status: 0, err: '' });
      expect(good.out).toContain('users');
      const json = JSON.parse((await crossfade([...args, '--json'])).out) as {
        tables: unknown[];
        blockers: unknown[];
      };
      expect(json).toMatchObject({ tables: [{ name: 'users', rows: 2 }], blockers: [] });
      const other = await crossfade([...args, '--table', 'nobody']);
      expect(other.status).toBe(2);
      expectOneLine(other, '--table nobody: the source has no table of this name');
      db.exec(`CREATE TRIGGER own AFTER INSERT ON users BEGIN SELECT 1; END`);
      const refused = await crossfade(args);
      expect(refused.status).toBe(3);
      expect(refused.out).toContain('application-trigger');
      const allowed = await crossfade([...args, '--input', '-'], {}, '{"policies":{"triggers":"drop"}}');
      expect(allowed.status).toBe(0);
      expect((await crossfade([...args, '--policy', 'triggers=drop'])).status).toBe(0);
      const wrong = await crossfade([...args, '--policy', 'triggers=drop', '--policy', 'orphans=ignore']);
      expect(wrong.status).toBe(2);
      expect(wrong.err).toContain(
        '"policies.orphans" is the text "ignore": it must be "refuse" or "not-valid"',
      );
      expect((await crossfade([...args, '--policy', 'triggers'])).err).toContain('like triggers=drop');
      const names = db.prepare('SELECT name FROM sqlite_schema ORDER BY name').pluck().all();
      expect(names).toEqual(['own', 'users']);
      db.close();
    } finally {
      await database.drop();
    }
  });
});

describe('against a Temporal server', () => {
  let env: NodeJS.ProcessEnv;
  let client: Client;
  let connection: Connection;
  let native: NativeConnection;
  let worker: Worker;
  let working: Promise<void>;
  const taskQueue = `cli-test-${process.pid}`;
  let number = 0;

  beforeAll(async () => {
    env = { TEMPORAL_ADDRESS: temporal, TEMPORAL_UI_URL: 'http://ui.example.com' };
    connection = await Connection.connect({ address: temporal });
    client = new Client({ connection });
    Runtime.install({ logger: new DefaultLogger('ERROR') });
    native = await NativeConnection.connect({ address: temporal });
    worker = await Worker.create({
      connection: native,
      taskQueue,
      workflowsPath: resolve('test/support/fake-migration.ts'),
    });
    working = worker.run();
  });
  afterAll(async () => {
    worker.shutdown();
    await working;
    await native.close();
    await connection.close();
  });

  async function begin(end: End, queue = taskQueue): Promise<string> {
    const workflowId = `fake-${process.pid}-${++number}`;
    await client.workflow.start('migrateDatabase', { workflowId, taskQueue: queue, args: [{ end }] });
    return workflowId;
  }

  it.each<[End, number, RegExp | null, string | null]>([
    ['complete', 0, null, 'complete'],
    ['refused', 3, /the plan has 1 blockers: no key/, 'refused'],
    ['rolled back', 4, /rolled back: the gate/, 'rolled back'],
    ['invalid', 2, /target db\/shop is not empty/, null],
    ['failed', 1, /the log is full/, 'failed'],
    ['broken', 1, /something else/, null],
  ])('watch ends for "%s" with status %d', async (end, status, message, outcome) => {
    const id = await begin(end);
    const file = join(folder, `${end}.json`);
    const result = await crossfade(['watch', id, '--plain', '--report', file], env);
    expect(result.status).toBe(status);
    if (message === null) expect(result.err).toBe('');
    else expect(result.err).toMatch(message);
    const report = JSON.parse(await readFile(file, 'utf8')) as { outcome: string };
    expect(report.outcome).toBe(outcome ?? 'failed');
    expect(result.out.includes('╭')).toBe(outcome !== null);
    expect(result.out).toContain(`http://ui.example.com/namespaces/default/workflows/${id}`);
  });

  it('watch tells a cancelled migration from a terminated one', async () => {
    const cancelled = await begin('wait');
    await client.workflow.getHandle(cancelled).cancel();
    expect((await crossfade(['watch', cancelled, '--plain'], env)).status).toBe(4);
    const terminated = await begin('wait');
    // Begun: else there is nothing to ask for its status.
    await client.workflow.getHandle(terminated).query('status');
    await client.workflow.getHandle(terminated).terminate();
    const result = await crossfade(['watch', terminated, '--plain'], env);
    expect(result.status).toBe(1);
    expect(result.err).toMatch(/was terminated, which undoes nothing: run "crossfade rollback"/);
    const { out } = await crossfade(['status', terminated, '--json'], env);
    expect(JSON.parse(out)).toMatchObject({
      running: false,
      status: { outcome: 'failed', reason: expect.stringContaining('was terminated') },
    });
  });

  it('pause, status, resume and approve reach the workflow', async () => {
    const id = await begin('wait');
    expect((await crossfade(['pause', id], env)).status).toBe(0);
    const paused = await crossfade(['status', id], env);
    expect(paused.status).toBe(0);
    expect(paused.out).toContain(`paused: crossfade resume ${id}`);
    expect((await crossfade(['resume', id], env)).status).toBe(0);
    const json = JSON.parse((await crossfade(['status', id, '--json'], env)).out) as {
      running: boolean;
      status: unknown;
    };
    expect(json).toMatchObject({ running: true, status: { paused: false, phase: 'copy' } });
    expect((await crossfade(['approve', id], env)).status).toBe(0);
    expect((await crossfade(['watch', id, '--plain'], env)).status).toBe(0);
    expect((await crossfade(['status', id], env)).out).toContain('shop → pg');
  });

  it('abort gives its reason', async () => {
    const id = await begin('wait');
    expect((await crossfade(['abort', id, '--reason', 'tea'], env)).status).toBe(0);
    const result = await crossfade(['watch', id, '--plain'], env);
    expect(result.status).toBe(4);
    expect(result.err).toContain('rolled back: tea');
    const late = await crossfade(['abort', id], env);
    expect(late.status).toBe(2);
    expectOneLine(late, `no workflow "${id}" runs`);
  });

  it('refuses a workflow that is not there', async () => {
    for (const command of ['status', 'watch', 'pause', 'abort']) {
      const result = await crossfade([command, 'nobody'], env);
      expect(result.status).toBe(2);
      expectOneLine(result, /"nobody"/);
    }
  });

  it('start refuses an id that runs, and says what to do', async () => {
    const input = JSON.stringify({ source: `s${process.pid}`, shift: { stageWaitMs: '1m' } });
    const args = ['start', '--input', '-', '--task-queue', `nobody-${process.pid}`];
    const id = `migrate-s${process.pid}`;
    const first = await crossfade(args, env, input);
    expect(first).toMatchObject({ status: 0, err: '' });
    expect(first.out).toContain(`started ${id}`);
    const second = await crossfade(args, env, input);
    expect(second.status).toBe(2);
    expectOneLine(second, `workflow "${id}" runs already`);
    const status = await crossfade(['status', id], env);
    expect(status.out).toContain('waiting for a worker');
    const { events } = await client.workflow.getHandle(id).fetchHistory();
    const payload = events![0]!.workflowExecutionStartedEventAttributes!.input!.payloads![0]!;
    expect(JSON.parse(Buffer.from(payload.data!).toString())).toMatchObject({
      shift: { stageWaitMs: 60_000 },
    });
    await client.workflow.getHandle(id).terminate();
    expect((await crossfade(args, env, input)).status).toBe(0);
    await client.workflow.getHandle(id).terminate();
  });
});

function elsewhere(url: string): string {
  const parsed = new URL(url);
  parsed.pathname = '/crossfade_no_such_database';
  return parsed.toString();
}
