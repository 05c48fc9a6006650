/** `crossfade status`: one look at a migration, and at the verification that is scheduled for it. */
import { ServiceError, type Client } from '@temporalio/client';
import type { Command } from 'commander';
import { CrossfadeError, messageOf } from '../../errors.ts';
import type { Io } from '../io.ts';
import type { Action } from '../program.ts';
import type { ScheduleStatus } from '../schedule-status.ts';

export function addStatus(program: Command, action: Action): void {
  program
    .command('status')
    .description('Show where a migration stands, once, and how its scheduled verification ended last.')
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
        const { takeSnapshot } = await import('../view/watch.ts');
        const { schedulesOf } = await import('../schedule-status.ts');
        const { scheduleLines } = await import('../view/schedule.ts');
        const { renderScreen, screenWidth } = await import('../view/screen.ts');
        const { workflowUrl } = await import('../view/snapshot.ts');
        const { paintFor, widthOf } = await import('../view/format.ts');
        const { endingOf } = await import('../ending.ts');
        const { conclude } = await import('../follow.ts');
        const temporal = await connectTemporal(io.env, given);
        try {
          const { client, uiUrl, namespace } = temporal;
          const all = await everySchedule(client, io);
          const width = widthOf(io.stdout);
          const paint = paintFor(io.stdout, io.env);
          const linesOf = (schedules: ScheduleStatus[]): string[] =>
            schedules.flatMap((one) => scheduleLines(one, Date.now(), screenWidth(width) - 4, paint));
          const write = (lines: string[]): void => lines.forEach((line) => io.stdout.write(`${line}\n`));
          const writeJson = (value: unknown): void => write([JSON.stringify(value, null, 2)]);

          const workflowId = await migrationOf(client, given, all);
          if (workflowId === undefined) {
            if (options.json === true) writeJson({ schedules: all });
            else write(linesOf(all));
            return 0;
          }
          const { snapshot, running } = await takeSnapshot(client, workflowId, {
            ...(uiUrl === undefined ? {} : { uiUrl: workflowUrl(uiUrl, namespace, workflowId) }),
          });
          const { status, progress, retrying, taskQueue } = snapshot;
          const schedules = status === undefined ? all : schedulesOf(all, { ...status, taskQueue });
          if (options.json === true) {
            writeJson({ workflowId, running, status, progress, retrying, schedules });
          } else if (!running && status === undefined) {
            // Only a worker can answer for a workflow; of one that has ended, the result is left.
            await conclude(io, await endingOf(client, workflowId), undefined);
            write(linesOf(schedules));
          } else {
            write([renderScreen({ ...snapshot, extra: linesOf(schedules) }, width, paint)]);
          }
          return 0;
        } finally {
          await temporal.close();
        }
      }),
    );
}

/** What is known of the migration is shown, even where the server tells nothing of schedules. */
async function everySchedule(client: Client, io: Io): Promise<ScheduleStatus[]> {
  const { readSchedules } = await import('../schedule-status.ts');
  try {
    return await readSchedules(client);
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    const why = messageOf(error.cause ?? error);
    io.stderr.write(`crossfade: the scheduled verifications cannot be read: ${why}\n`);
    return [];
  }
}

/** Undefined where there is none, and yet something to show: verification goes on after the migration is forgotten. */
async function migrationOf(
  client: Client,
  given: string | undefined,
  schedules: ScheduleStatus[],
): Promise<string | undefined> {
  const { meantWorkflow } = await import('../workflows.ts');
  try {
    return await meantWorkflow(client, given);
  } catch (error) {
    const none = error instanceof CrossfadeError && error.code === 'NoMigration';
    if (none && schedules.length > 0) return undefined;
    throw error;
  }
}
