/** The workflow as a whole: happy path, killed workers, pause, abort and cancel in each phase, rollback after the cutover. */
import { WorkflowFailedError } from '@temporalio/client';
import type { MigrationReport, MigrationStatus, Phase } from '../src/contract.ts';
import { eventually } from './support/eventually.ts';
import { FAST, Scenario } from './support/scenario.ts';

jest.setTimeout(300_000);

/** Concurrent tests do not wait for hooks. Most of a scenario is waiting: for heartbeats that stop, stages and soaks. */
async function withScenario(work: (scenario: Scenario) => Promise<void>): Promise<void> {
  const scenario = await Scenario.create(4_000);
  try {
    scenario.startWorker();
    await work(scenario);
  } finally {
    await scenario.dispose();
  }
}

describe('migrateDatabase', () => {
  async function failureOf(
    result: Promise<unknown>,
  ): Promise<{ type: string; message: string; report: MigrationReport }> {
    try {
      await result;
    } catch (error) {
      if (error instanceof WorkflowFailedError) {
        const cause = error.cause as Error & { type?: string; details?: [MigrationReport] };
        return {
          type: cause.type ?? '',
          message: cause.message,
          report: cause.details?.[0] as MigrationReport,
        };
      }
      throw error;
    }
    throw new Error('the workflow completed');
  }

  it.concurrent('moves a database under traffic and loses nothing', () =>
    withScenario(async (scenario) => {
      scenario.startTraffic();
      const handle = await scenario.start(FAST);
      const report = await handle.result();
      await scenario.endTraffic();
      expect(report).toMatchObject({
        outcome: 'complete',
        cutover: { outcome: 'moved', epoch: 2 },
        verdict: { equal: true },
      });
      expect(report.stages.map(({ percent, decision }) => [percent, decision?.verdict])).toEqual([
        [50, 'pass'],
        [100, 'pass'],
      ]);
      expect(report.stages[0]!.figures!.judgedBy).toBe('routers');
      expect(scenario.acknowledged.size).toBe(50);
      expect(await scenario.lost('target')).toEqual([]);
      expect(scenario.router.primary()).toBe('target');
      expect(() => scenario.databases.app.exec('DELETE FROM event')).toThrow(/crossfade: fenced/);
    }),
  );

  it.concurrent('goes on after kill -9 of the worker in the copy and in a stage', () =>
    withScenario(async (scenario) => {
      scenario.startTraffic();
      const handle = await scenario.start({ ...FAST, copy: { maxRowsPerSecond: 3_000 } });
      await scenario.until(handle, 'copy');
      await scenario.killWorker();
      scenario.startWorker();
      await scenario.until(handle, 'shift');
      await scenario.killWorker();
      scenario.startWorker();
      const report = await handle.result();
      await scenario.endTraffic();
      expect(report.outcome).toBe('complete');
      expect(await scenario.lost('target')).toEqual([]);
    }),
  );

  it.concurrent('goes on after a pause whose worker died before it had stopped the copy', () =>
    withScenario(async (scenario) => {
      scenario.startTraffic();
      const handle = await scenario.start({ ...FAST, copy: { maxRowsPerSecond: 1_000 } });
      await scenario.until(handle, 'copy');
      await handle.signal('pause');
      await eventually('the copy is asked to stop', async () => {
        const { events } = await handle.fetchHistory();
        return events?.some((event) => event.activityTaskCancelRequestedEventAttributes) === true;
      });
      await scenario.killWorker();
      scenario.startWorker();
      await scenario.until(handle, 'copy', (status) => status.paused);
      await handle.signal('resume');
      expect((await handle.result()).outcome).toBe('complete');
      await scenario.endTraffic();
      expect(await scenario.lost('target')).toEqual([]);
    }),
  );

  it.concurrent.each<Phase>(['copy', 'verify', 'shift'])('aborts in %s and leaves nothing behind', (phase) =>
    withScenario(async (scenario) => {
      scenario.startTraffic();
      const slow = {
        ...FAST,
        shift: { ...FAST.shift, stageWaitMs: 60_000 },
        copy: { maxRowsPerSecond: phase === 'copy' ? 2_000 : 0 },
      };
      const handle = await scenario.start(slow);
      await scenario.until(handle, phase);
      await handle.signal('abort', 'changed my mind');
      const failure = await failureOf(handle.result());
      expect(failure).toMatchObject({
        type: 'Aborted',
        message: 'rolled back: changed my mind',
        report: { outcome: 'rolled back' },
      });
      await scenario.endTraffic();
      expect(scenario.leftInSource()).toEqual([]);
      expect(await scenario.lost('source')).toEqual([]);
      const { rows } = await scenario.databases.target.query(
        `SELECT to_regclass('counter') AS t, to_regnamespace('crossfade') AS s`,
      );
      expect(rows).toEqual([{ t: null, s: null }]);
    }),
  );

  it.concurrent('brings every write back when it is aborted after the cutover', () =>
    withScenario(async (scenario) => {
      scenario.startTraffic();
      const handle = await scenario.start({ ...FAST, soakMs: 600_000 });
      const status = await scenario.until(handle, 'soak');
      expect(status.primary).toBe('target');
      const before = [...scenario.acknowledged.values()].reduce((sum, n) => sum + n, 0);
      while ([...scenario.acknowledged.values()].reduce((sum, n) => sum + n, 0) < before + 100) {
        await scenario.router.query('SELECT 1');
      }
      await handle.signal('abort');
      const failure = await failureOf(handle.result());
      expect(failure).toMatchObject({
        type: 'Aborted',
        report: { rollback: { writesBack: { outcome: 'moved', epoch: 3 } } },
      });
      await scenario.endTraffic();
      expect(await scenario.lost('source')).toEqual([]);
      expect(scenario.leftInSource()).toEqual([]);
      expect(scenario.router.primary()).toBe('source');
    }),
  );

  it.concurrent('rolls back from the control rows alone after terminate', () =>
    withScenario(async (scenario) => {
      scenario.startTraffic();
      const handle = await scenario.start({ ...FAST, soakMs: 600_000 });
      await scenario.until(handle, 'soak');
      await handle.terminate();
      const rollback = await scenario.startOther('rollbackMigration', {});
      expect(await rollback.result()).toMatchObject({ outcome: 'rolled back' });
      await scenario.endTraffic();
      expect(await scenario.lost('source')).toEqual([]);
      expect(scenario.leftInSource()).toEqual([]);
    }),
  );

  it.concurrent('waits in verify for a person to mend a row that was set aside, and then goes on', () =>
    withScenario(async (scenario) => {
      scenario.startTraffic();
      const handle = await scenario.start({ ...FAST, copy: { maxRowsPerSecond: 2_000 } });
      await scenario.until(handle, 'copy');
      const { app } = scenario.databases;
      app.exec(`UPDATE counter SET n = 'many' WHERE id = 3000`);
      const { waitingFor, verdict } = await scenario.until(
        handle,
        'verify',
        (status) => status.waitingFor !== undefined,
      );
      expect(waitingFor).toContain('1 row is in quarantine');
      expect(verdict).toMatchObject({ equal: false, quarantined: 1, mismatchCount: 0 });
      app.exec('UPDATE counter SET n = 7 WHERE id = 3000');
      await handle.signal('approve');
      const report = await handle.result();
      await scenario.endTraffic();
      expect(report).toMatchObject({ outcome: 'complete', verdict: { equal: true, quarantined: 0 } });
      const { rows } = await scenario.databases.target.query(
        'SELECT n::int AS n FROM counter WHERE id = 3000',
      );
      expect(rows).toEqual([{ n: 7 }]);
    }),
  );

  it.concurrent(
    'waits with the foreign keys for a person to mend orphans that came after the plan, and then goes on',
    () =>
      withScenario(async (scenario) => {
        scenario.startTraffic();
        const handle = await scenario.start({ ...FAST, copy: { maxRowsPerSecond: 2_000 } });
        await scenario.until(handle, 'copy');
        const { app } = scenario.databases;
        app.pragma('foreign_keys = OFF');
        app.exec('INSERT INTO event (id, counter_id) VALUES (70001, 900001), (70002, 900002), (70003, NULL)');
        const orphans = async (): Promise<number> =>
          (
            await scenario.databases.target.query(
              'SELECT FROM event WHERE id IN (70001, 70002) AND counter_id IS NOT NULL',
            )
          ).rowCount!;
        const isWaiting = (text: string) => (status: MigrationStatus) =>
          status.waitingFor?.includes(text) === true;
        const { waitingFor } = await scenario.until(handle, 'foreign-keys', isWaiting('2 rows of'));
        expect(waitingFor).toBe(
          '"approve" to try again or "abort" to roll back: foreign key "event_counter_id_fkey": 2 rows of table "event" refer by ' +
            '(counter_id) to rows of table "counter" that do not exist, keys 70001, 70002; delete these rows or set the ' +
            'reference to NULL in the source, where the application writes',
        );
        app.exec('DELETE FROM event WHERE id = 70001');
        await eventually('the delete is replayed', async () => (await orphans()) === 1);
        await handle.signal('approve');
        await scenario.until(handle, 'foreign-keys', isWaiting('1 row of'));
        app.exec('UPDATE event SET counter_id = NULL WHERE id = 70002');
        await eventually('the update is replayed', async () => (await orphans()) === 0);
        await handle.signal('approve');
        const report = await handle.result();
        await scenario.endTraffic();
        expect(report).toMatchObject({ outcome: 'complete', verdict: { equal: true } });
        const { rows } = await scenario.databases.target.query(
          `SELECT convalidated FROM pg_constraint WHERE conname = 'event_counter_id_fkey'`,
        );
        expect(rows).toEqual([{ convalidated: true }]);
      }),
  );

  it.concurrent('pauses the copy, resumes it, and ends as cancelled after a cancel', () =>
    withScenario(async (scenario) => {
      const handle = await scenario.start({
        ...FAST,
        copy: { maxRowsPerSecond: 2_000, batchRows: 100, batchBytes: 65_536 },
      });
      await scenario.until(handle, 'copy');
      await handle.signal('pause');
      await scenario.until(handle, 'copy', (status) => status.paused);
      await handle.signal('resume');
      await scenario.until(handle, 'indexes');
      await handle.cancel();
      await expect(handle.result()).rejects.toMatchObject({ cause: { name: 'CancelledFailure' } });
      expect(scenario.leftInSource()).toEqual([]);
    }),
  );

  it.concurrent.each([
    [['a list'], 'InvalidInput', /input/i],
    [{ shift: { stages: [50, 101] } }, 'InvalidInput', /shift\.stages/],
    [{ sauce: 'x' }, 'InvalidInput', /sauce/],
    [
      { overrides: { noSuchTable: { skip: true } } },
      'InvalidInput',
      /"noSuchTable" that the source does not have/,
    ],
    [{ source: 'unheard-of' }, 'UnknownConnection', /UNHEARD_OF_URL/],
  ])('refuses the input %j at once', (input, type, message) =>
    withScenario(async (scenario) => {
      const handle = await scenario.start(input);
      const failure = await failureOf(handle.result());
      expect(failure.type).toBe(type);
      expect(failure.message).toMatch(message);
      expect(scenario.leftInSource()).toEqual([]);
    }),
  );

  it.concurrent('refuses a target that is not empty, by name, before anything is changed', () =>
    withScenario(async (scenario) => {
      await scenario.databases.target.query('CREATE TABLE precious (id int)');
      const handle = await scenario.start(FAST);
      const failure = await failureOf(handle.result());
      expect(failure).toMatchObject({
        type: 'TargetNotEmpty',
        message: expect.stringContaining('"precious"'),
      });
      expect(scenario.leftInSource()).toEqual([]);
    }),
  );

  it.concurrent(
    'ends as refused by the plan, with nothing created anywhere and a report of bounded size',
    () =>
      withScenario(async (scenario) => {
        const { app, target } = scenario.databases;
        for (let i = 0; i < 12; i++) {
          app.exec(
            `CREATE TRIGGER own${i} AFTER INSERT ON event BEGIN SELECT '${'long '.repeat(1_000)}'; END`,
          );
        }
        const handle = await scenario.start(FAST);
        const { type, message, report } = await failureOf(handle.result());
        expect(type).toBe('PlanRefused');
        expect(message).toContain('trigger "own0" on "event"');
        expect(report).toMatchObject({ outcome: 'refused', plan: { blockerCount: 12 } });
        expect(report.plan.blockers).toHaveLength(10);
        expect(JSON.stringify(report).length).toBeLessThan(20_000);
        expect(report.rollback).toBeUndefined();
        expect(scenario.leftInSource()).toEqual([]);
        const { rows } = await target.query(
          `SELECT nspname AS name FROM pg_namespace WHERE nspname = 'crossfade'
       UNION ALL SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace`,
        );
        expect(rows).toEqual([]);
      }),
  );

  it.concurrent('verifies on its own, and fails visibly where the databases differ', () =>
    withScenario(async (scenario) => {
      scenario.startTraffic();
      const handle = await scenario.start({ ...FAST, soakMs: 600_000 });
      await scenario.until(handle, 'soak');
      await scenario.endTraffic();
      const equal = await scenario.startOther('verifyDatabases', {});
      expect(await equal.result()).toMatchObject({ equal: true });
      await scenario.databases.target.query(`SET session_replication_role = replica;
      ALTER TABLE counter DISABLE TRIGGER ALL; UPDATE counter SET note = 'changed behind our back' WHERE id = 7`);
      const different = await scenario.client.workflow.start('verifyDatabases', {
        taskQueue: (await equal.describe()).taskQueue,
        workflowId: `${scenario.workflowId}-again`,
        args: [{}],
      });
      const failure = await failureOf(different.result());
      expect(failure.type).toBe('Mismatch');
    }),
  );
});
