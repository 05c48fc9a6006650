/** The demo's command line. */
import { Command, InvalidArgumentError, Option } from 'commander';
import { parseDuration } from '../src/duration.ts';
import { SOURCE_KINDS, type SourceOption } from './sources/kinds.ts';

export interface DemoOptions {
  source: SourceOption;
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

/** As commander gives them. */
type Given = Omit<DemoOptions, 'stageWaitMs' | 'soakMs' | 'users' | 'ops'> &
  Partial<Pick<DemoOptions, 'users' | 'ops'>> & { stageWait: number; soak: number };

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
  const [sqlite, d1] = [SOURCE_KINDS.sqlite.defaults, SOURCE_KINDS.d1.defaults];
  const command = new Command('npm run demo --')
    .description(
      'Moves a live SQLite or D1 database to PostgreSQL: a Temporal server, PostgreSQL, an application with traffic and a\n' +
        'worker are started, and at the end an independent checker counts what was lost.',
    )
    .addOption(
      new Option(
        '--source <kind>',
        'a SQLite file, or a D1 database in workerd, with the application in Workers',
      )
        .choices(Object.keys(SOURCE_KINDS))
        .default('sqlite'),
    )
    .option(
      '--users <n>',
      `users in the database; ten rows each (default: ${sqlite.users}, of D1 ${d1.users})`,
      whole(100, 10_000_000),
    )
    .option('--seed <n>', 'the same seed makes the same database', whole(0, 2 ** 32), 1)
    .option(
      '--ops <n>',
      `the application's operations per second (default: ${sqlite.ops}, of D1 ${d1.ops})`,
      whole(1, 100_000),
    )
    .option('--stage-wait <duration>', 'time per stage of shifted reads', duration, 5_000)
    .option('--soak <duration>', 'time on PostgreSQL with the way back open', duration, 8_000)
    .option('--plain', 'lines instead of a live screen', false)
    .option('--report <file>', 'write the report as JSON')
    .option('--rollback', 'abort after the cutover and go back to the source', false)
    .option('--keep', 'keep the files: databases, journal, logs', false)
    .addHelpText('after', '\nExample:\n  npm run demo -- --users 20000 --rollback --report report.json')
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))
    .parse(args, { from: 'user' });
  const { source, stageWait, soak, ...rest } = command.opts<Given>();
  return { source, ...SOURCE_KINDS[source].defaults, ...rest, stageWaitMs: stageWait, soakMs: soak };
}
