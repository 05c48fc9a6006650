/** One run: a migration under traffic and faults, and what the checker says of it. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { WorkflowFailedError } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { PHASES, type MigrationInput, type MigrationReport } from '../src/contract.ts';
import { messageOf } from '../src/errors.ts';
import { approveSignal } from '../workflows/messages.ts';
import { Random } from '../demo/database/random.ts';
import { check } from './checker/check.ts';
import { readSource, readTarget, type Found } from './checker/found.ts';
import { readHistory, tally, type Tally } from './checker/history.ts';
import { checkRemains, type End } from './checker/remains.ts';
import { chooseFaults, inWords, type FaultKind, type Injection } from './faults.ts';
import { inject } from './inject.ts';
import type { Servers } from './servers.ts';
import { Timeline } from './timeline.ts';
import { World } from './world.ts';

const POLL_MS = 50;
/** A run that takes longer hangs: every fault is over within seconds, and every wait has a bound. */
const LONGEST_MS = 240_000;
const AFTERWARDS_MS = 400;

export interface RunOptions {
  servers: Servers;
  folder: string;
  seed: number;
  /** What to choose from; every kind where it is empty. */
  faults: readonly FaultKind[];
}

export interface RunResult {
  seed: number;
  ms: number;
  outcome: string;
  /** What was injected. */
  faults: FaultKind[];
  operations: Tally;
  /** Write pauses of the switches, by the workflow's clock, ms. */
  pauses: number[];
  violations: string[];
  timeline: readonly string[];
}

export async function runOnce({ servers, folder, seed, faults }: RunOptions): Promise<RunResult> {
  const random = new Random(seed);
  const timeline = new Timeline();
  const started = performance.now();
  const world = await World.create({
    servers,
    folder,
    name: `chaos-${seed}`,
    seed,
    ballast: 2_000 + random.below(20_000),
    timeline,
  });
  const injections = chooseFaults(random, faults);
  const before = (await readSource(join(folder, 'baseline.sqlite'))).ballast;
  const result: RunResult = {
    seed,
    ms: 0,
    outcome: 'unknown',
    faults: [],
    operations: { acknowledged: 0, refused: 0, unknown: 0 },
    pauses: [],
    violations: [],
    timeline: timeline.lines,
  };
  try {
    world.startApplications();
    world.startWorker();
    await sleep(random.below(500));
    await world.migrate(inputOf(random));
    const end = await drive(world, injections, random, timeline, result);
    result.outcome = end.outcome;
    await sleep(AFTERWARDS_MS);
    await world.stopApplications();
    const history = readHistory(world.journals);
    result.operations = tally(history);
    result.violations.push(
      ...history.stale.map((line) => `stale read: ${line}`),
      ...check(history, await foundIn(end.primary, world), before),
    );
    if (end.clean) {
      result.violations.push(
        ...(await checkRemains(
          end.primary,
          world.source,
          join(folder, 'baseline.sqlite'),
          world.target.direct,
        )),
      );
    }
  } catch (error) {
    result.violations.push(`the run itself failed: ${messageOf(error)}`);
  } finally {
    await world.dispose();
  }
  result.ms = Math.round(performance.now() - started);
  writeFileSync(join(folder, 'timeline.txt'), `${[...timeline.lines, ...result.violations].join('\n')}\n`);
  if (result.violations.length === 0) await world.target.drop();
  return result;
}

function foundIn(end: End, world: World): Promise<Found> {
  return end === 'source' ? readSource(world.source) : readTarget(world.target.direct);
}

/** Short waits; all else is the strategy's. */
function inputOf(random: Random): Partial<MigrationInput> {
  return {
    shift: {
      stages: [30, 100],
      stageWaitMs: 400,
      approval: false,
      onBreach: random.chance(0.8) ? 'hold' : 'rollback',
    },
    gates: {
      maxErrorRate: 0.05,
      maxLatencyIncrease: 0.1,
      latencyFloorMs: 5_000,
      maxLagMs: 5_000,
      minSamples: 1,
    },
    cutover: { maxPauseMs: 5_000 },
    soakMs: 1_000,
  };
}

interface Ending {
  outcome: string;
  primary: End;
  /** Whether the migration had the time to put everything in order. */
  clean: boolean;
}

/** Injects the faults when their time comes, approves what waits for a person, until the workflow has ended. */
async function drive(
  world: World,
  injections: Injection[],
  random: Random,
  timeline: Timeline,
  result: RunResult,
): Promise<Ending> {
  const reached = new Map<string, number>();
  const open = new Set(injections);
  const running = new Set<Promise<void>>();
  const giveUpAt = performance.now() + LONGEST_MS;
  let waited: string | undefined;
  for (;;) {
    if (performance.now() > giveUpAt) throw new Error('the migration does not end');
    const status = await world.status();
    const now = performance.now();
    for (const phase of status === undefined ? [] : PHASES.slice(0, PHASES.indexOf(status.phase) + 1)) {
      if (!reached.has(phase)) {
        reached.set(phase, now);
        timeline.add(`phase ${phase}`);
      }
    }
    for (const injection of open) {
      const since = reached.get(injection.phase);
      if (since === undefined || now - since < injection.afterMs) continue;
      open.delete(injection);
      const words = inWords(injection.fault);
      timeline.add(`fault ${words}`);
      result.faults.push(injection.fault.kind);
      const work = inject(world, injection.fault, random).then(
        () => timeline.add(`over  ${words}`),
        (error: unknown) => timeline.add(`fault ${words} could not be done: ${messageOf(error)}`),
      );
      running.add(work);
      void work.then(() => running.delete(work));
    }
    if (status?.waitingFor !== waited) {
      waited = status?.waitingFor;
      if (waited !== undefined) timeline.add(`waits: ${waited}`);
      if (waited?.includes('approve') === true) {
        await world.handle((handle) => handle.signal(approveSignal)).catch(() => undefined);
      }
    }
    if (running.size === 0 && status?.outcome !== 'running') {
      const ending = await ended(world, timeline, result);
      if (ending !== undefined) {
        timeline.add(`ended: ${ending.outcome}, primary ${ending.primary}`);
        return ending;
      }
    }
    await sleep(POLL_MS);
  }
}

/** How the workflow ended; undefined while it runs. */
async function ended(world: World, timeline: Timeline, result: RunResult): Promise<Ending | undefined> {
  const state = await stateOf(world, world.workflowId);
  if (state === 'RUNNING') return undefined;
  if (state === 'TERMINATED') return afterTerminate(world, result);
  const { report, failure } = await resultOf(world, world.workflowId);
  for (const one of [report?.cutover, report?.rollback?.writesBack]) {
    if (one?.outcome === 'moved' && one.pauseMs > 0) result.pauses.push(one.pauseMs);
  }
  if (state === 'COMPLETED') return { outcome: 'complete', primary: 'target', clean: true };
  if (state === 'CANCELLED') return { outcome: 'cancelled', primary: 'source', clean: true };
  if (report?.outcome === 'rolled back') {
    const reason = report.rollback?.reason ?? '';
    timeline.add(`rolled back: ${reason}`);
    // Nothing that is injected makes the databases differ, so what crossfade itself found is a loss that it prevented.
    if (/the databases differ|in quarantine/.test(reason))
      result.violations.push(`the migration found a difference: ${reason}`);
    return { outcome: 'rolled back', primary: 'source', clean: true };
  }
  throw new Error(`the workflow ended as ${state}: ${failure}`);
}

async function afterTerminate(world: World, result: RunResult): Promise<Ending> {
  const id = `${world.workflowId}-rollback`;
  await world.start('rollbackMigration', id, {});
  for (;;) {
    const state = await stateOf(world, id);
    if (state !== 'RUNNING') {
      const { report, failure } = await resultOf(world, id);
      if (state === 'COMPLETED') {
        const pause = report?.rollback?.writesBack?.pauseMs ?? 0;
        if (pause > 0) result.pauses.push(pause);
        return { outcome: 'terminated, rolled back', primary: 'source', clean: true };
      }
      // Terminated before anything was created, or after the way back had been closed.
      if (failure.includes('NoMigration')) return { outcome: 'terminated', primary: 'source', clean: true };
      if (failure.includes('RollbackImpossible'))
        return { outcome: 'terminated', primary: 'target', clean: false };
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
