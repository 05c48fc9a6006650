/** One run: a migration under traffic and faults, and what the checker says of it. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MigrationInput } from '../src/contract.ts';
import { messageOf } from '../src/errors.ts';
import { Random } from '../demo/database/random.ts';
import { check } from './checker/check.ts';
import { readSource, readTarget, type Found } from './checker/found.ts';
import { readHistory, tally, type Tally } from './checker/history.ts';
import { checkPrimary } from './checker/primary.ts';
import { checkRemains, type End } from './checker/remains.ts';
import { violations, violationText, type Violation } from './checker/violation.ts';
import { drive } from './drive.ts';
import type { Injected } from './ending.ts';
import { chooseFaults, type Aim, type FaultKind, type Slow, type SourceName } from './faults.ts';
import type { Servers } from './servers.ts';
import { SOURCES } from './sources/kinds.ts';
import { Timeline } from './timeline.ts';
import { World } from './world.ts';

const AFTERWARDS_MS = 400;
const SLOW: Slow = { share: 0.15, ms: 200 };

export interface RunOptions {
  servers: Servers;
  folder: string;
  /** Of its database and workflow. */
  name: string;
  seed: number;
  aim: Aim;
  source: SourceName;
  /** Folder of the compiled code that worker and applications run. */
  build: URL;
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
  violations: Violation[];
  timeline: readonly string[];
}

/** Leaves its files and its target, for whoever looks into what it found. */
export async function runOnce({
  servers,
  folder,
  name,
  seed,
  aim,
  source,
  build,
}: RunOptions): Promise<RunResult> {
  const kind = SOURCES[source];
  const random = new Random(seed);
  const timeline = new Timeline();
  const started = performance.now();
  const world = await World.create({
    servers,
    folder,
    name,
    seed,
    kind,
    ballast: kind.ballast(random),
    build,
    slow: aim.slow ?? SLOW,
    targetAfterRollback: random.chance(0.4) ? 'keep' : 'drop',
    timeline,
  });
  const injections = chooseFaults(seed, random, aim, source).filter(
    ({ fault }) => fault.kind !== 'disk-full' || servers.withoutDisk === undefined,
  );
  const before = (await readSource(world.source.baseline)).ballast;
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
    await world.migrate({
      ...inputOf(random),
      cutover: { maxPauseMs: kind.maxPauseMs },
      targetAfterRollback: world.options.targetAfterRollback,
    });
    const injected: Injected = { kinds: result.faults };
    const ending = await drive(world, injections, random, timeline, injected);
    result.outcome = ending.outcome;
    result.pauses.push(...ending.pauses);
    result.violations.push(...ending.violations);
    await sleep(AFTERWARDS_MS);
    await world.stopApplications();
    // What is under way may still change the source.
    await world.source.settled();
    const history = readHistory(world.journals.flat());
    result.operations = tally(history);
    result.violations.push(
      ...violations('traffic', idleOf(world.journals)),
      ...violations('reads', history.stale),
      ...checkPrimary(history),
      ...check(history, await foundIn(ending.primary, world), before),
    );
    if (ending.secondary !== undefined) {
      const { side, since } = ending.secondary;
      const lines = check(history, await foundIn(side, world), before, since).map(violationText);
      result.violations.push(...violations('secondary', lines));
    }
    if (ending.clean) result.violations.push(...(await checkRemains(ending.primary, world)));
  } catch (error) {
    result.violations.push(...violations('ending', [messageOf(error)]));
  } finally {
    await world.dispose();
  }
  result.ms = Math.round(performance.now() - started);
  const lines = [...timeline.lines, ...result.violations.map(violationText)];
  writeFileSync(join(folder, 'timeline.txt'), `${lines.join('\n')}\n`);
  return result;
}

/** Applications of which nothing was acknowledged. */
function idleOf(journals: string[][]): string[] {
  return journals.flatMap((own, i) =>
    tally(readHistory(own)).acknowledged === 0 ? [`application ${i}: no write was acknowledged`] : [],
  );
}

function foundIn(end: End, world: World): Promise<Found> {
  return end === 'source' ? readSource(world.source.file) : readTarget(world.target.direct);
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
      // A client's key is always on the same side of 30 %, so that of a few clients all may be on one.
      minSamples: 0,
    },
    soakMs: 1_000,
  };
}
