/** `rollbackMigration`: the way back from the control rows alone, where the migration's own workflow is gone. */
import { CancellationScope } from '@temporalio/workflow';
import { DEFAULT_INPUT, type MigrationReport } from '../src/contract.ts';
import { accepted } from './failures.ts';
import { controlSteps, entry, switchSteps } from './policies.ts';
import { rollBack } from './roll-back.ts';
import { Run } from './run.ts';

/**
 * Brings all reads and writes back to the source and removes what the migration left.
 * @param raw plain JSON, see RollbackInput
 * @throws ApplicationFailure NoMigration, RollbackImpossible after *finish*
 */
export async function rollbackMigration(raw?: unknown): Promise<MigrationReport> {
  const run = new Run();
  const { input, taskQueue } = await accepted(
    entry.acceptRollback.executeWithOptions({ summary: 'check the input' }, [raw ?? {}]),
  );
  run.status.source = input.source;
  run.status.target = input.target;
  const control = controlSteps(taskQueue);
  run.continueFrom(
    await accepted(control.findMigration.executeWithOptions({ summary: 'read the control rows' }, [input])),
  );
  const undoing = CancellationScope.nonCancellable(() =>
    rollBack(
      run,
      ['leaveTarget', 'cleanSource', 'resetRouting', 'moveWritesBack'],
      { control, switching: switchSteps(taskQueue) },
      'rollbackMigration',
      { cutover: DEFAULT_INPUT.cutover, targetAfterRollback: input.targetAfterRollback },
    ),
  );
  await accepted(undoing);
  run.status.outcome = 'rolled back';
  run.show();
  return run.report();
}
