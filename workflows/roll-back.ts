/** The compensations, as data: each is idempotent and decides from the control rows what is left to do. */
import type { MigrationInput } from '../src/contract.ts';
import { LONGEST_RETRY_MS } from '../src/waits.ts';
import type { controlSteps, switchSteps } from './policies.ts';
import { codeOf, reasonOf } from './failures.ts';
import type { Run } from './run.ts';

export type Compensation = 'leaveTarget' | 'cleanSource' | 'resetRouting' | 'moveWritesBack';

interface Steps {
  control: ReturnType<typeof controlSteps>;
  switching: ReturnType<typeof switchSteps>;
}

const RETRY_MS = 5_000;

/**
 * Runs compensations in the reverse of the order in which their steps were begun; nothing is given up, because each
 * one that fails leaves the databases in a state from which it can be repeated.
 */
export async function rollBack(
  run: Run,
  begun: Compensation[],
  steps: Steps,
  reason: string,
  settings: Pick<MigrationInput, 'cutover' | 'targetAfterRollback'>,
): Promise<void> {
  if (begun.length === 0) return;
  const rollback: NonNullable<typeof run.status.rollback> = { reason, steps: [] };
  run.status.rollback = rollback;
  run.show();
  const done = (text: string): void => {
    rollback.steps.push(text);
    run.show();
  };

  for (const compensation of begun.toReversed()) {
    done(await untilDone(run, compensation, () => compensate(run, compensation, steps, settings, rollback)));
  }
}

/** Repeats a compensation until it succeeds; what stands in its way is shown, and only a finished migration ends it. */
async function untilDone(run: Run, compensation: Compensation, work: () => Promise<string>): Promise<string> {
  const { reason } = run.status;
  for (let waitMs = RETRY_MS; ; waitMs = Math.min(waitMs * 2, LONGEST_RETRY_MS)) {
    try {
      const done = await work();
      if (reason === undefined) delete run.status.reason;
      else run.status.reason = reason;
      return done;
    } catch (error) {
      if (codeOf(error) === 'RollbackImpossible') throw error;
      run.status.reason = `${compensation} failed and will be repeated: ${reasonOf(error)}`;
      run.show();
      await run.again(waitMs, run.status.reason);
    }
  }
}

async function compensate(
  run: Run,
  compensation: Compensation,
  { control, switching }: Steps,
  settings: Pick<MigrationInput, 'cutover' | 'targetAfterRollback'>,
  rollback: NonNullable<Run['status']['rollback']>,
): Promise<string> {
  switch (compensation) {
    case 'moveWritesBack':
      return moveWritesBack(run, switching, settings.cutover.maxPauseMs, rollback);
    case 'resetRouting': {
      const done = await control.resetRouting.executeWithOptions({ summary: 'all reads to the source' }, [
        run.step(),
      ]);
      run.status.readPercent = 0;
      return done;
    }
    case 'cleanSource':
      return control.cleanSource.executeWithOptions({ summary: 'remove our objects from the source' }, [
        run.step(),
      ]);
    case 'leaveTarget':
      return control.leaveTarget.executeWithOptions(
        { summary: `${settings.targetAfterRollback} the target` },
        [run.step(), settings.targetAfterRollback],
      );
  }
}

async function moveWritesBack(
  run: Run,
  switching: Steps['switching'],
  maxPauseMs: number,
  rollback: NonNullable<Run['status']['rollback']>,
): Promise<string> {
  for (let waitMs = RETRY_MS; ; waitMs = Math.min(waitMs * 2, LONGEST_RETRY_MS)) {
    const report = await switching.moveWritesBack.executeWithOptions({ summary: 'move the writes back' }, [
      run.step(),
      maxPauseMs,
    ]);
    if (report.outcome === 'moved') {
      rollback.writesBack = report;
      run.status.primary = 'source';
      run.epoch = report.epoch;
      return (
        report.reason ??
        `writes: on the source again, paused ${report.pauseMs} ms, ${report.drained} changes drained`
      );
    }
    run.status.reason = report.reason ?? 'the writes could not be moved back yet';
    run.show();
    await run.again(waitMs, run.status.reason);
  }
}
