/** `crossfade run`: the whole migration on one machine. */
import type { Command } from 'commander';
import { CrossfadeError } from '../../errors.ts';
import { databasesOf, durationArgument, withDatabases, type DatabaseOptions } from '../options.ts';
import type { Action } from '../program.ts';
import { settingsOf, withSettings, type SettingsOptions } from '../settings.ts';

interface Options extends DatabaseOptions, SettingsOptions {
  stageWait?: number;
  soak?: number;
  plain?: boolean;
  report?: string;
}

export function addRun(program: Command, action: Action): void {
  withSettings(withDatabases(program.command('run')), 'settings as JSON, - for standard input')
    .description(
      'Move the database: starts Temporal (unless TEMPORAL_ADDRESS names one) and a worker, and watches.',
    )
    .option(
      '--stage-wait <duration>',
      'time at each read percentage, like 30s (default: 5m)',
      durationArgument,
    )
    .option(
      '--soak <duration>',
      'time for which the way back stays open after the cutover (default: 10m)',
      durationArgument,
    )
    .option('--plain', 'lines instead of a screen')
    .option('--report <file>', 'write the report as JSON')
    .addHelpText(
      'after',
      `
A run that was interrupted or killed goes on with the same command. While it runs, "crossfade pause", "resume",
"approve", "abort" and "status" work from another terminal.

Example:
  crossfade run --source sqlite:shop.db --target postgres://shop@db.example.com/shop --stage-wait 1m`,
    )
    .action(
      action(async (io, options: Options) => {
        const databases = databasesOf(options, io.env);
        const parsed = await settingsOf(options, io);
        const input = {
          ...parsed,
          // The worker here knows the two databases by these names, whatever the file calls them.
          source: 'source',
          target: 'target',
          shift: { ...parsed.shift, stageWaitMs: options.stageWait ?? parsed.shift.stageWaitMs },
          soakMs: options.soak ?? parsed.soakMs,
        };
        // Loaded only here, because they take a second.
        const { onOneMachine } = await import('../one-machine.ts');
        const { INTERRUPTED } = await import('../interrupted.ts');
        const { startWorkflow } = await import('../workflows.ts');
        const { runWorkflowId } = await import('../temporal.ts');
        const { follow, conclude } = await import('../follow.ts');
        const hint =
          'the migration rests where it was, and the application goes on. The same command resumes it; ' +
          '"crossfade rollback" with the same --source and --target undoes it';
        return onOneMachine(io, databases, hint, async (machine) => {
          const workflowId = runWorkflowId(machine.hash);
          const watching = machine.watching(workflowId);
          try {
            const summary = `move ${watching.title ?? 'a database'}`;
            await startWorkflow(machine.client, { type: 'migrateDatabase', workflowId, input, summary });
          } catch (error) {
            if (!(error instanceof CrossfadeError && error.code === 'MigrationExists')) throw error;
            io.stderr.write(
              `crossfade: going on with ${workflowId}, which was not finished; its own input holds\n`,
            );
          }
          const ending = await follow(io, machine.client, workflowId, {
            ...watching,
            plain: options.plain === true,
            failed: machine.failed,
          });
          return ending === undefined ? INTERRUPTED : conclude(io, ending, options.report);
        });
      }),
    );
}
