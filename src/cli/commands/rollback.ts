/** `crossfade rollback`: back to the source, with or without the migration's own workflow. */
import type { Command } from 'commander';
import { TASK_QUEUE, type RollbackInput } from '../../contract.ts';
import { CrossfadeError } from '../../errors.ts';
import { parseRollbackInput } from '../../input.ts';
import type { Ending } from '../ending.ts';
import type { Io } from '../io.ts';
import { databasesOf, readInput, withDatabases, type DatabaseOptions } from '../options.ts';
import type { Action } from '../program.ts';

interface Options extends DatabaseOptions {
  input?: string;
  id?: string;
  taskQueue: string;
  plain?: boolean;
}

/** For this command a migration that is rolled back is what was asked for. */
const ROLLED_BACK = 4;

export function addRollback(program: Command, action: Action): void {
  withDatabases(program.command('rollback'))
    .description(
      'Bring reads and writes back to SQLite: aborts the migration, or undoes what a lost one left.',
    )
    .option('--input <file>', 'names of the connections as JSON, where a worker elsewhere does it')
    .option('--id <id>', 'id of the workflow that rolls back (default: rollback-<source>)')
    .option('--task-queue <name>', 'queue of the worker elsewhere', TASK_QUEUE)
    .option('--plain', 'lines instead of a screen')
    .addHelpText(
      'after',
      `
With --source and --target everything happens here, as in "crossfade run"; without them, the workflow
rollbackMigration is started on the Temporal server, whose worker knows the connections.
Exit status 0: rolled back.

Example:
  crossfade rollback --source sqlite:shop.db --target postgres://shop@db.example.com/shop`,
    )
    .action(
      action(async (io, options: Options) => {
        const input = parseRollbackInput(await readInput(options.input, io));
        if (options.source === undefined && options.target === undefined)
          return elsewhere(io, options, input);
        return here(io, options, input);
      }),
    );
}

async function elsewhere(io: Io, options: Options, input: RollbackInput): Promise<number> {
  const { connectTemporal } = await import('../temporal.ts');
  const { startWorkflow } = await import('../workflows.ts');
  const { follow } = await import('../follow.ts');
  const { INTERRUPTED } = await import('../interrupted.ts');
  const temporal = await connectTemporal(io.env, options.id);
  try {
    const workflowId = options.id ?? `rollback-${input.source}`;
    await startWorkflow(temporal.client, {
      type: 'rollbackMigration',
      workflowId,
      input,
      taskQueue: options.taskQueue,
      summary: 'roll back',
    });
    const interrupt = new AbortController();
    const forget = io.onInterrupt(() => interrupt.abort());
    const plain = options.plain === true;
    const ending = await follow(io, temporal.client, workflowId, { plain, signal: interrupt.signal }).finally(
      forget,
    );
    return ending === undefined ? INTERRUPTED : finish(io, ending);
  } finally {
    await temporal.close();
  }
}

async function here(io: Io, options: Options, input: RollbackInput): Promise<number> {
  const databases = databasesOf(options, io.env);
  const { onOneMachine } = await import('../one-machine.ts');
  const { INTERRUPTED } = await import('../interrupted.ts');
  const { runWorkflowId } = await import('../temporal.ts');
  const { runs, startWorkflow } = await import('../workflows.ts');
  const { follow } = await import('../follow.ts');
  const { abortSignal } = await import('../../../workflows/messages.ts');
  return onOneMachine(io, databases, 'the same command goes on with the rollback', async (machine) => {
    let workflowId = runWorkflowId(machine.hash);
    if (await runs(machine.client, workflowId)) {
      await machine.client.workflow.getHandle(workflowId).signal(abortSignal, 'crossfade rollback');
    } else {
      workflowId = `rollback-${machine.hash}`;
      const rollback = { ...input, source: 'source', target: 'target' };
      try {
        await startWorkflow(machine.client, {
          type: 'rollbackMigration',
          workflowId,
          input: rollback,
          summary: 'roll back',
        });
      } catch (error) {
        if (!(error instanceof CrossfadeError && error.code === 'MigrationExists')) throw error;
      }
    }
    const ending = await follow(io, machine.client, workflowId, {
      ...machine.watching(workflowId),
      plain: options.plain === true,
      failed: machine.failed,
    });
    return ending === undefined ? INTERRUPTED : finish(io, ending);
  });
}

async function finish(io: Io, ending: Ending): Promise<number> {
  const { conclude } = await import('../follow.ts');
  if (ending.exit !== ROLLED_BACK) return conclude(io, ending, undefined);
  const { message: _asked, ...good } = ending;
  return conclude(io, { ...good, exit: 0 }, undefined);
}
