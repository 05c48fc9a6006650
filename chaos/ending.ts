/** How a run's workflow ended, and which database is primary then. */
import { setTimeout as sleep } from 'node:timers/promises';
import { WorkflowFailedError } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import type { CutoverReport, MigrationReport, MigrationStatus } from '../src/contract.ts';
import { messageOf } from '../src/errors.ts';
import type { End } from './checker/remains.ts';
import { violations, type Violation } from './checker/violation.ts';
import { CHANGES, type FaultKind } from './faults.ts';
import type { Timeline } from './timeline.ts';
import type { World } from './world.ts';

const POLL_MS = 50;

/** A compensation is repeated for as long as something stands in its way; nothing that is injected does for longer. */
const LONGEST_ROLLBACK_MS = 300_000;

/** Faults that the plan, which is not tried again where the target does not answer, does not outlast. */
const CUTS: readonly FaultKind[] = ['crash-postgres', 'hang-postgres', 'cut-connections', 'cut-at-commit'];

export interface Ending {
  outcome: string;
  primary: End;
  /** Whether the migration had the time to put everything in order. */
  clean: boolean;
  /** Write pauses of the switches, by the workflow's clock, ms. */
  pauses: number[];
  violations: Violation[];
  /** The other database as it was left, and since when it may lack what was acknowledged, by Date.now(). */
  secondary?: { side: End; since: number };
}

/** What was done to the run. */
export interface Injected {
  kinds: FaultKind[];
  /** When the migration was first called back, by Date.now(). */
  calledBackAt?: number;
}

/** Nothing that is injected makes the databases differ, so what crossfade itself finds is a loss that it prevented. */
export function foundDifference(
  told: Pick<MigrationStatus, 'cutover' | 'rollback' | 'stages'>,
): Violation | undefined {
  const reasons = [
    told.cutover?.reason,
    told.rollback?.reason,
    told.rollback?.writesBack?.reason,
    ...told.stages.flatMap(({ decision }) => decision?.reasons ?? []),
  ];
  const found = reasons.find((reason) =>
    /the databases differ|rows differ between|in quarantine|the source refuses a row/.test(reason ?? ''),
  );
  return found === undefined ? undefined : { check: 'own verdict', what: found };
}

/** Undefined while the workflow runs. */
export async function endingOf(
  world: World,
  injected: Injected,
  timeline: Timeline,
): Promise<Ending | undefined> {
  const state = await stateOf(world, world.workflowId);
  if (state === 'RUNNING') return undefined;
  if (state === 'TERMINATED') return afterTerminate(world, injected);
  const { report, failure } = await resultOf(world, world.workflowId);
  const difference = report === undefined ? undefined : foundDifference(report);
  const rest = {
    clean: true,
    pauses: pausesOf(report?.cutover, report?.rollback?.writesBack),
    violations: difference === undefined ? [] : [difference],
  };
  if (state === 'COMPLETED') {
    const finish = report?.phases.find(({ phase }) => phase === 'finish');
    const secondary = { side: 'source' as const, since: Date.parse(finish?.startedAt ?? '') };
    return { outcome: 'complete', primary: 'target', ...rest, secondary };
  }
  if (state === 'CANCELLED') return { outcome: 'cancelled', primary: 'source', ...rest };
  if (report?.outcome === 'rolled back') {
    const reason = report.rollback?.reason ?? '';
    timeline.add(`rolled back: ${reason}`);
    if (difference === undefined && !explains(injected.kinds, reason)) {
      rest.violations.push({ check: 'own verdict', what: `rolled back by itself: ${reason}` });
    }
    return { outcome: 'rolled back', primary: 'source', ...rest, ...leftBehind(world, injected, report) };
  }
  // Before anything was begun there is nothing to roll back.
  if (report?.outcome === 'failed' && failure.startsWith('Aborted')) {
    return { outcome: 'aborted', primary: 'source', ...rest };
  }
  // Nothing was begun, and whoever has started it is still looking.
  const planned = report?.phases.some(({ phase }) => phase !== 'plan') ?? true;
  const cut = failure.startsWith('TargetUnreachable') && CUTS.some((kind) => injected.kinds.includes(kind));
  if (!planned && cut) {
    return { outcome: 'failed', primary: 'source', ...rest };
  }
  return {
    outcome: 'failed',
    primary: 'source',
    ...rest,
    clean: false,
    violations: violations('ending', [`the workflow ended as ${state}: ${failure}`]),
  };
}

/** Does something that was injected explain that the migration went back? Latency, lag and errors of reads come with any. */
function explains(injected: readonly FaultKind[], reason: string): boolean {
  if (reason.startsWith('gate at')) return injected.length > 0;
  if (reason === 'chaos') return injected.includes('abort');
  return CHANGES.some((kind) => injected.includes(kind));
}

/** A target that was primary and is kept has everything up to the way back. */
function leftBehind(
  { options }: World,
  { calledBackAt }: Injected,
  report: MigrationReport | undefined,
): Pick<Ending, 'secondary'> {
  const writesBack = report?.rollback?.writesBack;
  const wasPrimary = writesBack?.outcome === 'moved' && writesBack.pauseMs > 0;
  if (options.targetAfterRollback === 'drop' || !wasPrimary || calledBackAt === undefined) return {};
  return { secondary: { side: 'target', since: calledBackAt } };
}

function pausesOf(...switches: (CutoverReport | undefined)[]): number[] {
  return switches.flatMap((one) => (one?.outcome === 'moved' && one.pauseMs > 0 ? [one.pauseMs] : []));
}

async function afterTerminate(world: World, injected: Injected): Promise<Ending> {
  const id = `${world.workflowId}-rollback`;
  await world.start('rollbackMigration', id, { targetAfterRollback: world.options.targetAfterRollback });
  const giveUpAt = performance.now() + LONGEST_ROLLBACK_MS;
  for (;;) {
    if (performance.now() > giveUpAt) throw new Error('rollbackMigration does not end');
    const state = await stateOf(world, id);
    if (state !== 'RUNNING') {
      const { report, failure } = await resultOf(world, id);
      const rest = { pauses: pausesOf(report?.rollback?.writesBack), violations: [] };
      if (state === 'COMPLETED') {
        const secondary = leftBehind(world, injected, report);
        return { outcome: 'terminated, rolled back', primary: 'source', clean: true, ...rest, ...secondary };
      }
      // Terminated before anything was created, or after the way back had been closed.
      if (failure.includes('NoMigration')) {
        return { outcome: 'terminated', primary: 'source', clean: true, ...rest };
      }
      if (failure.includes('RollbackImpossible')) {
        return { outcome: 'terminated', primary: 'target', clean: false, ...rest };
      }
      throw new Error(`rollbackMigration ended as ${state}: ${failure}`);
    }
    await sleep(POLL_MS);
  }
}

function stateOf(world: World, workflowId: string): Promise<string> {
  return world.temporal(
    async (client) => (await client.workflow.getHandle(workflowId).describe()).status.name,
  );
}

async function resultOf(
  world: World,
  workflowId: string,
): Promise<{ report?: MigrationReport; failure: string }> {
  return world.temporal(async (client) => {
    try {
      return {
        report: (await client.workflow.getHandle(workflowId).result()) as MigrationReport,
        failure: '',
      };
    } catch (error) {
      if (!(error instanceof WorkflowFailedError)) throw error;
      const { cause } = error;
      if (!(cause instanceof ApplicationFailure)) return { failure: messageOf(cause ?? error) };
      const report = cause.details?.[0] as MigrationReport | undefined;
      const failure = `${cause.type ?? ''}: ${cause.message}`;
      return report === undefined ? { failure } : { report, failure };
    }
  });
}
