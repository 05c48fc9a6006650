/** The demo's command line. */
import { Command, InvalidArgumentError } from 'commander';
import { parseDuration } from '../src/duration.ts';

export interface DemoOptions {
  users: number;
  seed: number;
  /** Operations per second of the application. */
  ops: number;
  stageWaitMs: number;
  soakMs: number;
  plain: boolean;
  report?: string;
  rollback: boolean;
  keep: boolean;
}

/** Milliseconds of "500ms", "5s", "5m" or "1h". */
function duration(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined) throw new InvalidArgumentError('Use a duration such as 5s or 5m.');
  return ms;
}

function whole(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isInteger(value) || value < least || value > most) {
      throw new InvalidArgumentError(`Use a whole number from ${least} to ${most}.`);
    }
    return value;
  };
}

/** Parses the arguments after the program's name. Prints usage and ends the process with status 2 on a mistake. */
export function parseArguments(args: string[]): DemoOptions {
  const command = new Command('npm run demo --')
    .description(
      'Moves a live SQLite database to PostgreSQL: a Temporal server, PostgreSQL, an application with traffic and a\n' +
        'worker are started, and at the end an independent checker counts what was lost.',
    )
    .option('--users <n>', 'users in the database; ten rows each', whole(100, 10_000_000), 100_000)
    .option('--seed <n>', 'the same seed makes the same database', whole(0, 2 ** 32), 1)
    .option('--ops <n>', "the application's operations per second", whole(1, 100_000), 400)
    .option('--stage-wait <duration>', 'time per stage of shifted reads', duration, 5_000)
    .option('--soak <duration>', 'time on PostgreSQL with the way back open', duration, 8_000)
    .option('--plain', 'lines instead of a live screen', false)
    .option('--report <file>', 'write the report as JSON')
    .option('--rollback', 'abort after the cutover and go back to SQLite', false)
    .option('--keep', 'keep the files: databases, journal, logs', false)
    .addHelpText('after', '\nExample:\n  npm run demo -- --users 20000 --rollback --report report.json')
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))
    .parse(args, { from: 'user' });
  const { stageWait, soak, ...rest } = command.opts<
    Omit<DemoOptions, 'stageWaitMs' | 'soakMs'> & { stageWait: number; soak: number }
  >();
  return { ...rest, stageWaitMs: stageWait, soakMs: soak };
}
