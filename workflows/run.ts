/** One run of a migration: its status, its signals, and the bookkeeping that every phase shares. */
import {
  CancellationScope,
  condition,
  isCancellation,
  log,
  patched,
  setCurrentDetails,
  setDefaultSignalHandler,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import { DEFAULT_INPUT, type MigrationReport, type MigrationStatus, type Phase } from '../src/contract.ts';
import { statusMarkdown } from '../src/status-text.ts';
import type { Step } from '../activities/context.ts';
import { endedUnderCancellation } from './failures.ts';
import { abortSignal, approveSignal, pauseSignal, resumeSignal, statusQuery } from './messages.ts';

export class Run {
  readonly status: MigrationStatus;
  epoch = 1;
  /** Everything before *finish* runs in this scope: abort cancels it, and so does a cancelled workflow. */
  readonly scope = new CancellationScope();
  /** Why the scope was cancelled by us. */
  abortReason: string | undefined;

  private readonly startedAt = new Date().toISOString();
  private ordinal = 0;
  private approvals = 0;
  private interruptible: CancellationScope | undefined;
  private finishing = false;

  constructor() {
    const info = workflowInfo();
    this.status = {
      // The end of a run id: its beginning is the time, which two runs may share.
      migration: `${info.workflowId}/${info.firstExecutionRunId.slice(-12)}`,
      source: DEFAULT_INPUT.source,
      target: DEFAULT_INPUT.target,
      outcome: 'running',
      phase: 'plan',
      phases: [],
      paused: false,
      primary: 'source',
      readPercent: 0,
      stages: [],
    };
    this.handleMessages();
  }

  private handleMessages(): void {
    setHandler(statusQuery, () => this.status, {
      description: 'Phase, figures and outcome of the migration',
    });
    setHandler(
      pauseSignal,
      () => {
        this.status.paused = true;
        // Copy and verification stop at their checkpoint and go on from there; replay goes on, so that nothing piles up.
        this.interruptible?.cancel();
        this.show();
      },
      { description: 'Stop before the next step; replay goes on' },
    );
    setHandler(
      resumeSignal,
      () => {
        this.status.paused = false;
        this.show();
      },
      { description: 'Go on after a pause' },
    );
    setHandler(
      approveSignal,
      () => {
        this.approvals++;
      },
      { description: 'Let a waiting stage, gate, cutover or rollback go on' },
    );
    setHandler(
      abortSignal,
      (reason?: unknown) => {
        if (this.finishing) {
          log.warn('abort came after finish began: there is no way back any more');
          return;
        }
        this.abort(typeof reason === 'string' && reason !== '' ? reason : 'aborted by the operator');
      },
      { description: 'Roll back and report' },
    );
    setDefaultSignalHandler((name) =>
      log.warn(`unknown signal "${name}": known are pause, resume, approve, abort`),
    );
  }

  abort(reason: string): void {
    this.abortReason ??= reason;
    this.status.paused = false;
    this.scope.cancel();
  }

  /** From here on there is no way back, so no abort. */
  beginFinish(): void {
    this.finishing = true;
  }

  /** What the next activity is told. */
  step(): Step {
    this.ordinal++;
    return {
      source: this.status.source,
      target: this.status.target,
      migration: this.status.migration,
      epoch: this.epoch,
      ordinal: this.ordinal,
    };
  }

  /** Takes up the numbering of a migration whose workflow is gone. */
  continueFrom(found: { migration: string; epoch: number; ordinal: number }): void {
    this.status.migration = found.migration;
    this.epoch = found.epoch;
    this.ordinal = found.ordinal;
  }

  /** Runs one phase, after any pause. */
  async phase<T>(phase: Phase, work: () => Promise<T>): Promise<T> {
    await this.notPaused();
    const record: MigrationStatus['phases'][number] = { phase, startedAt: new Date().toISOString() };
    this.status.phase = phase;
    this.status.phases.push(record);
    this.show();
    const result = await work();
    record.endedAt = new Date().toISOString();
    this.show();
    return result;
  }

  async notPaused(): Promise<void> {
    await condition(() => !this.status.paused);
  }

  /** Runs a step that may be stopped by `pause` and repeated after `resume`. */
  async pausable<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      await this.notPaused();
      const scope = new CancellationScope();
      this.interruptible = scope;
      try {
        return await scope.run(work);
      } catch (error) {
        // Ours, even where `resume` came before the step had come to rest.
        const stoppedByPause = scope.consideredCancelled && !this.scope.consideredCancelled;
        const called =
          isCancellation(error) || (endedUnderCancellation(error) && patched('pause-outlives-worker'));
        if (!stoppedByPause || !called) throw error;
      } finally {
        this.interruptible = undefined;
      }
    }
  }

  /** Waits until `approve` arrives. */
  async approval(what: string): Promise<void> {
    const before = this.approvals;
    await this.waiting(what, () => this.approvals > before);
  }

  /** Waits for `ms`, not counting pauses, or until `approve` arrives. @returns whether it was approved */
  async window(ms: number, what: string): Promise<boolean> {
    const before = this.approvals;
    for (;;) {
      const ended = await condition(() => this.status.paused || this.approvals > before, Math.max(1, ms), {
        summary: what,
      });
      if (this.approvals > before) return true;
      if (!ended) return false;
      // A pause begins the window again: what was measured before it is no longer one stretch.
      await this.notPaused();
    }
  }

  /** Waits before a step is repeated; `approve` has it repeated at once, by whoever has removed what stood in its way. */
  async again(ms: number, why: string): Promise<void> {
    const before = this.approvals;
    await condition(() => this.approvals > before, ms, { summary: why.slice(0, 200) });
  }

  private async waiting(what: string, until: () => boolean): Promise<void> {
    this.status.waitingFor = what;
    this.show();
    try {
      await condition(until);
    } finally {
      delete this.status.waitingFor;
      this.show();
    }
  }

  show(): void {
    setCurrentDetails(statusMarkdown(this.status));
  }

  report(): MigrationReport {
    const { status } = this;
    const endedAt = new Date().toISOString();
    return {
      migration: status.migration,
      outcome: status.outcome,
      startedAt: this.startedAt,
      endedAt,
      phases: status.phases.map((record) => ({
        ...record,
        ms: Date.parse(record.endedAt ?? endedAt) - Date.parse(record.startedAt),
      })),
      plan: status.plan ?? {
        tables: 0,
        rows: 0,
        bytes: 0,
        blockers: [],
        notices: [],
        blockerCount: 0,
        noticeCount: 0,
      },
      ...(status.backup === undefined ? {} : { backup: status.backup }),
      ...(status.copy === undefined ? {} : { copy: status.copy }),
      ...(status.views === undefined ? {} : { views: status.views }),
      ...(status.verdict === undefined ? {} : { verdict: status.verdict }),
      stages: status.stages,
      ...(status.cutover === undefined ? {} : { cutover: status.cutover }),
      ...(status.rollback === undefined ? {} : { rollback: status.rollback }),
    };
  }
}
