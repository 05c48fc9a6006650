/** `crossfade watch`: shows a migration until it ends. */
import type { Command } from 'commander';
import type { Action } from '../program.ts';

interface Options {
  plain?: boolean;
  report?: string;
}

export function addWatch(program: Command, action: Action): void {
  program
    .command('watch')
    .description('Show a migration until it ends; Ctrl-C ends the watch, not the migration.')
    .argument('[id]', 'id of the workflow (default: the one that runs)')
    .option('--plain', 'lines instead of a screen')
    .option('--report <file>', 'write the report as JSON')
    .addHelpText(
      'after',
      `
The exit status is the migration's: 0 complete, 1 failed, 3 refused by the plan, 4 rolled back.

Example:
  crossfade watch migrate-orders`,
    )
    .action(
      action(async (io, given: string | undefined, options: Options) => {
        const { connectTemporal } = await import('../temporal.ts');
        const { meantWorkflow } = await import('../workflows.ts');
        const { follow, conclude } = await import('../follow.ts');
        const { workflowUrl } = await import('../view/snapshot.ts');
        const { INTERRUPTED } = await import('../interrupted.ts');
        const temporal = await connectTemporal(io.env, given);
        const interrupt = new AbortController();
        const forget = io.onInterrupt(() => interrupt.abort());
        try {
          const { client, uiUrl, namespace } = temporal;
          const workflowId = await meantWorkflow(client, given);
          const ending = await follow(io, client, workflowId, {
            plain: options.plain === true,
            signal: interrupt.signal,
            ...(uiUrl === undefined ? {} : { uiUrl: workflowUrl(uiUrl, namespace, workflowId) }),
          });
          return ending === undefined ? INTERRUPTED : await conclude(io, ending, options.report);
        } finally {
          forget();
          await temporal.close();
        }
      }),
    );
}
