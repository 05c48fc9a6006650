/** Verification on a Temporal Schedule: putting it there, running it now, taking it away. */
import {
  ScheduleAlreadyRunning,
  ScheduleNotFoundError,
  type Client,
  type ScheduleDescription,
  type ScheduleHandle,
  type ScheduleUpdateOptions,
} from '@temporalio/client';
import type { VerifyInput } from '../contract.ts';
import { CrossfadeError } from '../errors.ts';

/** The workflow that our schedules start; a schedule of any other one is not ours to touch. */
export const SCHEDULED_WORKFLOW = 'verifyDatabases';

export interface ScheduleRequest {
  id: string;
  everyMs: number;
  input: VerifyInput;
  taskQueue: string;
}

const MINUTE_MS = 60_000;

/** Id of the schedule for a source, where the operator gives none. */
export function scheduleIdOf(source: string): string {
  return `verify-${source}`;
}

/**
 * Creates the schedule, or makes the one with this id as requested; a pause of it stays.
 * @throws CrossfadeError InvalidInput where the id belongs to a schedule of something else
 */
export async function putSchedule(client: Client, request: ScheduleRequest): Promise<'created' | 'changed'> {
  const { id: scheduleId, everyMs, input, taskQueue } = request;
  const wanted = {
    spec: { intervals: [{ every: everyMs }] },
    action: {
      type: 'startWorkflow',
      workflowType: SCHEDULED_WORKFLOW,
      workflowId: scheduleId,
      taskQueue,
      args: [input],
      staticSummary: `compare ${input.source} with ${input.target}`,
    },
    policies: {
      // A comparison that takes longer than the interval is not joined by a second one.
      overlap: 'SKIP',
      // After an outage of Temporal one comparison makes up for all that were missed.
      catchupWindow: Math.max(MINUTE_MS, everyMs),
      // A schedule that stopped at the first difference would be forgotten; the next run tells whether it stands.
      pauseOnFailure: false,
    },
  } as const satisfies Omit<ScheduleUpdateOptions, 'state'>;
  try {
    await client.schedule.create({ scheduleId, ...wanted, action: { ...wanted.action, args: [input] } });
    return 'created';
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error;
  }
  const { handle } = await ourSchedule(client, scheduleId);
  await handle.update(({ state }) => ({
    ...wanted,
    action: { ...wanted.action, args: [input] },
    state: {
      paused: state.paused,
      ...(state.note === undefined ? {} : { note: state.note }),
      ...(state.remainingActions === undefined ? {} : { remainingActions: state.remainingActions }),
    },
  }));
  return 'changed';
}

/** Starts a run now, unless one is under way. @throws CrossfadeError InvalidInput where there is no such schedule */
export async function runNow(client: Client, id: string): Promise<void> {
  const { handle } = await ourSchedule(client, id);
  await handle.trigger('SKIP');
}

/** A run that is under way goes on. @throws CrossfadeError InvalidInput where there is no such schedule */
export async function deleteSchedule(client: Client, id: string): Promise<void> {
  const { handle } = await ourSchedule(client, id);
  await handle.delete();
}

/** @throws CrossfadeError InvalidInput where there is no such schedule, or it starts something else */
export async function ourSchedule(
  client: Client,
  id: string,
): Promise<{ handle: ScheduleHandle; description: ScheduleDescription }> {
  const handle = client.schedule.getHandle(id);
  let description: ScheduleDescription;
  try {
    description = await handle.describe();
  } catch (error) {
    if (!(error instanceof ScheduleNotFoundError)) throw error;
    throw new CrossfadeError(
      'InvalidInput',
      `there is no schedule "${id}" in namespace "${client.options.namespace}": "crossfade schedule --show" lists them`,
      error,
    );
  }
  const { workflowType } = description.action;
  if (workflowType !== SCHEDULED_WORKFLOW) {
    throw new CrossfadeError(
      'InvalidInput',
      `schedule "${id}" starts ${workflowType}, not ${SCHEDULED_WORKFLOW}: it is left alone; choose another --id`,
    );
  }
  return { handle, description };
}

/** Does a worker ask this queue for workflows? Temporal remembers one for about five minutes. */
export async function hasWorker(client: Client, taskQueue: string): Promise<boolean> {
  const { pollers } = await client.workflowService.describeTaskQueue({
    namespace: client.options.namespace,
    taskQueue: { name: taskQueue },
    taskQueueType: WORKFLOW_QUEUE,
  });
  return pollers.length > 0;
}

/** TASK_QUEUE_TYPE_WORKFLOW of Temporal's API. */
const WORKFLOW_QUEUE = 1;
