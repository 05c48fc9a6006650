/** `npm run chaos`: migrations under faults, each decided by its seed; or with a protection taken away, to be noticed. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { PHASES, type Phase } from '../src/contract.ts';
import { faultKinds, isFault, NONE, SOURCE_NAMES, type Aim, type SourceName } from './faults.ts';
import { inLanes } from './lanes.ts';
import { MUTANTS } from './mutants.ts';
import { BUILD, mutate } from './mutate.ts';
import { failureOf, lineOf, mutantsTable, summaryOf, type MutantResult } from './report.ts';
import { runOnce, type RunResult } from './run.ts';
import type { Servers } from './servers.ts';

function whole(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('a whole number');
  return Number(text);
}

function wholes(text: string, before: number[] = []): number[] {
  return [...before, whole(text)];
}

function faultName(text: string, before: string[] = []): string[] {
  if (!SOURCE_NAMES.some((source) => isFault(text, source))) {
    const kinds = new Set(SOURCE_NAMES.flatMap(faultKinds));
    throw new InvalidArgumentError(`one of ${[...kinds, NONE].join(', ')}, or seam:NAME`);
  }
  return [...before, text];
}

const program = new Command('npm run chaos --')
  .description(
    'Migrates a small database under traffic and faults, again and again, and checks what is left.',
  )
  .option('--runs <n>', 'how many; of a mutant, at most', whole, 10)
  .addOption(
    new Option('--seed <n...>', 'seeds of the first runs; the next ones follow the last of them').argParser(
      wholes,
    ),
  )
  .option('--parallel <n>', 'how many at once', whole, 1)
  .addOption(
    new Option('--source <kind>', 'what is migrated')
      .choices(SOURCE_NAMES)
      .default('sqlite' satisfies SourceName),
  )
  .addOption(new Option('--faults <kind...>', 'only these').argParser(faultName))
  .addOption(new Option('--phases <phase...>', 'only in these').choices(PHASES))
  .addOption(
    new Option('--mutant <name>', 'take a protection away, until it is noticed').choices(
      Object.keys(MUTANTS),
    ),
  )
  .option('--mutants', 'every mutant, one after the other', false)
  .option('--keep', 'keep the files of every run, not only of those that fail', false)
  .addHelpText(
    'after',
    '\nExamples:\n  npm run chaos -- --runs 20 --seed 1 --faults seam kill-worker\n  npm run chaos -- --mutants --parallel 2',
  );
program.parse();
const options = program.opts<{
  runs: number;
  seed?: number[];
  parallel: number;
  source: SourceName;
  faults?: string[];
  phases?: Phase[];
  mutant?: string;
  mutants: boolean;
  keep: boolean;
}>();

const strange = (options.faults ?? []).filter((name) => !isFault(name, options.source));
if (strange.length > 0)
  program.error(`error: a source of kind ${options.source} cannot meet ${strange.join(', ')}`);
// Their edits are of code that a SQLite file needs.
if (options.source !== 'sqlite' && (options.mutants || options.mutant !== undefined)) {
  program.error('error: mutants need --source sqlite');
}

const folder = mkdtempSync(join(tmpdir(), 'crossfade-chaos-'));
// PostgreSQL does not run as root: its own user has to get to its directory below this one.
if (process.getuid?.() === 0) chmodSync(folder, 0o711);
const out = (line: string): void => void process.stdout.write(`${line}\n`);

let stopping = false;
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    stopping = true;
    out('stopping after what runs …');
  });
}
const lanes = { parallel: Math.max(1, options.parallel), folder, stopped: () => stopping, onLine: out };
const given = options.seed ?? [Date.now() % 1_000_000];
const seeds = Array.from(
  { length: options.runs },
  (_, i) => given[i] ?? given.at(-1)! + i - given.length + 1,
);
const chosen: Aim = { faults: options.faults ?? [], phases: options.phases ?? [] };
const names = options.mutants ? Object.keys(MUTANTS) : options.mutant === undefined ? [] : [options.mutant];

const ok = names.length > 0 ? await hunt(names) : await runAll();
if (ok && !options.keep) rmSync(folder, { recursive: true, force: true });
process.exit(ok ? 0 : 1);

async function runAll(): Promise<boolean> {
  const results: RunResult[] = [];
  const started = performance.now();
  await inLanes(seeds, lanes, async (seed, servers) => {
    const name = `run-${seed}`;
    const result = await runOnce({
      servers,
      folder: join(folder, name),
      name,
      seed,
      aim: chosen,
      source: options.source,
      build: BUILD,
    });
    results.push(result);
    out(lineOf(result));
    const failed = result.violations.length > 0;
    if (failed) out(failureOf(result, join(folder, name), options.source, chosen));
    await tidy(servers, name, failed);
  });
  out(summaryOf(results, options.source, performance.now() - started));
  return results.every(({ violations }) => violations.length === 0);
}

/** Runs each mutant until the checker notices it. */
async function hunt(mutants: string[]): Promise<boolean> {
  const results: MutantResult[] = [];
  await inLanes(mutants, lanes, async (mutant, servers) => {
    const { aim, ...rest } = MUTANTS[mutant]!;
    const build = mutate({ aim, ...rest }, join(folder, mutant));
    const chosenOrOwn: Aim = {
      ...aim,
      faults: options.faults ?? aim.faults,
      phases: options.phases ?? aim.phases,
    };
    const found: MutantResult = { mutant, runs: 0, seconds: 0, noticed: [] };
    results.push(found);
    for (const seed of seeds) {
      if (stopping) break;
      const name = `${mutant}-${seed}`;
      const result = await runOnce({
        servers,
        folder: join(folder, name),
        name,
        seed,
        aim: chosenOrOwn,
        source: 'sqlite',
        build,
      });
      found.runs++;
      found.seconds += result.ms / 1_000;
      found.noticed = result.violations;
      out(`${mutant}: ${lineOf(result)}`);
      await tidy(servers, name, false);
      if (found.noticed.length > 0) break;
    }
  });
  out(mutantsTable(results));
  return results.every(({ noticed }) => noticed.length > 0);
}

async function tidy(servers: Servers, name: string, failed: boolean): Promise<void> {
  if (failed) return;
  await servers.dropDatabase(name);
  if (!options.keep) rmSync(join(folder, name), { recursive: true, force: true });
}
