/** The kinds of activities, by how long they may take and how soon a dead worker is noticed. */
import { ActivityCancellationType, proxyActivities } from '@temporalio/workflow';
import type { Activities } from '../activities/index.ts';

/** What the SDK's documentation calls the default is not: without this a rollback would begin while the step still runs. */
const cancellationType = ActivityCancellationType.WAIT_CANCELLATION_COMPLETED;

const retry = { initialInterval: '500ms', backoffCoefficient: 2, maximumInterval: '30s' } as const;

/** Steps of seconds: control rows, DDL of empty tables, figures. */
export function controlSteps(taskQueue: string) {
  return proxyActivities<Activities>({
    taskQueue,
    cancellationType,
    retry,
    startToCloseTimeout: '2 minutes',
    heartbeatTimeout: '10s',
  });
}

/** Steps that move data for as long as it takes; each goes on from its checkpoint. */
export function longSteps(taskQueue: string) {
  return proxyActivities<Activities>({
    taskQueue,
    cancellationType,
    retry,
    startToCloseTimeout: '365 days',
    heartbeatTimeout: '10s',
  });
}

/** Cutover and its way back: bounded by their own deadlines, and soon repeated, because an attempt goes on from the rows. */
export function switchSteps(taskQueue: string) {
  return proxyActivities<Activities>({
    taskQueue,
    cancellationType,
    retry: { ...retry, maximumInterval: '2s' },
    startToCloseTimeout: '15 minutes',
    heartbeatTimeout: '10s',
  });
}

/** A step that a run can do without: given up where it takes longer than anyone would wait for it. */
export const dispensable = proxyActivities<Activities>({
  cancellationType,
  retry,
  startToCloseTimeout: '10s',
  scheduleToCloseTimeout: '30s',
});

/** The first step of every workflow, on the workflow's own queue: it finds out which host has the source. */
export const entry = proxyActivities<Activities>({
  cancellationType,
  retry,
  startToCloseTimeout: '30s',
});
