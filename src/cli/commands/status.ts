/** `crossfade status`: one look at a migration. */
import type { Command } from 'commander';
import type { Action } from '../program.ts';

export function addStatus(program: Command, action: Action): void {
  program
    .command('status')
    .description('Show where a migration stands, once.')
    .argument('[id]', 'id of the workflow (default: the one that runs)')
    .option('--json', 'the status as JSON')
    .addHelpText(
      'after',
      `
Example:
  crossfade status migrate-orders --json`,
    )
    .action(
      action(async (io, given: string | undefined, options: { json?: boolean }) => {
        const { connectTemporal } = await import('../temporal.ts');
        const { meantWorkflow } = await import('../workflows.ts');
        const { takeSnapshot } = await import('../view/watch.ts');
        const { renderScreen } = await import('../view/screen.ts');
        const { workflowUrl } = await import('../view/snapshot.ts');
        const { paintFor, widthOf } = await import('../view/format.ts');
        const { endingOf } = await import('../ending.ts');
        const { conclude } = await import('../follow.ts');
        const temporal = await connectTemporal(io.env, given);
        try {
          const { client, uiUrl, namespace } = temporal;
          const workflowId = await meantWorkflow(client, given);
          const { snapshot, running } = await takeSnapshot(client, workflowId, {
            ...(uiUrl === undefined ? {} : { uiUrl: workflowUrl(uiUrl, namespace, workflowId) }),
          });
          if (options.json === true) {
            const { status, progress, retrying } = snapshot;
            io.stdout.write(
              `${JSON.stringify({ workflowId, running, status, progress, retrying }, null, 2)}\n`,
            );
          } else if (!running && snapshot.status === undefined) {
            // Only a worker can answer for a workflow; of one that has ended, the result is left.
            await conclude(io, await endingOf(client, workflowId), undefined);
          } else {
            io.stdout.write(`${renderScreen(snapshot, widthOf(io.stdout), paintFor(io.stdout, io.env))}\n`);
          }
          return 0;
        } finally {
          await temporal.close();
        }
      }),
    );
}
