/** `crossfade schedule`: verification at regular times, by a Temporal Schedule. */
import { Option, type Command } from 'commander';
import { DEFAULT_INPUT, TASK_QUEUE } from '../../contract.ts';
import { CrossfadeError } from '../../errors.ts';
import { parseVerifyInput } from '../../input.ts';
import type { Io } from '../io.ts';
import { countArgument, durationArgument } from '../options.ts';
import type { Action } from '../program.ts';
import type { ScheduleStatus } from '../schedule-status.ts';
import type { TemporalClient } from '../temporal.ts';

interface Options {
  every?: number;
  source?: string;
  target?: string;
  sample?: number;
  id?: string;
  taskQueue?: string;
  now?: boolean;
  delete?: boolean;
  show?: boolean;
  json?: boolean;
}

/** Temporal counts in seconds. */
const LEAST_MS = 1_000;

export function addSchedule(program: Command, action: Action): void {
  program
    .command('schedule')
    .description(
      'Verify at regular times, by a Temporal Schedule; "crossfade worker" does the work. Without --every, --now or ' +
        '--delete: show the schedules.',
    )
    .option('--every <duration>', 'create the schedule, or change the one that is there', durationArgument)
    .option('--source <name>', `name of the source connection (default: ${DEFAULT_INPUT.source})`)
    .option('--target <name>', `name of the target connection (default: ${DEFAULT_INPUT.target})`)
    .option(
      '--sample <rows>',
      'all keys, and this many random rows per table, not every value',
      countArgument,
    )
    .option('--id <id>', 'id of the schedule (default: verify-<source>)')
    .option('--task-queue <name>', `queue of the worker (default: ${TASK_QUEUE})`)
    .option('--now', 'run it once now, unless it is under way')
    .addOption(new Option('--delete', 'remove it').conflicts(['every', 'now', 'show', 'sample']))
    .addOption(
      new Option('--show', 'how the last run ended, and when the next one is due').conflicts([
        'every',
        'now',
      ]),
    )
    .option('--json', 'what --show shows, as JSON')
    .addHelpText(
      'after',
      `
A run that finds a difference fails in Temporal, and names the row; "crossfade status" shows the last verdict too.

Example:
  crossfade schedule --every 1h --source orders --target pg-main --now && crossfade schedule --show`,
    )
    .action(
      action(async (io, options: Options) => {
        const input = parseVerifyInput({
          ...(options.source === undefined ? {} : { source: options.source }),
          ...(options.target === undefined ? {} : { target: options.target }),
          ...(options.sample === undefined ? {} : { mode: 'sample', sampleRows: options.sample }),
        });
        if (options.every !== undefined && options.every < LEAST_MS) {
          throw new CrossfadeError('InvalidInput', `--every is ${options.every} ms: it must be at least 1s`);
        }
        const { connectTemporal } = await import('../temporal.ts');
        const { readSchedule } = await import('../schedule-status.ts');
        const { deleteSchedule, putSchedule, runNow, scheduleIdOf } = await import('../schedules.ts');
        const id = options.id ?? scheduleIdOf(input.source);
        const temporal = await connectTemporal(io.env);
        const { client } = temporal;
        try {
          if (options.delete === true) {
            const { running } = await readSchedule(client, id);
            await deleteSchedule(client, id);
            io.stdout.write(
              `${id}: deleted${running === undefined ? '' : `; ${running.workflowId} goes on`}\n`,
            );
            return 0;
          }
          if (options.every === undefined && options.now !== true) {
            const one = options.id === undefined && options.source === undefined ? undefined : id;
            return await show(io, temporal, one, options.json === true);
          }
          if (options.every !== undefined) {
            const taskQueue = options.taskQueue ?? TASK_QUEUE;
            const done = await putSchedule(client, { id, everyMs: options.every, input, taskQueue });
            io.stdout.write(`${id}: ${done}\n`);
          }
          if (options.now === true) {
            await runNow(client, id);
            io.stdout.write(`${id}: asked to run now\n`);
          }
          await show(io, temporal, id, false);
          await tellOfMissingWorker(io, temporal, id);
          return 0;
        } finally {
          await temporal.close();
        }
      }),
    );
}

async function show(
  io: Io,
  { client, namespace }: TemporalClient,
  id: string | undefined,
  json: boolean,
): Promise<number> {
  const { readSchedule, readSchedules } = await import('../schedule-status.ts');
  const schedules: ScheduleStatus[] =
    id === undefined ? await readSchedules(client) : [await readSchedule(client, id)];
  if (json) {
    io.stdout.write(`${JSON.stringify({ schedules }, null, 2)}\n`);
    return 0;
  }
  const { scheduleLines } = await import('../view/schedule.ts');
  const { paintFor, widthOf } = await import('../view/format.ts');
  const paint = paintFor(io.stdout, io.env);
  for (const schedule of schedules) {
    io.stdout.write(`${scheduleLines(schedule, Date.now(), widthOf(io.stdout), paint).join('\n')}\n`);
  }
  if (schedules.length === 0) {
    io.stdout.write(
      `no verification is scheduled in namespace "${namespace}": crossfade schedule --every 1h\n`,
    );
  }
  return 0;
}

async function tellOfMissingWorker(io: Io, { client }: TemporalClient, id: string): Promise<void> {
  const { hasWorker, ourSchedule } = await import('../schedules.ts');
  const { taskQueue } = (await ourSchedule(client, id)).description.action;
  if (await hasWorker(client, taskQueue)) return;
  io.stderr.write(
    `crossfade: no worker asks queue "${taskQueue}" for work: its runs wait until "crossfade worker" runs\n`,
  );
}
