/** The benchmark's command line. */
import { Command, InvalidArgumentError, Option } from 'commander';

export interface BenchOptions {
  rows: number;
  runs: number;
  /** Cutovers, and as many ways back. */
  switches: number;
  json?: string;
  /** Names of the measurements to run. */
  only: string[];
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

type Sizes = Pick<BenchOptions, 'rows' | 'runs' | 'switches'>;

/** What `--quick` and `--full` stand for; what is given beside them holds. */
const PRESETS: Record<'quick' | 'full', Sizes> = {
  quick: { rows: 200_000, runs: 3, switches: 5 },
  full: { rows: 10_000_000, runs: 3, switches: 50 },
};

/** Parses the arguments after the program's name. Prints usage and ends the process with status 2 on a mistake. */
export function parseArguments(args: string[], measurements: string[]): BenchOptions {
  const command = new Command('npm run bench --')
    .description(
      'Measures crossfade against other ways to do the same work, on one generated database, in turns: A B A B.\n' +
        "PostgreSQL is TARGET_URL's server, else 127.0.0.1:5432 with trust, else an embedded one.",
    )
    .option('--rows <n>', 'rows of the generated database', whole(1_000, 100_000_000), 2_000_000)
    .option('--runs <n>', 'runs of each side', whole(1, 100), 3)
    .option('--switches <n>', 'cutovers to measure, and as many ways back', whole(1, 1_000), 50)
    .addOption(new Option('--quick', `sizes for a first look: ${sizesText(PRESETS.quick)}`).conflicts('full'))
    .option('--full', `sizes for a whole night: ${sizesText(PRESETS.full)}`)
    .option('--json <file>', 'write every run as JSON')
    .addOption(
      new Option('--only <names...>', 'only these measurements').choices(measurements).default(measurements),
    )
    .addHelpText(
      'after',
      '\nExample:\n  npm run bench -- --rows 500000 --runs 5 --only copy --json bench.json',
    )
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))
    .parse(args, { from: 'user' });
  const { quick, full, ...options } = command.opts<BenchOptions & { quick?: true; full?: true }>();
  const preset = quick ? PRESETS.quick : full ? PRESETS.full : undefined;
  for (const name of ['rows', 'runs', 'switches'] as const) {
    if (preset !== undefined && command.getOptionValueSource(name) === 'default')
      options[name] = preset[name];
  }
  return options;
}

function sizesText({ rows, runs, switches }: Sizes): string {
  return `--rows ${rows} --runs ${runs} --switches ${switches}`;
}
