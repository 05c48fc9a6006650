/** `migrateDatabase`: the phases in order, and the way back from each of them. */
import {
  ApplicationFailure,
  CancellationScope,
  CancelledFailure,
  isCancellation,
  patched,
  sleep,
} from '@temporalio/workflow';
import type {
  CutoverReport,
  GateDecision,
  MigrationInput,
  MigrationReport,
  StageRecord,
  ViewsReport,
} from '../src/contract.ts';
import { judgeStage } from '../src/gates.ts';
import { LONGEST_WINDOW_MS } from '../src/waits.ts';
import { differsInQuarantineOnly, verdictLine } from '../src/verdict-text.ts';
import { Background } from './background.ts';
import { accepted, codeOf, endedUnderCancellation, reasonOf, rootOf } from './failures.ts';
import { controlSteps, entry, longSteps, switchSteps } from './policies.ts';
import { recordVerdict } from './record-verdict.ts';
import { rollBack, type Compensation } from './roll-back.ts';
import { Run } from './run.ts';

/** A cutover that returned is tried again by itself this often; then a person decides. */
const CUTOVER_ATTEMPTS = 3;
const CUTOVER_RETRY_MS = 5_000;
/** Breaches of one stage after which a person decides; a single slow moment must not stop a migration overnight. */
const BREACHES = 3;
/** Stages that status and report tell of; a run that is retried for weeks stays small. */
const STAGES_KEPT = 50;

/**
 * Moves a live SQLite database to PostgreSQL.
 * @param raw plain JSON, see MigrationInput; `{}` and nothing at all mean the defaults
 * @returns the report, where the migration is complete
 * @throws ApplicationFailure InvalidInput …, PlanRefused, or Aborted after a roll-back; details[0] is the report
 */
export async function migrateDatabase(raw?: unknown): Promise<MigrationReport> {
  const run = new Run();
  const { input, taskQueue } = await accepted(
    entry.acceptMigration.executeWithOptions({ summary: 'check the input' }, [raw ?? {}]),
  );
  run.status.source = input.source;
  run.status.target = input.target;
  const migration = new Migration(run, input, taskQueue);
  try {
    await run.scope.run(() => migration.untilSoaked());
  } catch (error) {
    return await migration.goBack(error);
  }
  return migration.finish();
}

class Migration {
  private readonly run: Run;
  private readonly input: MigrationInput;
  private readonly control: ReturnType<typeof controlSteps>;
  private readonly long: ReturnType<typeof longSteps>;
  private readonly switching: ReturnType<typeof switchSteps>;
  /** What has to be undone, in the order in which it was begun. */
  private readonly compensations: Compensation[] = [];
  private replay: Background | undefined;

  constructor(run: Run, input: MigrationInput, taskQueue: string) {
    this.run = run;
    this.input = input;
    this.control = controlSteps(taskQueue);
    this.long = longSteps(taskQueue);
    this.switching = switchSteps(taskQueue);
  }

  /** Every phase from which there is a way back. */
  async untilSoaked(): Promise<void> {
    const { run } = this;
    await run.phase('plan', () => this.plan());
    await run.phase('backup', () => this.backUp());
    await run.phase('tables', () => this.createTables());
    await run.phase('capture', () => this.startCapture());
    await run.phase('copy', () => this.copy());
    await run.phase('indexes', () => this.createIndexes());
    await run.phase('verify', () => this.verify());
    await run.phase('shift', () => this.shiftReads());
    const withForeignKeys = await run.phase('foreign-keys', () => this.addForeignKeys());
    await run.phase('cutover', () => this.cutOver());
    await run.phase('soak', () => this.soak(withForeignKeys));
  }

  private async plan(): Promise<void> {
    // Registered before the step, because the step may half-apply.
    this.compensations.push('leaveTarget', 'cleanSource');
    const plan = await this.long.planMigration.executeWithOptions({ summary: 'read schema and census' }, [
      this.run.step(),
      this.input.policies,
      this.input.overrides,
    ]);
    this.run.status.plan = plan;
    if (plan.blockerCount === 0) return;
    const first = plan.blockers.map(({ message }) => message).join('; ');
    throw ApplicationFailure.nonRetryable(
      `the plan has ${plan.blockerCount} blockers: ${first}`,
      'PlanRefused',
    );
  }

  private async backUp(): Promise<void> {
    this.run.status.backup = await this.run.pausable(() =>
      this.long.backUpSource.executeWithOptions({ summary: 'copy the source to a file' }, [this.run.step()]),
    );
  }

  private async createTables(): Promise<void> {
    await this.long.createTargetTables.executeWithOptions({ summary: 'create the target tables' }, [
      this.run.step(),
    ]);
  }

  private async startCapture(): Promise<void> {
    await this.control.startCapture.executeWithOptions({ summary: 'log every change from here on' }, [
      this.run.step(),
      this.input.capture,
    ]);
  }

  /** Replay runs from here to the cutover; it takes each table up when that table's copy has ended. */
  private async copy(): Promise<void> {
    this.startReplay();
    const started = Date.now();
    const report = await this.run.pausable(() =>
      this.long.copyRows.executeWithOptions({ summary: 'copy the rows' }, [this.run.step(), this.input.copy]),
    );
    // The last attempt knows every row, but only its own time.
    this.run.status.copy = { ...report, ms: Date.now() - started };
    await this.long.awaitCatchUp.executeWithOptions({ summary: 'wait for replay' }, [
      this.run.step(),
      this.input.gates.maxLagMs,
    ]);
  }

  private startReplay(): void {
    const step = this.run.step();
    this.replay = new Background(this.run, () =>
      this.long.replayChanges.executeWithOptions({ summary: 'replay changes to the target' }, [step]),
    );
  }

  private async createIndexes(): Promise<void> {
    const views: ViewsReport | undefined = await this.long.createIndexes.executeWithOptions(
      { summary: 'build indexes' },
      [this.run.step()],
    );
    // Undefined in runs whose step was taken before it knew views.
    if (views !== undefined) this.run.status.views = views;
  }

  /** A difference ends the migration. Rows that are set aside wait for a person: the source has them, and takes the mended ones. */
  private async verify(): Promise<void> {
    for (;;) {
      const verdict = await this.run.pausable(() =>
        this.long.verifyMigration.executeWithOptions({ summary: `verify: ${this.input.verify.mode}` }, [
          this.run.step(),
          this.input.verify,
        ]),
      );
      this.run.status.verdict = verdict;
      await recordVerdict(verdict.equal ? 'equal' : 'different', verdict.mismatchCount);
      if (verdict.equal) return;
      if (!differsInQuarantineOnly(verdict) || !patched('quarantine-waits')) {
        throw ApplicationFailure.nonRetryable(verdictLine(verdict), 'Mismatch');
      }
      const rows = verdict.quarantined === 1 ? '1 row is' : `${verdict.quarantined} rows are`;
      await this.run.approval(
        `"approve" to verify again or "abort" to roll back: ${rows} in quarantine, change or delete them in the source`,
      );
    }
  }

  private async shiftReads(): Promise<void> {
    const { stages, approval } = this.input.shift;
    this.compensations.push('resetRouting');
    for (const [index, percent] of stages.entries()) {
      if (approval) await this.run.approval(`"approve" before ${percent} % of the reads`);
      await this.passStage(percent, stages[index - 1] ?? 0);
    }
  }

  /** Repeats a stage, with the reads stepped back in between, until its gate lets it pass. */
  private async passStage(percent: number, before: number): Promise<void> {
    const { run, input } = this;
    for (let breaches = 1; ; breaches++) {
      await this.route(percent);
      const decision = await this.judge(percent);
      if (decision.verdict === 'pass') return;
      const reason = `gate at ${percent} %: ${decision.reasons.join('; ')}`;
      if (input.shift.onBreach === 'rollback') throw ApplicationFailure.nonRetryable(reason, 'Aborted');
      await this.route(before);
      run.status.reason = reason;
      if (breaches % BREACHES === 0) {
        await run.approval(
          `"approve" to try ${percent} % again or "abort" to roll back, because of the ${reason}`,
        );
      } else {
        await run.window(input.shift.stageWaitMs, `back at ${before} % of the reads`);
      }
      delete run.status.reason;
    }
  }

  /** Measures a stage until there is enough to pass or to breach; `approve` passes a stage that has too few reads. */
  private async judge(percent: number): Promise<GateDecision> {
    const { run, input } = this;
    const record: StageRecord = { percent, startedAt: new Date().toISOString() };
    run.status.stages.push(record);
    if (run.status.stages.length > STAGES_KEPT) run.status.stages.shift();
    run.show();
    for (let windowMs = input.shift.stageWaitMs; ; windowMs = Math.min(windowMs * 2, LONGEST_WINDOW_MS)) {
      const approved = await run.window(windowMs, `${percent} % of the reads`);
      const figures = await this.control.measureStage.executeWithOptions(
        { summary: `measure ${percent} %` },
        [run.step(), windowMs],
      );
      const decision = judgeStage(figures, input.gates, percent);
      if (decision.verdict === 'hold' && approved) decision.verdict = 'pass';
      Object.assign(record, { figures, decision, endedAt: new Date().toISOString() });
      run.show();
      if (decision.verdict !== 'hold') return decision;
    }
  }

  private async route(readPercent: number): Promise<void> {
    await this.control.setRouting.executeWithOptions(
      { summary: `${readPercent} % of the reads to the target` },
      [
        this.run.step(),
        {
          readPercent,
          dualWrites: this.input.dualWrites.enabled,
          dualWriteTimeoutMs: this.input.dualWrites.timeoutMs,
        },
      ],
    );
    this.run.status.readPercent = readPercent;
  }

  /** Orphans that came after the plan wait for a person, where the application's data are mended. */
  private async addForeignKeys(): Promise<boolean> {
    for (;;) {
      try {
        return await this.long.addForeignKeys.executeWithOptions(
          { summary: 'add and validate foreign keys' },
          [this.run.step()],
        );
      } catch (error) {
        if (codeOf(error) !== 'Orphans' || !patched('orphans-wait')) throw error;
        await this.run.approval(`"approve" to try again or "abort" to roll back: ${reasonOf(error)}`);
      }
    }
  }

  private async cutOver(): Promise<void> {
    if (this.input.shift.approval) await this.run.approval('"approve" before the cutover');
    this.compensations.push('moveWritesBack');
    for (let attempt = 1; ; attempt++) {
      await this.run.notPaused();
      const report = await this.switching.cutOverWrites.executeWithOptions({ summary: 'move the writes' }, [
        this.run.step(),
        this.input.cutover.maxPauseMs,
      ]);
      this.run.status.cutover = report;
      if (report.outcome === 'moved') return await this.moved(report);
      // The cutover took the lease of replay over; until the next attempt replay goes on.
      await this.replay?.superseded();
      this.startReplay();
      const reason = report.reason ?? 'no reason given';
      if (attempt % CUTOVER_ATTEMPTS === 0) {
        await this.run.approval(`"approve" to try again or "abort" to roll back: ${reason}`);
      } else {
        await sleep(CUTOVER_RETRY_MS, { summary: reason.slice(0, 200) });
      }
    }
  }

  private async moved(report: CutoverReport): Promise<void> {
    const { run } = this;
    run.epoch = report.epoch;
    run.status.primary = 'target';
    run.status.readPercent = 100;
    await this.replay?.superseded();
  }

  private async soak(withForeignKeys: boolean): Promise<void> {
    const { run } = this;
    const step = run.step();
    this.replay = new Background(run, () =>
      this.long.reverseChanges.executeWithOptions({ summary: 'replay changes back to the source' }, [step]),
    );
    if (!withForeignKeys) await this.addForeignKeys();
    await run.window(this.input.soakMs, 'soak with reverse replay');
    await run.notPaused();
  }

  /** Past the way back: outside the scope that abort cancels. */
  async finish(): Promise<MigrationReport> {
    const { run } = this;
    run.beginFinish();
    await CancellationScope.nonCancellable(async () => {
      await this.replay?.stop();
      await run.phase('finish', () =>
        this.long.finishMigration.executeWithOptions({ summary: 'end reverse replay' }, [
          run.step(),
          this.input.sourceAfterFinish,
        ]),
      );
    });
    run.status.outcome = 'complete';
    run.show();
    return run.report();
  }

  /** Did the worker of a step that was called off die before it heard of it? */
  private diedUnaware(error: unknown): boolean {
    return this.run.scope.consideredCancelled && endedUnderCancellation(error);
  }

  private wasCancelled(error: unknown): boolean {
    return isCancellation(error) || (this.diedUnaware(error) && patched('cancel-outlives-worker'));
  }

  /** May the very first step have begun the migration? Nothing was created where it refused; called off, it may have got through untold. */
  private mayHaveBegun(error: unknown): boolean {
    if (isCancellation(error)) return patched('unknown-begin');
    return this.diedUnaware(error) && patched('begin-outlives-worker');
  }

  /** Undoes what was begun and fails the run, or ends it as cancelled, with the report. */
  async goBack(error: unknown): Promise<never> {
    const { run } = this;
    const refused = codeOf(error) === 'PlanRefused';
    const cancelledFromOutside = run.abortReason === undefined && this.wasCancelled(error);
    const reason = run.abortReason ?? (cancelledFromOutside ? 'the workflow was cancelled' : reasonOf(error));
    run.status.paused = false;
    run.status.reason = reason;
    await CancellationScope.nonCancellable(async () => {
      await this.replay?.stop();
      const { plan } = run.status;
      const begun = plan === undefined ? this.mayHaveBegun(error) : plan.blockerCount === 0;
      const steps = begun ? this.compensations : [];
      await rollBack(run, steps, { control: this.control, switching: this.switching }, reason, this.input);
    });
    const begun = run.status.rollback !== undefined;
    run.status.outcome = refused ? 'refused' : begun ? 'rolled back' : 'failed';
    run.show();
    if (cancelledFromOutside) throw isCancellation(error) ? error : new CancelledFailure(reason);
    throw ApplicationFailure.create({
      message: begun ? `rolled back: ${reason}` : reason,
      type: begun || run.abortReason !== undefined ? 'Aborted' : codeOf(error) || 'Internal',
      nonRetryable: true,
      details: [run.report()],
      ...(rootOf(error) instanceof Error ? { cause: rootOf(error) as Error } : {}),
    });
  }
}
