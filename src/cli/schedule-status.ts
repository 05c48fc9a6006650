/** What a verification schedule does and how its runs ended. */
import {
  ApplicationFailure,
  WorkflowFailedError,
  WorkflowNotFoundError,
  type Client,
  type ScheduleDescription,
  type ScheduleExecutionResult,
  type WorkflowExecutionDescription,
  type WorkflowHandle,
} from '@temporalio/client';
import type { Verdict, VerifyInput } from '../contract.ts';
import { CrossfadeError, messageOf } from '../errors.ts';
import { parseVerifyInput } from '../input.ts';
import { ourSchedule, SCHEDULED_WORKFLOW } from './schedules.ts';
import { pendingOf } from './view/watch.ts';

export interface ScheduleStatus {
  id: string;
  /** What is compared, and how; undefined where the input is not one that a worker accepts. */
  input?: VerifyInput;
  taskQueue: string;
  /** Undefined where it is not a single interval, as with a cron expression. */
  everyMs?: number;
  /** Undefined where no further run is planned. */
  next?: string;
  paused: boolean;
  /** Why it is paused, or whatever else was noted. */
  note?: string;
  /** The last run that ended. */
  last?: EndedRun;
  running?: RunningRun;
}

interface Run {
  workflowId: string;
  runId: string;
  startedAt: string;
}

export interface EndedRun extends Run {
  endedAt: string;
  /** `failed`: nothing could be compared, or the run was ended from outside. */
  verdict: 'equal' | 'different' | 'failed';
  /** Where rows were compared. */
  rows?: number;
  mismatches?: number;
  quarantined?: number;
  /** The first difference, or why nothing was compared. */
  message?: string;
}

export interface RunningRun extends Run {
  /** What it waits for, where it does not get on. */
  waitingFor?: string;
}

/** Schedules that are looked at; the list is for a person. */
const SHOWN = 50;
/** A task that no worker took for so long: none asks for it. */
const TAKEN_MS = 10_000;

/** Every verification schedule of the namespace, the latest change of one perhaps a moment late. */
export async function readSchedules(client: Client): Promise<ScheduleStatus[]> {
  const found: ScheduleStatus[] = [];
  for await (const { scheduleId, action } of client.schedule.list()) {
    if (action?.workflowType !== SCHEDULED_WORKFLOW) continue;
    try {
      found.push(await readSchedule(client, scheduleId));
    } catch (error) {
      // Deleted since it was listed.
      if (!(error instanceof CrossfadeError)) throw error;
    }
    if (found.length === SHOWN) break;
  }
  return found.toSorted((a, b) => (a.id < b.id ? -1 : 1));
}

/** Those that compare the databases of one migration; names mean the same only on the same queue. */
export function schedulesOf(
  schedules: ScheduleStatus[],
  migration: { source: string; target: string; taskQueue: string },
): ScheduleStatus[] {
  return schedules.filter(
    ({ input, taskQueue }) =>
      taskQueue === migration.taskQueue &&
      input?.source === migration.source &&
      input.target === migration.target,
  );
}

/** @throws CrossfadeError InvalidInput where there is no such schedule, or it starts something else */
export async function readSchedule(client: Client, id: string, now = Date.now()): Promise<ScheduleStatus> {
  const { description } = await ourSchedule(client, id);
  const { action, spec, state, info } = description;
  const input = inputOf(description);
  const everyMs = spec.intervals?.length === 1 ? spec.intervals[0]!.every : undefined;
  const next = state.paused ? undefined : info.nextActionTimes[0];
  return {
    id,
    ...(input === undefined ? {} : { input }),
    taskQueue: action.taskQueue,
    ...(everyMs === undefined ? {} : { everyMs }),
    ...(next === undefined ? {} : { next: next.toISOString() }),
    paused: state.paused,
    ...(state.note === undefined || state.note === '' ? {} : { note: state.note }),
    ...(await runsOf(client, info.recentActions, now)),
  };
}

function inputOf({ action }: ScheduleDescription): VerifyInput | undefined {
  try {
    return parseVerifyInput(action.args?.[0]);
  } catch (error) {
    // Its runs fail and say why.
    if (error instanceof CrossfadeError) return undefined;
    throw error;
  }
}

/** The run that is under way, and the last one that is over. */
async function runsOf(
  client: Client,
  recent: ScheduleExecutionResult[],
  now: number,
): Promise<Pick<ScheduleStatus, 'last' | 'running'>> {
  let running: RunningRun | undefined;
  for (const { action } of recent.toReversed()) {
    const { workflowId, firstExecutionRunId } = action.workflow;
    const handle = client.workflow.getHandle(workflowId, firstExecutionRunId);
    const description = await handle.describe().catch((error: unknown) => {
      // Temporal keeps what has ended for the namespace's retention time only.
      if (error instanceof WorkflowNotFoundError) return undefined;
      throw error;
    });
    if (description === undefined) continue;
    const { startTime, closeTime, status } = description;
    const run: Run = { workflowId, runId: firstExecutionRunId, startedAt: startTime.toISOString() };
    if (status.name === 'RUNNING' || status.name === 'PAUSED') {
      const waitingFor = obstacleOf(description, now);
      running ??= { ...run, ...(waitingFor === undefined ? {} : { waitingFor }) };
      continue;
    }
    const last = { ...run, endedAt: (closeTime ?? startTime).toISOString(), ...(await endOf(handle)) };
    return { last, ...(running === undefined ? {} : { running }) };
  }
  return running === undefined ? {} : { running };
}

async function endOf(handle: WorkflowHandle): Promise<Omit<EndedRun, keyof Run | 'endedAt'>> {
  try {
    return { verdict: 'equal', ...figuresOf(await handle.result()) };
  } catch (error) {
    if (!(error instanceof WorkflowFailedError)) throw error;
    const { cause } = error;
    const message = messageOf(cause ?? error);
    if (!(cause instanceof ApplicationFailure && cause.type === 'Mismatch')) {
      return { verdict: 'failed', message };
    }
    return { verdict: 'different', ...figuresOf(cause.details?.[0]), message };
  }
}

/** Nothing where the verdict is encrypted. */
function figuresOf(verdict: unknown): Pick<EndedRun, 'rows' | 'mismatches' | 'quarantined'> {
  if (typeof verdict !== 'object' || verdict === null || !('mismatchCount' in verdict)) return {};
  const { rows, mismatchCount: mismatches, quarantined } = verdict as Verdict;
  return { rows, mismatches, quarantined };
}

type Pending = WorkflowExecutionDescription['raw'];

/** Why a run does not get on: its last attempt failed, or nobody takes its next step. */
function obstacleOf(description: WorkflowExecutionDescription, now: number): string | undefined {
  const [failing] = pendingOf(description, now).retrying;
  if (failing !== undefined) return `attempt ${failing.attempt} after: ${failing.message}`;
  const { pendingWorkflowTask, pendingActivities, executionConfig }: Pending = description.raw;
  if (isLeft(pendingWorkflowTask, now)) {
    return `a worker on queue "${executionConfig?.taskQueue?.name ?? ''}": none takes it`;
  }
  return pendingActivities?.some((one) => isLeft(one, now)) === true
    ? 'a worker on the host that has the source'
    : undefined;
}

/** PENDING_…_STATE_SCHEDULED of Temporal's API, of workflow tasks and of activities. */
const SCHEDULED = 1;

function isLeft(
  task: { state?: number | null; scheduledTime?: { seconds?: unknown } | null } | null | undefined,
  now: number,
): boolean {
  if (task?.state !== SCHEDULED) return false;
  return now - Number(task.scheduledTime?.seconds ?? 0) * 1_000 > TAKEN_MS;
}
