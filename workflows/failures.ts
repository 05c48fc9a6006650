/** Reads what Temporal wraps round an activity's failure. */
import { ActivityFailure, ApplicationFailure, TimeoutFailure } from '@temporalio/workflow';
import { RetryState } from '@temporalio/common';

/** The failure that the activity itself raised. */
export function rootOf(error: unknown): unknown {
  return error instanceof ActivityFailure && error.cause !== undefined ? error.cause : error;
}

/** Why something failed, in one line. */
export function reasonOf(error: unknown): string {
  const root = rootOf(error);
  if (root instanceof TimeoutFailure) return `no worker answered in time (${root.timeoutType})`;
  return root instanceof Error ? root.message : String(root);
}

/**
 * Did a step end by an error that the server would have it repeat after, had it not been asked to cancel the step? A worker that
 * died before it heard of the cancellation ends so.
 */
export function endedUnderCancellation(error: unknown): boolean {
  return error instanceof ActivityFailure && error.retryState === RetryState.CANCEL_REQUESTED;
}

/** The code of our closed list, '' where it is another error. */
export function codeOf(error: unknown): string {
  const root = rootOf(error);
  return root instanceof ApplicationFailure ? (root.type ?? '') : '';
}

/** Awaits a step on which the whole run depends, and fails with the step's own error, which says why in one line. */
export async function accepted<T>(step: Promise<T>): Promise<T> {
  try {
    return await step;
  } catch (error) {
    throw rootOf(error);
  }
}
