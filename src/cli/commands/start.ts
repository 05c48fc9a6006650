/** `crossfade start`: starts the workflow on a Temporal server whose worker knows the connections. */
import type { Command } from 'commander';
import { TASK_QUEUE } from '../../contract.ts';
import type { Action } from '../program.ts';
import { settingsOf, withSettings, type SettingsOptions } from '../settings.ts';

interface Options extends SettingsOptions {
  id?: string;
  taskQueue: string;
}

export function addStart(program: Command, action: Action): void {
  withSettings(
    program.command('start'),
    'settings as JSON, - for standard input (default: the defaults, source to target)',
  )
    .description(
      'Start a migration on the Temporal server that TEMPORAL_ADDRESS names; "crossfade worker" does the work.',
    )
    .option('--id <id>', 'id of the workflow (default: migrate-<source>)')
    .option('--task-queue <name>', 'queue of the worker', TASK_QUEUE)
    .addHelpText(
      'after',
      `
Example:
  echo '{"source":"orders","shift":{"stageWaitMs":"10m"}}' | crossfade start --input - && crossfade watch migrate-orders`,
    )
    .action(
      action(async (io, options: Options) => {
        const { id, taskQueue } = options;
        const input = await settingsOf(options, io);
        const workflowId = id ?? `migrate-${input.source}`;
        const { connectTemporal } = await import('../temporal.ts');
        const { startWorkflow } = await import('../workflows.ts');
        const { workflowUrl } = await import('../view/snapshot.ts');
        const temporal = await connectTemporal(io.env);
        try {
          const summary = `move ${input.source} to ${input.target}`;
          await startWorkflow(temporal.client, {
            type: 'migrateDatabase',
            workflowId,
            input,
            taskQueue,
            summary,
          });
          const { uiUrl, namespace } = temporal;
          io.stdout.write(`started ${workflowId}: "crossfade watch ${workflowId}" shows it\n`);
          if (uiUrl !== undefined) io.stdout.write(`${workflowUrl(uiUrl, namespace, workflowId)}\n`);
          return 0;
        } finally {
          await temporal.close();
        }
      }),
    );
}
