/** Injects the faults when their time comes, and approves what waits for a person, until the workflow has ended. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { PHASES, type MigrationStatus } from '../src/contract.ts';
import { messageOf } from '../src/errors.ts';
import { approveSignal } from '../workflows/messages.ts';
import type { Random } from '../demo/database/random.ts';
import { endingOf, foundDifference, type Ending, type Injected } from './ending.ts';
import { ENDING, inWords, type Injection } from './faults.ts';
import { inject } from './inject.ts';
import type { Timeline } from './timeline.ts';
import type { World } from './world.ts';

const POLL_MS = 50;
/** Every fault is over within seconds, and every wait has a bound, however slow the machine is: what is quiet for longer hangs. */
const LONGEST_QUIET_MS = 180_000;
/** What goes round in a circle is not quiet. */
const LONGEST_MS = 900_000;

/** @param injected is told what was injected, also where the run fails */
export async function drive(
  world: World,
  injections: Injection[],
  random: Random,
  timeline: Timeline,
  injected: Injected,
): Promise<Ending> {
  const reached = new Map<string, number>();
  const open = new Set(injections);
  const running = new Set<Promise<void>>();
  const told = new Set<string>();
  let last: MigrationStatus | undefined;
  let waited: string | undefined;
  for (;;) {
    const status = await world.status();
    last = status ?? last;
    const now = performance.now();
    for (const phase of status === undefined ? [] : PHASES.slice(0, PHASES.indexOf(status.phase) + 1)) {
      if (!reached.has(phase)) {
        reached.set(phase, now);
        timeline.add(`phase ${phase}`);
      }
    }
    for (const line of status === undefined ? [] : decisionsOf(status)) {
      if (!told.has(line)) timeline.add(line);
      told.add(line);
    }
    for (const injection of open) {
      const since = reached.get(injection.phase);
      if (since === undefined || now - since < injection.afterMs) continue;
      open.delete(injection);
      const words = inWords(injection.fault);
      timeline.add(`fault ${words}`);
      injected.kinds.push(injection.fault.kind);
      if (ENDING.includes(injection.fault.kind)) injected.calledBackAt ??= Date.now();
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
    // A terminated workflow answers the query as it did before.
    const over = status?.outcome !== 'running' || injected.kinds.includes('terminate');
    if (running.size === 0 && over) {
      const ending = await endingOf(world, injected, timeline);
      if (ending !== undefined) {
        timeline.add(`ended: ${ending.outcome}, primary ${ending.primary}`);
        return ending;
      }
    }
    const difference = status === undefined ? undefined : foundDifference(status);
    if (difference !== undefined || timeline.quietMs > LONGEST_QUIET_MS || timeline.ageMs > LONGEST_MS) {
      writeFileSync(join(world.options.folder, 'status.json'), JSON.stringify(last, undefined, 2));
      // Approved again and again, it would go on for ever.
      if (difference !== undefined) {
        await Promise.all(running);
        return {
          outcome: 'differs',
          primary: status!.primary,
          clean: false,
          pauses: [],
          violations: [difference],
        };
      }
      throw new Error(`the migration does not end; its last status is in status.json`);
    }
    await sleep(POLL_MS);
  }
}

/** What the migration decided so far and why, each in a line that is its own. */
function decisionsOf({ stages, cutover, rollback, reason }: MigrationStatus): string[] {
  const switches = { cutover, 'way back': rollback?.writesBack };
  return [
    ...stages.flatMap(({ percent, startedAt, decision }) =>
      decision === undefined
        ? []
        : [`stage of ${percent} %, begun ${startedAt}: ${decision.verdict}, ${decision.reasons.join('; ')}`],
    ),
    ...Object.entries(switches).flatMap(([name, report]) =>
      report === undefined ? [] : [`${name} ${report.outcome}, ${report.pauseMs} ms: ${report.reason ?? ''}`],
    ),
    ...(reason === undefined ? [] : [`reason: ${reason}`]),
  ];
}
