/** `migrateDatabase`: the phases in order, and the way back from each of them. */
import { ApplicationFailure, CancellationScope, isCancellation, sleep } from '@temporalio/workflow';
import type { CutoverReport, MigrationInput, MigrationReport } from '../src/contract.ts';
import { judgeStage } from '../src/gates.ts';
import { Background } from './background.ts';
import { codeOf, reasonOf, rootOf } from './failures.ts';
import { controlSteps, entry, longSteps, switchSteps } from './policies.ts';
import { rollBack, type Compensation } from './roll-back.ts';
import { Run } from './run.ts';

/** A cutover that returned is tried again by itself this often; then a person decides. */
const CUTOVER_ATTEMPTS = 3;
const CUTOVER_RETRY_MS = 5_000;
/** A stage that holds is judged again after ever longer windows, so that a forgotten one does not fill the history. */
const LONGEST_WINDOW_MS = 60 * 60_000;

/**
 * Moves a live SQLite database to PostgreSQL.
 * @param raw plain JSON, see MigrationInput; `{}` and nothing at all mean the defaults
 * @returns the report, where the migration is complete
 * @throws ApplicationFailure InvalidInput …, PlanRefused, or Aborted after a roll-back; details[0] is the report
 */
export async function migrateDatabase(raw?: unknown): Promise<MigrationReport> {
  const run = new Run();
  const { input, taskQueue } = await entry.acceptMigration.executeWithOptions(
    { summary: 'check the input' },
    [raw ?? {}],
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
    ]);
  }

  /** Replay runs from here to the cutover; it takes each table up when that table's copy has ended. */
  private async copy(): Promise<void> {
    this.startReplay();
    this.run.status.copy = await this.run.pausable(() =>
      this.long.copyRows.executeWithOptions({ summary: 'copy the rows' }, [this.run.step(), this.input.copy]),
    );
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
    await this.long.createIndexes.executeWithOptions({ summary: 'build indexes' }, [this.run.step()]);
  }

  private async verify(): Promise<void> {
    const verdict = await this.run.pausable(() =>
      this.long.verifyMigration.executeWithOptions({ summary: `verify: ${this.input.verify.mode}` }, [
        this.run.step(),
        this.input.verify,
      ]),
    );
    this.run.status.verdict = verdict;
    if (verdict.equal) return;
    const first = verdict.mismatches[0];
    const example = first === undefined ? '' : `: table "${first.table}", key ${first.key}, ${first.kind}`;
    throw ApplicationFailure.nonRetryable(
      `the databases differ: ${verdict.mismatchCount} mismatches, ${verdict.quarantined} rows in quarantine${example}`,
      'Mismatch',
    );
  }

  private async shiftReads(): Promise<void> {
    const { stages, approval } = this.input.shift;
    this.compensations.push('resetRouting');
    for (let stage = 0; stage < stages.length;) {
      const percent = stages[stage]!;
      if (approval) await this.run.approval(`"approve" before ${percent} % of the reads`);
      if (await this.runStage(percent)) stage++;
      else stage = Math.max(0, stage - 1);
    }
  }

  /** @returns whether the next stage may begin; false steps back */
  private async runStage(percent: number): Promise<boolean> {
    const { run, input } = this;
    await this.route(percent);
    const record: (typeof run.status.stages)[number] = { percent, startedAt: new Date().toISOString() };
    run.status.stages.push(record);
    run.show();
    let windowMs = input.shift.stageWaitMs;
    for (;;) {
      const approved = await run.window(windowMs, `${percent} % of the reads`);
      const figures = await this.control.measureStage.executeWithOptions(
        { summary: `measure ${percent} %` },
        [run.step(), windowMs],
      );
      const decision = judgeStage(figures, input.gates, percent);
      Object.assign(record, { figures, decision, endedAt: new Date().toISOString() });
      run.show();
      if (decision.verdict === 'pass') return true;
      if (decision.verdict === 'hold') {
        if (approved) return true;
        windowMs = Math.min(windowMs * 2, LONGEST_WINDOW_MS);
        continue;
      }
      return await this.breach(percent, decision.reasons);
    }
  }

  /** Steps the reads back, then holds for a person or rolls back, as the input says. */
  private async breach(percent: number, reasons: string[]): Promise<false> {
    const { stages, onBreach } = this.input.shift;
    const reason = `gate at ${percent} %: ${reasons.join('; ')}`;
    if (onBreach === 'rollback') throw ApplicationFailure.nonRetryable(reason, 'Aborted');
    const before = stages.filter((stage) => stage < percent).at(-1) ?? 0;
    await this.route(before);
    await this.run.approval(`"approve" to try again or "abort" to roll back, because of the ${reason}`);
    return false;
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

  private async addForeignKeys(): Promise<boolean> {
    return this.long.addForeignKeys.executeWithOptions({ summary: 'add and validate foreign keys' }, [
      this.run.step(),
    ]);
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

  /** Undoes what was begun and fails the run, or ends it as cancelled, with the report. */
  async goBack(error: unknown): Promise<never> {
    const { run } = this;
    const refused = codeOf(error) === 'PlanRefused';
    const cancelledFromOutside = isCancellation(error) && run.abortReason === undefined;
    const reason = run.abortReason ?? (cancelledFromOutside ? 'the workflow was cancelled' : reasonOf(error));
    run.status.paused = false;
    run.status.reason = reason;
    await CancellationScope.nonCancellable(async () => {
      await this.replay?.stop();
      // Nothing was created where the very first step refused.
      const begun = run.status.plan !== undefined && run.status.plan.blockerCount === 0;
      const steps = begun ? this.compensations : [];
      await rollBack(run, steps, { control: this.control, switching: this.switching }, reason, this.input);
    });
    const begun = run.status.rollback !== undefined;
    run.status.outcome = refused ? 'refused' : begun ? 'rolled back' : 'failed';
    run.show();
    if (cancelledFromOutside) throw error;
    const code = codeOf(error);
    throw ApplicationFailure.create({
      message: begun ? `rolled back: ${reason}` : reason,
      type: begun ? 'Aborted' : code === '' ? 'Internal' : code,
      nonRetryable: true,
      details: [run.report()],
      ...(rootOf(error) instanceof Error ? { cause: rootOf(error) as Error } : {}),
    });
  }
}
