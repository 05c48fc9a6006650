/** The verdict as a search attribute, on servers that know it and on those that do not. */
import { randomUUID } from 'node:crypto';
import { WorkflowFailedError, type WorkflowHandle } from '@temporalio/client';
import type { WorkflowBundle } from '@temporalio/worker';
import type { Verdict } from '../src/contract.ts';
import { knownAttributes, registerAttributes } from '../src/register-attributes.ts';
import { bundleWorkflows, createWorkers, type RunningWorkers } from '../src/worker.ts';
import { eventually } from './support/eventually.ts';
import { TestMigration } from './support/migration.ts';
import { createNamespace, fillNamespace, type TestNamespace } from './support/namespace.ts';
import { tamper } from './support/tamper.ts';

let bundle: WorkflowBundle & { code: string };
let databases: TestMigration;
let namespace: TestNamespace;
let workers: RunningWorkers | undefined;

beforeAll(async () => {
  bundle = await bundleWorkflows();
  databases = await TestMigration.create(`
    CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
    INSERT INTO item (name) VALUES ('Ada'), ('Grace'), ('Edsger');`);
  await databases.upToVerified();
});
afterAll(() => databases.dispose());

beforeEach(async () => {
  namespace = await createNamespace();
});
afterEach(async () => {
  await workers?.stop();
  workers = undefined;
  await namespace.drop();
});

async function work(): Promise<string[]> {
  workers = await createWorkers({
    address: namespace.address,
    namespace: namespace.name,
    env: {
      SOURCE_URL: `sqlite:${databases.endpoints.sourcePath}`,
      TARGET_URL: databases.endpoints.targetUrl,
    },
    logLevel: 'fatal',
    bundle,
  });
  return workers.notices;
}

async function verify(input: unknown = {}): Promise<WorkflowHandle<() => Promise<Verdict>>> {
  return (await namespace.client.workflow.start('verifyDatabases', {
    workflowId: `verify-${randomUUID().slice(0, 8)}`,
    taskQueue: 'crossfade',
    args: [input],
  })) as WorkflowHandle<() => Promise<Verdict>>;
}

async function attributesOf(handle: WorkflowHandle): Promise<unknown> {
  const { typedSearchAttributes } = await handle.describe();
  return Object.fromEntries(
    typedSearchAttributes
      .getAll()
      .filter(({ key }) => key.name.startsWith('Crossfade'))
      .map(({ key, value }) => [key.name, value]),
  );
}

async function failureOf(
  handle: WorkflowHandle,
): Promise<{ type: string; message: string; details: unknown[] }> {
  const error: unknown = await handle.result().catch((thrown: unknown) => thrown);
  if (!(error instanceof WorkflowFailedError)) throw new Error(`the run did not fail: ${String(error)}`);
  return error.cause as never;
}

it('is registered by the worker and set by each run, so that lists find it', async () => {
  expect(await knownAttributes(namespace.client.connection, namespace.name)).toEqual([]);
  expect(await work()).toEqual([]);
  const equal = await verify();
  expect(await equal.result()).toMatchObject({ equal: true, rows: 3 });
  expect(await attributesOf(equal)).toEqual({ CrossfadeVerdict: 'equal', CrossfadeMismatches: 0 });

  const broken = await verify({ source: 'nobody' });
  expect(await failureOf(broken)).toMatchObject({ type: 'UnknownConnection' });
  expect(await attributesOf(broken)).toEqual({ CrossfadeVerdict: 'failed' });

  await tamper(databases.target, ['item'], `UPDATE item SET name = 'Niklaus' WHERE id = 3`);
  try {
    const different = await verify();
    const failure = await failureOf(different);
    expect(failure).toMatchObject({
      type: 'Mismatch',
      message: expect.stringMatching(
        /the databases differ: 1 .*; first: item 3 differs, column name: .*Edsger.*Niklaus/,
      ),
      details: [{ equal: false, mismatchCount: 1 }],
    });
    expect(await attributesOf(different)).toEqual({ CrossfadeVerdict: 'different', CrossfadeMismatches: 1 });
    await eventually('the list finds it', async () => {
      const query = `CrossfadeVerdict = 'different' AND CrossfadeMismatches > 0`;
      for await (const { workflowId } of namespace.client.workflow.list({ query })) {
        if (workflowId === different.workflowId) return true;
      }
      return false;
    });
  } finally {
    await tamper(databases.target, ['item'], `UPDATE item SET name = 'Edsger' WHERE id = 3`);
  }
});

it('is left out where the server has no room for it, and the run ends all the same', async () => {
  await fillNamespace(namespace, { keywords: 10, ints: 3 });
  const notices = await work();
  expect(notices).toHaveLength(2);
  expect(notices[0]).toMatch(/CrossfadeVerdict cannot be registered \(.*more than 10.*--type Keyword"$/);
  const handle = await verify();
  expect(await handle.result()).toMatchObject({ equal: true });
  expect(await attributesOf(handle)).toEqual({});
});

it('is set in part where the server has room for only one of them', async () => {
  await fillNamespace(namespace, { keywords: 9, ints: 3 });
  expect(await work()).toEqual([expect.stringContaining('CrossfadeMismatches')]);
  const handle = await verify();
  await handle.result();
  expect(await attributesOf(handle)).toEqual({ CrossfadeVerdict: 'equal' });
});

it('is found by a query where the operator service is closed, as on Temporal Cloud', async () => {
  const { connection } = namespace.client;
  const closed = Object.create(connection, {
    operatorService: {
      value: {
        listSearchAttributes: () =>
          Promise.reject(Object.assign(new Error('closed'), { code: 7, details: 'closed', metadata: {} })),
        addSearchAttributes: () =>
          Promise.reject(Object.assign(new Error('closed'), { code: 7, details: 'closed', metadata: {} })),
      },
    },
  }) as typeof connection;
  expect(await registerAttributes(closed, namespace.name)).toEqual([
    expect.stringContaining('CrossfadeVerdict cannot be registered (closed)'),
    expect.stringContaining('CrossfadeMismatches cannot be registered (closed)'),
  ]);
  expect(await registerAttributes(connection, namespace.name)).toEqual([]);
  expect(await knownAttributes(closed, namespace.name)).toEqual(['CrossfadeVerdict', 'CrossfadeMismatches']);
});

it('of another type is not touched', async () => {
  await namespace.client.connection.operatorService.addSearchAttributes({
    namespace: namespace.name,
    searchAttributes: { CrossfadeVerdict: 3 },
  });
  expect(await work()).toEqual([expect.stringContaining('another type')]);
  const handle = await verify();
  await handle.result();
  expect(await attributesOf(handle)).toEqual({ CrossfadeMismatches: 0 });
});
