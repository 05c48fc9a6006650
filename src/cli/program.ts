/** The command line: which commands there are, and what becomes of their errors. */
import { Command, CommanderError } from 'commander';
import { CrossfadeError, messageOf } from '../errors.ts';
import { addExport } from './commands/export.ts';
import { addImport } from './commands/import.ts';
import { addMessageCommands } from './commands/messages.ts';
import { addPlan } from './commands/plan.ts';
import { addRollback } from './commands/rollback.ts';
import { addRun } from './commands/run.ts';
import { addSchedule } from './commands/schedule.ts';
import { addStart } from './commands/start.ts';
import { addStatus } from './commands/status.ts';
import { addVerify } from './commands/verify.ts';
import { addWatch } from './commands/watch.ts';
import { addWorker } from './commands/worker.ts';
import type { Io } from './io.ts';

/** Puts a command's work into the program; what it resolves to is the exit status. */
export type Action = <A extends unknown[]>(
  work: (io: Io, ...args: A) => Promise<number>,
) => (...args: A) => Promise<void>;

const EXIT_STATUS = `
Exit status:
  0 complete   1 failed   2 bad usage or input   3 refused by the plan   4 rolled back

Example:
  crossfade run --source sqlite:shop.db --target postgres://shop@db.example.com/shop`;

/**
 * Runs one command line.
 * @param argv what follows the program's name
 * @returns the exit status; errors are printed, never thrown
 */
export async function main(argv: string[], io: Io): Promise<number> {
  let status = 0;
  const action: Action =
    (work) =>
    async (...args) => {
      status = await work(io, ...args);
    };

  const program = new Command('crossfade')
    .description('Moves a live SQLite database to PostgreSQL while the application keeps serving.')
    .addHelpText('after', EXIT_STATUS)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
      outputError: (text, write) => write(text.replace(/^error: /, 'crossfade: ')),
    });
  addPlan(program, action);
  addRun(program, action);
  addVerify(program, action);
  addImport(program, action);
  addExport(program, action);
  addSchedule(program, action);
  addWorker(program, action);
  addStart(program, action);
  addStatus(program, action);
  addWatch(program, action);
  addMessageCommands(program, action);
  addRollback(program, action);

  try {
    await program.parseAsync(argv, { from: 'user' });
    return status;
  } catch (error) {
    // Commander has printed its own errors, and what --help shows.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    return report(error, io);
  }
}

function report(error: unknown, io: Io): number {
  const known = error instanceof CrossfadeError;
  const [firstLine = ''] = messageOf(error).split('\n');
  io.stderr.write(`crossfade: ${known ? '' : 'unexpected: '}${known ? messageOf(error) : firstLine}\n`);
  const debug = io.env['CROSSFADE_DEBUG'];
  if (debug !== undefined && debug !== '') {
    for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
      io.stderr.write(`${cause.stack ?? cause.message}\n`);
    }
  } else if (!known) {
    io.stderr.write('crossfade: set CROSSFADE_DEBUG=1 for the details\n');
  }
  return known ? error.exit : 1;
}
