/** Stands in for `migrateDatabase`, so that the command line is tested against every way in which it may end. */
import { ApplicationFailure, condition, setHandler } from '@temporalio/workflow';
import type { MigrationReport, MigrationStatus, Outcome } from '../../src/contract.ts';
import {
  abortSignal,
  approveSignal,
  pauseSignal,
  resumeSignal,
  statusQuery,
} from '../../workflows/messages.ts';

export type End = 'wait' | 'complete' | 'refused' | 'rolled back' | 'invalid' | 'failed' | 'broken';

export async function migrateDatabase({ end }: { end: End }): Promise<MigrationReport> {
  const status: MigrationStatus = {
    migration: 'fake/1',
    source: 'shop',
    target: 'pg',
    outcome: 'running',
    phase: 'copy',
    phases: [{ phase: 'copy', startedAt: new Date().toISOString() }],
    paused: false,
    primary: 'source',
    readPercent: 0,
    stages: [],
  };
  let aborted: string | undefined;
  let approved = false;
  setHandler(statusQuery, () => status);
  setHandler(pauseSignal, () => void (status.paused = true));
  setHandler(resumeSignal, () => void (status.paused = false));
  setHandler(approveSignal, () => void (approved = true));
  setHandler(abortSignal, (reason?: string) => void (aborted = reason ?? 'no reason'));

  if (end === 'wait') await condition(() => aborted !== undefined || approved);
  if (aborted !== undefined) fail('Aborted', `rolled back: ${aborted}`, report('rolled back'));
  switch (end) {
    case 'refused':
      return fail('PlanRefused', 'the plan has 1 blockers: no key', report('refused'));
    case 'rolled back':
      return fail('Aborted', 'rolled back: the gate', report('rolled back'));
    case 'invalid':
      return fail('TargetNotEmpty', 'target db/shop is not empty');
    case 'failed':
      return fail('LogOverflow', 'the log is full', report('failed'));
    case 'broken':
      throw ApplicationFailure.nonRetryable('something else');
    case 'wait':
    case 'complete':
      return report('complete');
  }
}

function fail(type: string, message: string, details?: MigrationReport): never {
  throw ApplicationFailure.create({
    type,
    message,
    nonRetryable: true,
    ...(details ? { details: [details] } : {}),
  });
}

function report(outcome: Outcome): MigrationReport {
  const at = new Date().toISOString();
  return {
    migration: 'fake/1',
    outcome,
    startedAt: at,
    endedAt: at,
    phases: [],
    plan: { tables: 0, rows: 0, bytes: 0, blockers: [], notices: [], blockerCount: 0, noticeCount: 0 },
    stages: [],
  };
}
