/** `crossfade schedule` against a real Temporal server and a migration that waits between its phases. */
import type { WorkflowHandle } from '@temporalio/client';
import type { MigrationStatus } from '../src/contract.ts';
import {
  readSchedule,
  readSchedules,
  type EndedRun,
  type ScheduleStatus,
} from '../src/cli/schedule-status.ts';
import { bundleWorkflows, createWorkers, type RunningWorkers } from '../src/worker.ts';
import { runCommand, type Result } from './support/command-line.ts';
import { eventually } from './support/eventually.ts';
import { TestMigration } from './support/migration.ts';
import { createNamespace, type TestNamespace } from './support/namespace.ts';
import { tamper } from './support/tamper.ts';

let databases: TestMigration;
let namespace: TestNamespace;
let workers: RunningWorkers;
let migration: WorkflowHandle;

beforeAll(async () => {
  const bundle = await bundleWorkflows();
  databases = await TestMigration.create(`
    CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
    INSERT INTO item (name) VALUES ('Ada'), ('Grace'), ('Edsger');`);
  namespace = await createNamespace();
  workers = await createWorkers({
    address: namespace.address,
    namespace: namespace.name,
    env: { SHOP_URL: `sqlite:${databases.endpoints.sourcePath}`, PG_URL: databases.endpoints.targetUrl },
    logLevel: 'fatal',
    bundle,
  });
  migration = await namespace.client.workflow.start('migrateDatabase', {
    workflowId: 'migrate-shop',
    taskQueue: 'crossfade',
    args: [{ source: 'shop', target: 'pg', shift: { approval: true } }],
  });
  await eventually('the migration waits', async () => {
    return (await migration.query<MigrationStatus>('status')).waitingFor !== undefined;
  });
});
afterAll(async () => {
  await migration.terminate();
  await workers.stop();
  await namespace.drop();
  await databases.dispose();
});

function crossfade(...argv: string[]): Promise<Result> {
  return runCommand(argv, { TEMPORAL_ADDRESS: namespace.address, TEMPORAL_NAMESPACE: namespace.name });
}

/** `crossfade schedule` for the two databases. */
async function schedule(...argv: string[]): Promise<string> {
  const { status, out, err } = await crossfade('schedule', '--source', 'shop', '--target', 'pg', ...argv);
  expect({ status, err }).toEqual({ status: 0, err: '' });
  return out;
}

/** The schedule once a run later than `after` has ended. */
async function ended(id: string, after = ''): Promise<ScheduleStatus & { last: EndedRun }> {
  let found: ScheduleStatus | undefined;
  await eventually(`a run of ${id} has ended`, async () => {
    found = await readSchedule(namespace.client, id);
    return found.last !== undefined && found.last.startedAt > after;
  });
  return found as ScheduleStatus & { last: EndedRun };
}

it('creates, runs, shows, changes and deletes the one schedule of a source', async () => {
  expect(await schedule('--every', '1h', '--now')).toMatch(
    /verify-shop: created\n.*asked to run now\n.*shop against pg, every row, every 1h/,
  );
  const { typedSearchAttributes } = await migration.describe();
  expect(typedSearchAttributes.get({ name: 'CrossfadeVerdict', type: 'KEYWORD' })).toBe('equal');
  const first = await ended('verify-shop');
  expect(first).toMatchObject({ everyMs: 3_600_000, paused: false, last: { verdict: 'equal', rows: 3 } });
  expect(Date.parse(first.next!) % 3_600_000).toBe(0);
  const watched = await crossfade('watch', first.last.workflowId, '--plain');
  const out = expect.stringContaining('the databases agree: 3 rows');
  expect(watched).toEqual({ status: 0, out, err: '' });
  expect(await schedule('--show')).toMatch(/✔ equal: 3 rows, \d\.\d+ s ago/);
  const { schedules } = JSON.parse(await schedule('--json')) as { schedules: ScheduleStatus[] };
  expect(schedules).toEqual([first]);

  expect(await schedule('--every', '1h')).toContain('verify-shop: changed');
  expect(await schedule('--every', '30m', '--sample', '7')).toContain('7 random rows per table, every 30m');
  const changed = await readSchedule(namespace.client, 'verify-shop');
  expect(changed).toMatchObject({ everyMs: 1_800_000, input: { mode: 'sample', sampleRows: 7 } });
  expect(changed.last).toEqual(first.last);
  expect(await readSchedules(namespace.client)).toHaveLength(1);

  await namespace.client.schedule.getHandle('verify-shop').pause('holidays');
  expect(await schedule('--every', '1h')).toMatch(/paused \(holidays\): temporal schedule toggle/);

  expect(await schedule('--delete')).toBe('verify-shop: deleted\n');
  await eventually('no schedule is listed', async () => (await readSchedules(namespace.client)).length === 0);
  expect((await crossfade('schedule')).out).toContain('no verification is scheduled');
});

it('fails the run where the databases differ, and says so in the status', async () => {
  await schedule('--every', '1h', '--now', '--id', 'nightly');
  const before = await ended('nightly');
  await eventually(
    'the schedule is listed',
    async () => (await readSchedules(namespace.client)).length === 1,
  );
  expect((await crossfade('status')).out).toContain('✔ equal: 3 rows');

  await tamper(databases.target, ['item'], `UPDATE item SET name = 'Niklaus' WHERE id = 3`);
  try {
    await schedule('--now', '--id', 'nightly');
    const { last } = await ended('nightly', before.last.startedAt);
    const message = expect.stringMatching(/the databases differ: 1 .*; first: item 3 .*Edsger.*Niklaus/);
    expect(last).toMatchObject({ verdict: 'different', rows: 3, mismatches: 1, message });
    const run = namespace.client.workflow.getHandle(last.workflowId, last.runId);
    expect((await run.describe()).status.name).toBe('FAILED');

    const { out, status } = await crossfade('status', 'migrate-shop');
    expect(status).toBe(0);
    expect(out.replace(/[│\s]+/g, ' ')).toMatch(
      /✖ DIFFERENT, .* ago: the databases differ: 1 .*; first: item 3/,
    );
    const json = JSON.parse((await crossfade('status', '--json')).out) as object;
    // The run itself is shown as well, without a worker's help.
    const of = await crossfade('status', last.workflowId);
    expect(of.err).toMatch(/^crossfade: the databases differ: 1 .*\n$/);
    expect(json).toMatchObject({
      workflowId: 'migrate-shop',
      running: true,
      schedules: [{ id: 'nightly', last: { verdict: 'different', mismatches: 1, message } }],
    });
  } finally {
    await tamper(databases.target, ['item'], `UPDATE item SET name = 'Edsger' WHERE id = 3`);
    await schedule('--delete', '--id', 'nightly');
  }
});

it('shows a schedule of other databases only where all are asked for', async () => {
  await crossfade('schedule', '--every', '1h', '--source', 'nobody', '--now');
  try {
    const { last } = await ended('verify-nobody');
    expect(last).toMatchObject({ verdict: 'failed', message: expect.stringContaining('NOBODY_URL') });
    await eventually('it is listed', async () => (await readSchedules(namespace.client)).length === 1);
    expect((await crossfade('status')).out).not.toContain('verify-nobody');
    expect((await crossfade('schedule')).out).toMatch(/verify-nobody: .*\n {2}✖ could not compare, .* ago: /);
  } finally {
    await crossfade('schedule', '--delete', '--id', 'verify-nobody');
  }
});

it('says that no worker is there', async () => {
  const { err } = await crossfade(
    'schedule',
    '--every',
    '1h',
    '--now',
    '--id',
    'lonely',
    '--task-queue',
    'empty',
  );
  expect(err).toMatch(/no worker asks queue "empty" for work: .*"crossfade worker"/);
  await eventually(
    'it runs',
    async () => (await readSchedule(namespace.client, 'lonely')).running !== undefined,
  );
  const later = await readSchedule(namespace.client, 'lonely', Date.now() + 60_000);
  expect(later.running!.waitingFor).toBe('a worker on queue "empty": none takes it');
  const { out } = await crossfade('schedule', '--delete', '--id', 'lonely');
  expect(out).toBe(`lonely: deleted; ${later.running!.workflowId} goes on\n`);
  await namespace.client.workflow.getHandle(later.running!.workflowId).terminate();
});

it.each([
  [['--delete', '--id', 'none'], /there is no schedule "none" in namespace "test-/],
  [['--now', '--id', 'none'], /there is no schedule "none"/],
  [['--show', '--id', 'none'], /there is no schedule "none"/],
  [['--every', '0s'], /--every is 0 ms: it must be at least 1s/],
  [['--every', 'hourly'], /--every.*duration like/],
  [['--every', '1h', '--source', 'sqlite:shop.db'], /"source" looks like a URL/],
  [['--every', '1h', '--delete'], /'--delete'.* cannot be used with .*'--every/],
])('refuses schedule %j', async (argv, message) => {
  const { status, err, out } = await crossfade('schedule', ...argv);
  expect({ status, out }).toEqual({ status: 2, out: '' });
  expect(err).toMatch(message);
});

it('leaves a schedule of something else alone', async () => {
  const handle = await namespace.client.schedule.create({
    scheduleId: 'verify-shop',
    spec: { intervals: [{ every: '1d' }] },
    action: { type: 'startWorkflow', workflowType: 'payWages', taskQueue: 'other' },
  });
  try {
    for (const argv of [['--every', '1h'], ['--delete'], ['--now']]) {
      const { status, err } = await crossfade('schedule', '--source', 'shop', ...argv);
      expect(status).toBe(2);
      expect(err).toMatch(/schedule "verify-shop" starts payWages, not verifyDatabases/);
    }
    expect((await handle.describe()).spec.intervals).toMatchObject([{ every: 86_400_000 }]);
  } finally {
    await handle.delete();
  }
});
