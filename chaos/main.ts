/** `npm run chaos`: migrations under faults, one after the other, each decided by its seed. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { FAULT_KINDS, type FaultKind } from './faults.ts';
import { failureOf, lineOf, summaryOf } from './report.ts';
import { runOnce, type RunResult } from './run.ts';
import { Servers } from './servers.ts';

function whole(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('a whole number');
  return Number(text);
}

const program = new Command('npm run chaos --')
  .description(
    'Migrates a small database under traffic and faults, again and again, and checks what is left.',
  )
  .option('--runs <n>', 'how many', whole, 10)
  .option('--seed <n>', 'seed of the first run; the next ones follow it', whole, Date.now() % 1_000_000)
  .addOption(new Option('--faults <kind...>', 'only these').choices(FAULT_KINDS).default([]))
  .option('--keep', 'keep the files of every run, not only of those that fail', false)
  .addHelpText('after', '\nExample:\n  npm run chaos -- --runs 20 --seed 1 --faults seam kill-worker');
program.parse();
const options = program.opts<{
  runs: number;
  seed: number;
  faults: FaultKind[];
  keep: boolean;
}>();

const folder = mkdtempSync(join(tmpdir(), 'crossfade-chaos-'));
// PostgreSQL does not run as root: its own user has to get to its directory below this one.
if (process.getuid?.() === 0) chmodSync(folder, 0o711);
const out = (line: string): void => void process.stdout.write(`${line}\n`);

let stopping = false;
process.on('SIGINT', () => {
  stopping = true;
  out('stopping after this run …');
});

const results: RunResult[] = [];
const servers = await Servers.start(folder, out);
try {
  for (let i = 0; i < options.runs && !stopping; i++) {
    const seed = options.seed + i;
    const runFolder = join(folder, `run-${seed}`);
    const result = await runOnce({ servers, folder: runFolder, seed, faults: options.faults });
    results.push(result);
    out(lineOf(result));
    if (result.violations.length > 0) out(failureOf(result, runFolder, options.faults));
    else if (!options.keep) rmSync(runFolder, { recursive: true, force: true });
  }
} finally {
  await servers.stop();
}
out(summaryOf(results));
const failed = results.some(({ violations }) => violations.length > 0);
if (!failed && !options.keep) rmSync(folder, { recursive: true, force: true });
process.exit(failed ? 1 : 0);
