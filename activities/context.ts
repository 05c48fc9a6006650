/** What every activity needs around an engine call: endpoints by name, leases, heartbeats, cancellation, error mapping. */
import { randomUUID } from 'node:crypto';
import { ApplicationFailure, Context } from '@temporalio/activity';
import type { Progress } from '../src/contract.ts';
import { CrossfadeError, driverCode, messageOf } from '../src/errors.ts';
import { withinReach } from '../src/databases/postgres/reach.ts';
import type { Lease } from '../src/databases/sqlite/control.ts';
import type { Endpoints } from '../src/engine/endpoints.ts';
import type { SearchAttributeName } from '../src/search-attributes.ts';

/** What a workflow tells each activity. Names of connections only: URLs and paths stay in the worker. */
export interface Step {
  source: string;
  target: string;
  migration: string;
  /** Epoch in which the step is valid. */
  epoch: number;
  /** Number of the step within the workflow; with the attempt it orders the owners of a lease. */
  ordinal: number;
}

export interface ActivityDependencies {
  /**
   * The databases of these connections; `release` when they are not used any more.
   * @throws CrossfadeError UnknownConnection, BadConnection; of a D1 source what reading it raises
   */
  endpoints(source: string, target: string): Promise<{ endpoints: Endpoints; release(): Promise<void> }>;
  /** Are the connections known, and the source there? @throws CrossfadeError UnknownConnection, BadConnection, SourceMissing, … */
  proveBoth(source: string, target: string): Promise<void>;
  /** Task queue of this host, which has the source's file. */
  hostQueue: string;
  /** The search attributes that the namespace has now. @throws where the server does not answer */
  knownAttributes(): Promise<SearchAttributeName[]>;
}

const HEARTBEAT_MS = 2_000;
/** Attempts of one step that leave the ordinals of the next one untouched. */
const ATTEMPTS_PER_STEP = 1_000_000;

/** The lease that this attempt of a step may take. A later attempt, or a later step, has a greater ordinal. */
export function leaseOf<Role extends string>(role: Role, step: Step): Lease<Role> {
  const { attempt } = Context.current().info;
  return {
    role,
    epoch: step.epoch,
    ordinal: step.ordinal * ATTEMPTS_PER_STEP + attempt,
    holder: randomUUID(),
    migration: step.migration,
  };
}

/**
 * The number of a first step after an owner with this ordinal, and after every step that a workflow has counted to:
 * those are far fewer than the seconds since 1970, which alone would not do where clocks differ.
 */
export function ordinalAfter(ordinal: number): number {
  return Math.max(Math.floor(Date.now() / 1_000), Math.floor(ordinal / ATTEMPTS_PER_STEP) + 1);
}

export interface Running {
  signal: AbortSignal;
  onProgress(progress: Progress): void;
}

/**
 * Runs an engine call with heartbeats; tells the workflow of a cancellation only after the call has come to rest.
 * @param final `first`: no error is worth a second attempt, because nothing has been changed yet
 */
export async function run<T>(
  work: (running: Running) => Promise<T>,
  final: 'first' | 'by-code' = 'by-code',
): Promise<T> {
  const context = Context.current();
  let progress: Progress | undefined;
  const timer = setInterval(() => context.heartbeat(progress), HEARTBEAT_MS);
  const signal = context.cancellationSignal;
  try {
    const result = await withinReach(signal, () =>
      work({
        signal,
        onProgress: (next) => {
          progress = next;
        },
      }),
    );
    // What ran to its end is reported as done even if the cancellation came meanwhile; what stopped early is not.
    return result;
  } catch (error) {
    if (signal.aborted && !(error instanceof CrossfadeError && !error.retryable)) await context.cancelled;
    throw failure(error, final);
  } finally {
    clearInterval(timer);
  }
}

/** For calls that end early when the signal aborts: reports the cancellation instead of the partial result. */
export async function runWhole<T>(work: (running: Running) => Promise<T>): Promise<T> {
  const result = await run(work);
  const context = Context.current();
  if (context.cancellationSignal.aborted) await context.cancelled;
  return result;
}

function failure(error: unknown, final: 'first' | 'by-code'): unknown {
  if (!(error instanceof CrossfadeError)) return isMistake(error) ? mistake(error) : error;
  const busy = error.code === 'SourceBusy';
  return ApplicationFailure.create({
    message: error.message,
    type: error.code,
    nonRetryable: final === 'first' ? !busy : !error.retryable,
    ...(error.cause instanceof Error ? { cause: error.cause } : {}),
  });
}

/** An error that no repetition mends: a mistake in this program, or a statement that the database does not accept. */
function isMistake(error: unknown): boolean {
  const name = error instanceof Error ? error.name : '';
  if (['TypeError', 'RangeError', 'ReferenceError', 'SyntaxError'].includes(name)) return true;
  const code = driverCode(error);
  // SQLSTATE class 42: syntax error or access rule violation, e.g. a missing privilege.
  return code === 'SQLITE_ERROR' || (/^42/.test(code) && code.length === 5);
}

function mistake(error: unknown): ApplicationFailure {
  const cause = error instanceof Error ? error : undefined;
  return ApplicationFailure.create({
    message: messageOf(error),
    type: 'Internal',
    nonRetryable: true,
    ...(cause === undefined ? {} : { cause }),
  });
}
