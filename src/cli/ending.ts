/** How a workflow ended, and with which exit status the command ends for it. */
import {
  ApplicationFailure,
  CancelledFailure,
  TerminatedFailure,
  WorkflowFailedError,
  type Client,
} from '@temporalio/client';
import type { MigrationReport, Outcome } from '../contract.ts';
import { exitOf, messageOf } from '../errors.ts';

export interface Ending {
  /** 0 complete, 1 failed, 2 bad input, 3 refused by the plan, 4 rolled back. */
  exit: number;
  /** Why, where it did not complete. */
  message?: string;
  report?: MigrationReport;
  /** What the workflow returned, where it returned. */
  result?: unknown;
}

const EXITS: Record<Outcome, number> = { complete: 0, failed: 1, refused: 3, 'rolled back': 4, running: 1 };

/** Waits for the result of a workflow. @throws the client's errors, where the server cannot be asked */
export async function endingOf(client: Client, workflowId: string): Promise<Ending> {
  try {
    const result: unknown = await client.workflow.getHandle(workflowId).result();
    return isReport(result) ? { exit: EXITS[result.outcome], report: result, result } : { exit: 0, result };
  } catch (error) {
    if (!(error instanceof WorkflowFailedError)) throw error;
    return failedEnding(error.cause, workflowId);
  }
}

/** What to do about a workflow that was ended from outside, without its compensations. */
export function terminated(workflowId: string): string {
  return `workflow ${workflowId} was terminated, which undoes nothing: run "crossfade rollback", or start it again`;
}

function failedEnding(cause: Error | undefined, workflowId: string): Ending {
  if (cause instanceof TerminatedFailure) {
    return { exit: 1, message: terminated(workflowId) };
  }
  // An activity's failure wraps the one that says why.
  for (let error: unknown = cause; error instanceof Error; error = error.cause) {
    if (error instanceof ApplicationFailure) {
      const report = error.details?.find(isReport);
      // A run that failed before anything was begun says by its type whether the input was at fault.
      const byType = report === undefined || report.outcome === 'failed';
      const exit = byType ? exitOf(error.type ?? '') : EXITS[report.outcome];
      return { exit, message: error.message, ...(report === undefined ? {} : { report }) };
    }
    if (error instanceof CancelledFailure) {
      const report = (error.details ?? []).find(isReport);
      return { exit: 4, message: 'cancelled and rolled back', ...(report === undefined ? {} : { report }) };
    }
  }
  return { exit: 1, message: cause === undefined ? 'the workflow failed' : messageOf(cause) };
}

function isReport(value: unknown): value is MigrationReport {
  return (
    typeof value === 'object' && value !== null && 'outcome' in value && 'phases' in value && 'plan' in value
  );
}
