/**
 * Recorded histories replay: a change of the workflow that would break running migrations fails here. Each file is a
 * `temporal.api.history.v1.History` in protobuf's binary form; new ones are recorded only for a versioned change.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { temporal } from '@temporalio/proto';
import { Worker, type WorkflowBundle } from '@temporalio/worker';
import { bundleWorkflows } from '../src/worker.ts';

const FOLDER = new URL('./histories/', import.meta.url);
const NAMES = readdirSync(FOLDER);

function historyOf(name: string): temporal.api.history.v1.History {
  return temporal.api.history.v1.History.decode(readFileSync(new URL(name, FOLDER)));
}

describe('recorded histories', () => {
  let workflowBundle: WorkflowBundle;

  beforeAll(async () => {
    workflowBundle = await bundleWorkflows();
  });

  it('are there for every kind of ending', () => {
    expect(NAMES.toSorted()).toEqual([
      'aborted-in-plan-and-killed.history',
      'approved.history',
      'called-off-in-plan.history',
      'cancelled-and-replay-blamed.history',
      'cancelled-and-replay-lost.history',
      'complete-with-verdict.history',
      'complete.history',
      'cutover-returned.history',
      'killed.history',
      'paused-and-cancelled.history',
      'paused-and-complete.history',
      'paused-and-killed.history',
      'rollback-after-termination.history',
      'rollback-migration.history',
      'rolled-back-again.history',
      'rolled-back.history',
      'terminated.history',
      'verification-failed.history',
      'verified-different.history',
      'verified-equal.history',
    ]);
  });

  it.each(NAMES)('%s replays', async (name) => {
    await Worker.runReplayHistory({ workflowBundle }, historyOf(name));
  });

  it('of a run that did something else are refused', async () => {
    const history = historyOf('complete.history');
    for (const { activityTaskScheduledEventAttributes: scheduled } of history.events) {
      if (scheduled?.activityType?.name === 'planMigration') scheduled.activityType.name = 'guessMigration';
    }
    await expect(Worker.runReplayHistory({ workflowBundle }, history)).rejects.toMatchObject({
      name: 'DeterminismViolationError',
    });
  });
});
