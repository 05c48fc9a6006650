/** Follows a migration until its workflow closes. */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  defaultPayloadConverter,
  QueryNotRegisteredError,
  ServiceError,
  WorkflowNotFoundError,
  type Client,
  type WorkflowExecutionDescription,
} from '@temporalio/client';
import type { Payload } from '@temporalio/common';
import { statusQuery } from '../../../workflows/messages.ts';
import type { MigrationStatus, Progress, TrafficSnapshot } from '../../contract.ts';
import { CrossfadeError, messageOf } from '../../errors.ts';
import { endingOf, terminated, type Ending } from '../ending.ts';
import { SCHEDULED_WORKFLOW } from '../schedules.ts';
import type { Snapshot } from './snapshot.ts';

export interface WatchOptions {
  onSnapshot(snapshot: Snapshot): void;
  /** The application's traffic, where it can be had; a failure leaves it out. */
  traffic?: () => Promise<TrafficSnapshot | undefined>;
  /** More lines for each snapshot. */
  extra?: () => string[];
  title?: string;
  /** The workflow's page in Temporal's web UI. */
  uiUrl?: string;
  intervalMs?: number;
  /** Ends the watch, not the workflow. */
  signal?: AbortSignal;
}

const QUERY_MS = 2_000;
const DESCRIBE_MS = 5_000;
const PATIENCE_MS = 60_000;
const RECOVERED_MS = 10_000;
/** PENDING_ACTIVITY_STATE_STARTED of Temporal's API. */
const STARTED = 2;

/**
 * Calls `onSnapshot` every `intervalMs` (500) until the workflow closes, and with its last state.
 * @returns how it ended; undefined where `signal` ended the watch
 * @throws CrossfadeError NoMigration where there is no such workflow, TemporalUnreachable where the server stays silent
 */
export async function watchMigration(
  client: Client,
  workflowId: string,
  options: WatchOptions,
): Promise<Ending | undefined> {
  const { signal, intervalMs = 500 } = options;
  let status: MigrationStatus | undefined;
  let heardAt = performance.now();
  while (signal?.aborted !== true) {
    const taken = await takeSnapshot(client, workflowId, options).catch((error: unknown) => {
      // A server that restarts is back soon.
      if (unreachable(error) && performance.now() - heardAt < PATIENCE_MS) return undefined;
      throw error;
    });
    if (taken !== undefined) {
      heardAt = performance.now();
      status = taken.snapshot.status ?? status;
      options.onSnapshot({ ...taken.snapshot, ...(status === undefined ? {} : { status }) });
      if (!taken.running) return endingOf(client, workflowId);
    }
    await rest(intervalMs, signal);
  }
  return undefined;
}

function unreachable(error: unknown): boolean {
  return error instanceof CrossfadeError && error.code === 'TemporalUnreachable';
}

/** One look at a workflow. @throws CrossfadeError NoMigration, TemporalUnreachable */
export async function takeSnapshot(
  client: Client,
  workflowId: string,
  options: Pick<WatchOptions, 'traffic' | 'extra' | 'title' | 'uiUrl'>,
): Promise<{ snapshot: Snapshot & { taskQueue: string }; running: boolean }> {
  const description = await describe(client, workflowId);
  const { name } = description.status;
  const running = name === 'RUNNING' || name === 'PAUSED' || name === 'CONTINUED_AS_NEW';
  // The other workflow has no status to be asked for: its result says everything.
  const answers = description.type !== SCHEDULED_WORKFLOW;
  const answer = answers ? await askStatus(client, workflowId) : undefined;
  // A workflow that was terminated still answers as it stood.
  const status: MigrationStatus | undefined =
    running || answer?.outcome !== 'running'
      ? answer
      : { ...answer, outcome: 'failed', reason: terminated(workflowId) };
  const traffic = running ? await options.traffic?.().catch(() => undefined) : undefined;
  const snapshot = {
    workflowId,
    taskQueue: description.taskQueue,
    ...(status === undefined ? {} : { status }),
    ...pendingOf(description),
    unanswered: running && answers && status === undefined,
    ...(traffic === undefined ? {} : { traffic }),
    ...(options.uiUrl === undefined ? {} : { uiUrl: options.uiUrl }),
    ...(options.title === undefined ? {} : { title: options.title }),
    ...(options.extra === undefined ? {} : { extra: options.extra() }),
    now: Date.now(),
  };
  return { snapshot, running };
}

async function describe(client: Client, workflowId: string): Promise<WorkflowExecutionDescription> {
  try {
    return await client.withDeadline(Date.now() + DESCRIBE_MS, () =>
      client.workflow.getHandle(workflowId).describe(),
    );
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) {
      throw new CrossfadeError(
        'NoMigration',
        `there is no workflow "${workflowId}" on this server: check the id`,
        error,
      );
    }
    const why = messageOf(error instanceof ServiceError ? (error.cause ?? error) : error);
    throw new CrossfadeError('TemporalUnreachable', `the Temporal server does not answer: ${why}`, error);
  }
}

/** The workflow's own answer; undefined where no worker gives one: none runs, or it is starting or busy. */
export async function askStatus(client: Client, workflowId: string): Promise<MigrationStatus | undefined> {
  try {
    return await client.withDeadline(Date.now() + QUERY_MS, () =>
      client.workflow.getHandle(workflowId).query(statusQuery),
    );
  } catch (error) {
    if (error instanceof QueryNotRegisteredError || error instanceof ServiceError) return undefined;
    throw error;
  }
}

/** What the running activities report, and which of them failed before. */
export function pendingOf(
  description: WorkflowExecutionDescription,
  now = Date.now(),
): Pick<Snapshot, 'progress' | 'retrying'> {
  const progress: Progress[] = [];
  const retrying: Snapshot['retrying'] = [];
  for (const activity of description.raw.pendingActivities ?? []) {
    const payload = activity.heartbeatDetails?.payloads?.[0];
    const details = payload === undefined ? undefined : decoded(payload);
    if (details !== undefined) progress.push(details);
    const message = activity.lastFailure?.message;
    const attempt = activity.attempt ?? 1;
    if (attempt > 1 && typeof message === 'string' && !recovered(activity, now)) {
      retrying.push({ activity: activity.activityType?.name ?? 'activity', attempt, message });
    }
  }
  return { progress, retrying };
}

type PendingActivity = NonNullable<WorkflowExecutionDescription['raw']['pendingActivities']>[number];

/** Has the present attempt run for long enough that the failure of the one before is no news? */
function recovered(activity: PendingActivity, now: number): boolean {
  const startedMs = Number(activity.lastStartedTime?.seconds ?? 0) * 1_000;
  return activity.state === STARTED && now - startedMs > RECOVERED_MS;
}

/** @returns undefined where it is encrypted, or is not progress */
function decoded(payload: Payload): Progress | undefined {
  try {
    const details: unknown = defaultPayloadConverter.fromPayload(payload);
    return typeof details === 'object' && details !== null && 'kind' in details
      ? (details as Progress)
      : undefined;
  } catch {
    return undefined;
  }
}

async function rest(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await sleep(ms, undefined, signal === undefined ? {} : { signal }).catch((error: unknown) => {
    if (signal?.aborted !== true) throw error;
  });
}
