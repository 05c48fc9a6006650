/** The durable steps of the workflows: each an engine call with heartbeats, a lease and mapped errors. */
import { Context } from '@temporalio/activity';
import type {
  CopyReport,
  CutoverReport,
  GateFigures,
  MigrationInput,
  Plan,
  PlanSummary,
  RollbackInput,
  Verdict,
  VerifyInput,
  ViewsReport,
} from '../src/contract.ts';
import { CrossfadeError, messageOf } from '../src/errors.ts';
import { connectTarget } from '../src/databases/postgres/connection.ts';
import { readControl as readTargetControl } from '../src/databases/postgres/control.ts';
import { lastOrdinal as lastTargetOrdinal } from '../src/databases/postgres/lease.ts';
import { openSource } from '../src/databases/sqlite/connection.ts';
import {
  lastOrdinal as lastSourceOrdinal,
  readControl as readSourceControl,
} from '../src/databases/sqlite/control.ts';
import { backUp } from '../src/engine/backup.ts';
import { beginMigration, undoUnknownBegin } from '../src/engine/begin.ts';
import { copyTables } from '../src/engine/copy.ts';
import { cutOver } from '../src/engine/cutover.ts';
import type { Endpoints } from '../src/engine/endpoints.ts';
import { cleanSource, finishMigration } from '../src/engine/finish.ts';
import { planSource } from '../src/engine/plan-source.ts';
import { summarise } from '../src/engine/plan-summary.ts';
import { replayLoop, reverseLoop, type LoopEnd } from '../src/engine/replay-loop.ts';
import { moveWritesBack } from '../src/engine/rollback.ts';
import { resetRouting, setRouting, startCapture } from '../src/engine/source-control.ts';
import { readPlan } from '../src/engine/store.ts';
import { createIndexes } from '../src/engine/target-indexes.ts';
import { addForeignKeys, createTables, leaveTarget } from '../src/engine/target-schema.ts';
import { stageFigures } from '../src/engine/traffic.ts';
import { awaitCatchUp, verifyRecent, verifyStep } from '../src/engine/verify-step.ts';
import { verifyDatabases } from '../src/engine/verify.ts';
import { parseMigrationInput, parseRollbackInput, parseVerifyInput } from '../src/input.ts';
import type { SearchAttributeName } from '../src/search-attributes.ts';
import { leaseOf, ordinalAfter, run, runWhole, type ActivityDependencies, type Step } from './context.ts';

/** What the control rows say of a migration whose workflow may be gone. */
export interface FoundMigration {
  migration: string;
  /** Epoch of the target where it is primary, else of the source. */
  epoch: number;
  /** Greater than any ordinal that the migration used before. */
  ordinal: number;
}

export function createActivities(dependencies: ActivityDependencies) {
  const withEndpoints = async <T>(
    step: { source: string; target: string },
    work: (endpoints: Endpoints) => Promise<T>,
  ): Promise<T> => {
    const { endpoints, release } = await dependencies.endpoints(step.source, step.target);
    try {
      return await work(endpoints);
    } finally {
      await release();
    }
  };

  /** The queue of this host, once it is known to have the source. */
  const place = async (input: { source: string; target: string }): Promise<string> => {
    await dependencies.proveBoth(input.source, input.target);
    return dependencies.hostQueue;
  };

  return {
    /** Checks the whole input and finds the host that has the source. */
    acceptMigration: (raw: unknown): Promise<{ input: MigrationInput; taskQueue: string }> =>
      run(async () => {
        const input = parseMigrationInput(raw);
        return { input, taskQueue: await place(input) };
      }, 'first'),

    acceptVerification: (raw: unknown): Promise<{ input: VerifyInput; taskQueue: string }> =>
      run(async () => {
        const input = parseVerifyInput(raw);
        return { input, taskQueue: await place(input) };
      }, 'first'),

    acceptRollback: (raw: unknown): Promise<{ input: RollbackInput; taskQueue: string }> =>
      run(async () => {
        const input = parseRollbackInput(raw);
        return { input, taskQueue: await place(input) };
      }, 'first'),

    /** Plans; creates the control rows only where nothing stands against the migration. */
    planMigration: (
      step: Step,
      policies: MigrationInput['policies'],
      // A workflow that began before there were overrides gives none.
      overrides: MigrationInput['overrides'] = {},
    ): Promise<PlanSummary> =>
      run(
        ({ signal }) =>
          withEndpoints(step, async (endpoints) => {
            try {
              const plan = await planSource(endpoints, step.migration, { policies, overrides });
              // A workflow that is gone would never undo it.
              signal.throwIfAborted();
              if (plan.blockers.length === 0) await beginMigration(endpoints, step.migration, plan);
              return summarise(plan);
            } catch (error) {
              if (Context.current().info.attempt > 1) await undoUnknown(endpoints, step.migration, error);
              throw error;
            }
          }),
        'first',
      ),

    backUpSource: (step: Step): Promise<{ path: string; bytes: number }> =>
      runWhole(({ signal, onProgress }) =>
        withEndpoints(step, ({ sourcePath }) =>
          backUp(sourcePath, step.migration, (bytes) => onProgress({ kind: 'backup', bytes }), signal),
        ),
      ),

    createTargetTables: (step: Step): Promise<void> =>
      run(() => withEndpoints(step, (endpoints) => createTables(endpoints, leaseOf('control', step)))),

    startCapture: (step: Step, settings: MigrationInput['capture']): Promise<void> =>
      run(() =>
        withEndpoints(step, async (endpoints) => {
          const plan = await planOf(endpoints);
          await startCapture(endpoints.sourcePath, leaseOf('control', step), plan, settings);
        }),
      ),

    copyRows: (step: Step, settings: MigrationInput['copy']): Promise<CopyReport> =>
      runWhole((running) =>
        withEndpoints(step, async (endpoints) => {
          const { tables } = await planOf(endpoints);
          return copyTables({ endpoints, lease: leaseOf('copy', step), tables, settings, ...running });
        }),
      ),

    replayChanges: (step: Step): Promise<LoopEnd> =>
      runWhole((running) =>
        withEndpoints(step, (endpoints) => replayLoop({ endpoints, ...running }, leaseOf('replay', step))),
      ),

    awaitCatchUp: (step: Step, maxLagMs: number): Promise<void> =>
      runWhole(({ signal }) =>
        withEndpoints(step, (endpoints) =>
          awaitCatchUp(endpoints, maxLagMs, leaseOf('control', step), signal),
        ),
      ),

    createIndexes: (step: Step): Promise<ViewsReport> =>
      run(({ signal }) =>
        withEndpoints(step, (endpoints) => createIndexes(endpoints, leaseOf('control', step), signal)),
      ),

    verifyMigration: (step: Step, verify: MigrationInput['verify']): Promise<Verdict> =>
      runWhole((running) =>
        withEndpoints(step, (endpoints) =>
          verifyStep({ endpoints, lease: leaseOf('control', step), ...verify, ...running }),
        ),
      ),

    setRouting: (step: Step, routing: Parameters<typeof setRouting>[2]): Promise<void> =>
      run(() =>
        withEndpoints(step, ({ sourcePath }) => setRouting(sourcePath, leaseOf('control', step), routing)),
      ),

    resetRouting: (step: Step): Promise<string> =>
      run(() => withEndpoints(step, ({ sourcePath }) => resetRouting(sourcePath, leaseOf('control', step)))),

    /** What a stage is judged by: figures of its window, and a comparison of what changed in it. */
    measureStage: (step: Step, windowMs: number): Promise<GateFigures> =>
      run(({ signal }) =>
        withEndpoints(step, async (endpoints) => {
          const { mismatchCount } = await verifyRecent(endpoints, leaseOf('control', step), signal);
          return { ...(await stageFigures(endpoints, windowMs)), mismatches: mismatchCount };
        }),
      ),

    addForeignKeys: (step: Step): Promise<boolean> =>
      run(() => withEndpoints(step, (endpoints) => addForeignKeys(endpoints, leaseOf('control', step)))),

    cutOverWrites: (step: Step, maxPauseMs: number): Promise<CutoverReport> =>
      run(({ signal }) =>
        withEndpoints(step, (endpoints) =>
          cutOver({
            endpoints,
            replayLease: leaseOf('replay', step),
            sourceLease: leaseOf('control', step),
            maxPauseMs,
            signal,
          }),
        ),
      ),

    reverseChanges: (step: Step): Promise<LoopEnd> =>
      runWhole((running) =>
        withEndpoints(step, (endpoints) => reverseLoop({ endpoints, ...running }, leaseOf('reverse', step))),
      ),

    finishMigration: (step: Step, source: MigrationInput['sourceAfterFinish']): Promise<void> =>
      run(() =>
        withEndpoints(step, (endpoints) => finishMigration(endpoints, leaseOf('reverse', step), source)),
      ),

    moveWritesBack: (step: Step, maxPauseMs: number): Promise<CutoverReport> =>
      run(() =>
        withEndpoints(step, (endpoints) =>
          moveWritesBack({ endpoints, lease: leaseOf('reverse', step), maxPauseMs }),
        ),
      ),

    cleanSource: (step: Step): Promise<string> =>
      run(() => withEndpoints(step, (endpoints) => cleanSource(endpoints, step.migration))),

    leaveTarget: (step: Step, tables: 'drop' | 'keep'): Promise<string> =>
      run(() => withEndpoints(step, (endpoints) => leaveTarget(endpoints, step.migration, tables))),

    verifyDatabases: (input: VerifyInput): Promise<Verdict> =>
      runWhole((running) =>
        withEndpoints(input, (endpoints) => verifyDatabases({ ...endpoints, ...input, ...running })),
      ),

    knownAttributes: (): Promise<SearchAttributeName[]> => dependencies.knownAttributes(),

    findMigration: (input: RollbackInput): Promise<FoundMigration> =>
      run(() => withEndpoints(input, findMigration), 'first'),
  };
}

/** An attempt before this one may have begun and died before it told so. */
async function undoUnknown(endpoints: Endpoints, migration: string, reason: unknown): Promise<void> {
  try {
    await undoUnknownBegin(endpoints, migration);
  } catch (error) {
    // Not one of our own errors, so that the step is repeated until nothing is left.
    throw new Error(`${messageOf(reason)}; and what an attempt before may have begun is not removed yet`, {
      cause: error,
    });
  }
}

export type Activities = ReturnType<typeof createActivities>;

async function planOf(endpoints: Endpoints): Promise<Plan> {
  const client = await connectTarget(endpoints.targetUrl, { applicationName: 'crossfade' });
  try {
    return await readPlan(client);
  } finally {
    await client.end();
  }
}

/** Reads a migration from its control rows alone. @throws CrossfadeError NoMigration */
async function findMigration(endpoints: Endpoints): Promise<FoundMigration> {
  const db = openSource(endpoints.sourcePath, 'read');
  try {
    const source = readSourceControl(db);
    const client = await connectTarget(endpoints.targetUrl, { applicationName: 'crossfade rollback' });
    try {
      const target = await readTargetControl(client);
      const migration = source?.migration ?? target?.migration;
      if (migration === undefined) {
        throw new CrossfadeError(
          'NoMigration',
          'neither database has a control row: there is nothing to roll back',
        );
      }
      const epoch = Math.max(source?.epoch ?? 0, target?.epoch ?? 0);
      const last = Math.max(
        source === null ? 0 : lastSourceOrdinal(db),
        target === null ? 0 : await lastTargetOrdinal(client),
      );
      return { migration, epoch, ordinal: ordinalAfter(last) };
    } finally {
      await client.end();
    }
  } finally {
    db.close();
  }
}
