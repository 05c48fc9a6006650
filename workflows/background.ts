/** Replay beside the phases: runs until a later owner takes its lease, and fails the migration where it fails. */
import { CancellationScope, isCancellation, patched } from '@temporalio/workflow';
import type { LoopEnd } from '../src/engine/replay-loop.ts';
import type { Run } from './run.ts';
import { endedUnderCancellation, reasonOf } from './failures.ts';

export class Background {
  private readonly run: Run;
  private readonly scope: CancellationScope;
  private readonly ended: Promise<void>;

  constructor(run: Run, work: () => Promise<LoopEnd>) {
    this.run = run;
    this.scope = new CancellationScope();
    this.ended = this.scope.run(work).then(
      () => undefined,
      (error: unknown) => {
        if (isCancellation(error) || this.diedUnaware(error)) return;
        // A failure here must not wait for the phase that is under way.
        this.run.abort(reasonOf(error));
      },
    );
  }

  /** Did its worker die, or its answer get lost, after it was called off? Then that is no reason of its own. */
  private diedUnaware(error: unknown): boolean {
    return this.scope.consideredCancelled && endedUnderCancellation(error) && patched('replay-called-off');
  }

  /** Waits until it has ended by itself, because another owner has its lease. */
  async superseded(): Promise<void> {
    await this.ended;
  }

  async stop(): Promise<void> {
    this.scope.cancel();
    await this.ended;
  }
}
