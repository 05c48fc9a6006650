/** From every phase before the end, and by every way, there is a way back that loses nothing and leaves nothing. */
import type { Activities } from '../activities/index.ts';
import { eventually } from './support/eventually.ts';
import { contents, schemaOf } from './support/same.ts';
import { Way, Ways } from './support/ways.ts';

jest.setTimeout(180_000);

/** Concurrent tests do not wait for hooks. */
let ways: Promise<Ways> | undefined;
const started = (): Promise<Ways> => (ways ??= Ways.start());

afterAll(async () => {
  await (await ways)?.stop();
});

/** A phase, the step in which it is met, and how many compensations are due. */
const PHASES: [phase: string, activity: keyof Activities, skip: number, compensations: number][] = [
  ['plan', 'planMigration', 0, 2],
  ['backup', 'backUpSource', 0, 2],
  ['tables', 'createTargetTables', 0, 2],
  ['capture', 'startCapture', 0, 2],
  ['copy', 'copyRows', 0, 2],
  ['replay', 'awaitCatchUp', 0, 2],
  ['indexes', 'createIndexes', 0, 2],
  ['verify', 'verifyMigration', 0, 2],
  ['first stage', 'measureStage', 0, 3],
  ['last stage', 'measureStage', 1, 3],
  ['foreign keys', 'addForeignKeys', 0, 3],
  ['cutover', 'cutOverWrites', 0, 4],
  ['soak', 'reverseChanges', 0, 4],
];
const ENDS = ['abort', 'cancel', 'failed gate', 'terminate'] as const;
type End = (typeof ENDS)[number];

const TABLE = PHASES.flatMap(([phase, activity, skip, compensations], i) =>
  ENDS.filter((end) => !(phase === 'plan' && end === 'failed gate')).map(
    (end, j) => [phase, end, (i + j) % 2 === 0 ? 'drop' : 'keep', { activity, skip, compensations }] as const,
  ),
);

async function withWay(work: (way: Way, before: { schema: string[] }) => Promise<void>): Promise<void> {
  const way = await Way.create(await started());
  try {
    await work(way, { schema: schemaOf(way.databases.app) });
  } finally {
    await way.dispose();
  }
}

/** Everything is on the source, as it was before, and goes on there. */
async function expectBack(
  way: Way,
  before: { schema: string[] },
  target: 'drop' | 'keep' | 'none',
): Promise<void> {
  const { databases, router } = way;
  await way.goesOn();
  await way.endTraffic();
  expect(router.primary()).toBe('source');
  expect(router.stats().readPercent).toBe(0);
  expect(schemaOf(databases.app)).toEqual(before.schema);
  const rows = contents(databases.app).filter((row) => row.includes('| tw'));
  expect(rows.map((row) => row.replace(/.*\| t/, '')).sort()).toEqual(way.acknowledged.toSorted());
  // The application's triggers are its own again.
  await router.write(`INSERT INTO t (v) VALUES ('UP')`);
  expect(await router.query(`SELECT v FROM t WHERE v LIKE 'up'`)).toEqual([{ v: 'up' }]);
  if (target === 'none') return;
  const { rows: left } = await databases.target.query(
    `SELECT to_regclass('public.t') AS t, to_regnamespace('crossfade') AS s`,
  );
  expect(left).toEqual([target === 'drop' ? { t: null, s: null } : { t: 't', s: 'crossfade' }]);
  if (target === 'keep')
    await expect(databases.target.query(`INSERT INTO t (v) VALUES ('x')`)).rejects.toMatchObject({
      code: 'CF001',
    });
}

describe('from every phase', () => {
  it.concurrent.each(TABLE)(
    '%s: %s (%s)',
    async (phase, end: End, target, { activity, skip, compensations }) => {
      await withWay(async (way, before) => {
        // What runs for as long as the phase is met at its beginning; every other step when it is done and not told.
        const kind = end === 'failed gate' ? 'fail' : 'hold';
        const met =
          activity === 'reverseChanges' && end !== 'failed gate'
            ? way.interfere('hold', 'cutOverWrites')
            : way.interfere(kind, activity, { skip });
        const handle = await way.start({ targetAfterRollback: target });
        await met.reached;
        if (activity === 'reverseChanges' && end !== 'failed gate') {
          met.release();
          await eventually('it soaks', async () => (await way.status()).phase === 'soak');
        }
        await way.goesOn();
        switch (end) {
          case 'abort':
            await handle.signal('abort', 'enough');
            break;
          case 'cancel':
            await handle.cancel();
            break;
          case 'terminate':
            await handle.terminate();
            break;
          case 'failed gate':
        }
        met.release();
        if (end === 'terminate') {
          // From the control rows alone.
          const report = await way.rollbackMigration(target);
          expect(report).toMatchObject({ outcome: 'rolled back', rollback: { reason: 'rollbackMigration' } });
          expect(report.rollback!.steps).toHaveLength(4);
        } else {
          const { type, message, report } = await way.failure();
          expect(type).toBe(end === 'cancel' ? 'CancelledFailure' : 'Aborted');
          if (end === 'abort') expect(message).toBe('rolled back: enough');
          if (end === 'failed gate') expect(message).toContain('the gate failed');
          const { rollback, outcome } = report ?? (await way.status());
          expect(outcome).toBe('rolled back');
          expect(rollback!.steps).toHaveLength(compensations);
        }
        // Tables that a phase had not made yet cannot be kept.
        const made = !['plan', 'backup'].includes(phase);
        await expectBack(way, before, target === 'drop' || made ? target : 'none');
      });
    },
  );

  it.concurrent('plan: abort, where its worker died after it had begun', async () => {
    await withWay(async (way, before) => {
      const lost = way.interfere('lose', 'planMigration');
      const handle = await way.start();
      await lost.reached;
      await handle.signal('abort', 'enough');
      lost.release();
      expect(await way.failure()).toMatchObject({ type: 'Aborted', message: 'rolled back: enough' });
      await expectBack(way, before, 'drop');
    });
  });

  it.concurrent(
    'plan: abort, where its worker died after it had begun and before it heard of it',
    async () => {
      await withWay(async (way, before) => {
        // Without a heartbeat, and without an answer until all is over.
        const silent = way.interfere('hold', 'planMigration');
        const handle = await way.start();
        await silent.reached;
        await handle.signal('abort', 'enough');
        const failure = await way.failure().finally(() => silent.release());
        expect(failure).toMatchObject({ type: 'Aborted', message: 'rolled back: enough' });
        await expectBack(way, before, 'drop');
      });
    },
  );
});

describe('a cancellation', () => {
  it.concurrent('is the end also where the worker of its step died before it heard of it', async () => {
    await withWay(async (way, before) => {
      // Without a heartbeat, and without an answer until all is over.
      const silent = way.interfere('hold', 'addForeignKeys');
      const handle = await way.start();
      await silent.reached;
      await handle.cancel();
      const failure = await way.failure().finally(() => silent.release());
      expect(failure).toMatchObject({ type: 'CancelledFailure' });
      const { outcome, reason } = await way.status();
      expect({ outcome, reason }).toEqual({ outcome: 'rolled back', reason: 'the workflow was cancelled' });
      await expectBack(way, before, 'drop');
    });
  });

  it.concurrent('is the end also where the answer of replay is lost meanwhile', async () => {
    await withWay(async (way, before) => {
      way.interfere('lose', 'replayChanges').release();
      const silent = way.interfere('hold', 'addForeignKeys');
      const handle = await way.start();
      await silent.reached;
      await handle.cancel();
      const failure = await way.failure().finally(() => silent.release());
      expect(failure).toMatchObject({ type: 'CancelledFailure' });
      const { outcome, reason } = await way.status();
      expect({ outcome, reason }).toEqual({ outcome: 'rolled back', reason: 'the workflow was cancelled' });
      await expectBack(way, before, 'drop');
    });
  });
});

describe('an abort', () => {
  it.concurrent('that comes before anything is begun ends the migration as one', async () => {
    await withWay(async (way, before) => {
      const held = way.interfere('hold', 'acceptMigration');
      const handle = await way.start();
      await held.reached;
      await handle.signal('abort', 'enough');
      held.release();
      expect(await way.failure()).toMatchObject({
        type: 'Aborted',
        message: 'enough',
        report: { outcome: 'failed' },
      });
      await expectBack(way, before, 'none');
    });
  });
});

describe('a roll-back that fails half-way', () => {
  const STEPS = ['moveWritesBack', 'resetRouting', 'cleanSource', 'leaveTarget'] as const;

  /** A migration in its soak, whose roll-back has begun. */
  async function aborted(way: Way): Promise<void> {
    const moved = way.interfere('hold', 'cutOverWrites');
    const handle = await way.start();
    await moved.reached;
    await way.goesOn();
    await handle.signal('abort', 'enough');
    moved.release();
  }

  it.concurrent('goes on where the answer of each step was lost', async () => {
    await withWay(async (way, before) => {
      for (const step of STEPS) way.interfere('lose', step).release();
      await aborted(way);
      expect(await way.failure()).toMatchObject({ type: 'Aborted' });
      await expectBack(way, before, 'drop');
    });
  });

  it.concurrent.each(STEPS)(
    'is ended by rollbackMigration where it was terminated after %s',
    async (step) => {
      await withWay(async (way, before) => {
        const held = way.interfere('hold', step);
        await aborted(way);
        await held.reached;
        const { client } = await started();
        await client.workflow.getHandle(way.workflowId).terminate();
        held.release();
        if (step === 'leaveTarget') {
          await expect(way.rollbackMigration()).rejects.toMatchObject({ cause: { type: 'NoMigration' } });
        } else expect(await way.rollbackMigration()).toMatchObject({ outcome: 'rolled back' });
        await expectBack(way, before, 'drop');
      });
    },
  );
});

describe('after finish', () => {
  it.concurrent.each(['fenced', 'free'])(
    'there is none, and it says what is left (%s)',
    async (sourceAfterFinish) => {
      await withWay(async (way) => {
        const handle = await way.start({ soakMs: 50, sourceAfterFinish });
        const report = await handle.result();
        expect(report).toMatchObject({ outcome: 'complete' });
        const failure = await way.rollbackMigration().then(
          () => undefined,
          (error: { cause: { type: string; message: string } }) => error.cause,
        );
        expect(failure).toMatchObject({ type: 'RollbackImpossible' });
        expect(failure!.message).toContain('the migration is finished');
        expect(failure!.message).toContain((report as { backup: { path: string } }).backup.path);
        // Nothing was touched: the target goes on.
        await way.goesOn();
        expect(way.router.primary()).toBe('target');
      });
    },
  );
});
