/** What a chaos session prints. */
import { count, duration } from '../src/cli/view/format.ts';
import { violationText, type Violation } from './checker/violation.ts';
import { faultKinds, type Aim, type SourceName } from './faults.ts';
import { MUTANTS } from './mutants.ts';
import type { RunResult } from './run.ts';

export function lineOf({ seed, outcome, ms, faults, operations, violations }: RunResult): string {
  const { acknowledged, refused, unknown } = operations;
  return [
    violations.length === 0 ? 'ok  ' : 'FAIL',
    `seed ${seed}`,
    outcome,
    duration(ms),
    `${count(acknowledged)} acknowledged, ${count(refused)} refused, ${count(unknown)} unknown`,
    faults.join(' '),
  ].join('  ');
}

export function failureOf(
  { seed, timeline, violations }: RunResult,
  folder: string,
  source: SourceName,
  { faults, phases }: Aim,
): string {
  const only =
    (source === 'sqlite' ? '' : ` --source ${source}`) +
    (faults.length === 0 ? '' : ` --faults ${faults.join(' ')}`) +
    (phases.length === 0 ? '' : ` --phases ${phases.join(' ')}`);
  return [
    ...timeline.map((line) => `    ${line}`),
    ...violations.slice(0, 20).map((violation) => `  ! ${violationText(violation)}`),
    `  files: ${folder}`,
    `  again: npm run chaos -- --runs 1 --seed ${seed}${only}`,
  ].join('\n');
}

export function summaryOf(results: RunResult[], source: SourceName, ms: number): string {
  const lines = ['', 'fault               injected  runs  violations'];
  for (const kind of faultKinds(source)) {
    const runs = results.filter(({ faults }) => faults.includes(kind));
    const injected = results.flatMap(({ faults }) => faults).filter((fault) => fault === kind).length;
    const violations = runs.reduce((sum, run) => sum + run.violations.length, 0);
    lines.push(
      `${kind.padEnd(18)}${String(injected).padStart(10)}${String(runs.length).padStart(6)}${String(violations).padStart(12)}`,
    );
  }
  const outcomes = new Map<string, number>();
  for (const { outcome } of results) outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  const pauses = results.flatMap((result) => result.pauses).sort((a, b) => a - b);
  const at = (share: number): string =>
    String(pauses[Math.min(pauses.length - 1, Math.floor(share * pauses.length))]);
  const failed = results.filter(({ violations }) => violations.length > 0);
  lines.push(
    '',
    `${duration(ms)}, ${(ms / 1_000 / Math.max(1, results.length)).toFixed(1)} s for each run`,
    `outcomes: ${[...outcomes].map(([outcome, n]) => `${outcome} ${n}`).join(', ')}`,
    pauses.length === 0
      ? 'write pauses: none'
      : `write pauses, ms: p50 ${at(0.5)}, p90 ${at(0.9)}, p99 ${at(0.99)}, max ${at(1)} (${pauses.length} switches)`,
    failed.length === 0
      ? `OK: ${results.length} runs, 0 violations`
      : `NOT OK: ${failed.length} of ${results.length} runs failed: seeds ${failed.map(({ seed }) => seed).join(', ')}`,
  );
  return lines.join('\n');
}

export interface MutantResult {
  mutant: string;
  runs: number;
  seconds: number;
  /** By the last run; empty where no run noticed it. */
  noticed: Violation[];
}

export function mutantsTable(results: MutantResult[]): string {
  const lines = ['', 'mutant             runs  seconds  noticed by'];
  for (const { mutant, runs, seconds, noticed } of results) {
    const checks = [...new Set(noticed.map(({ check }) => check))].join(', ');
    lines.push(
      `${mutant.padEnd(18)}${String(runs).padStart(5)}${seconds.toFixed(0).padStart(9)}  ${checks === '' ? 'nothing' : checks}`,
      `    without ${MUTANTS[mutant]!.without}`,
      ...noticed.slice(0, 1).map((violation) => `    ${violationText(violation).slice(0, 200)}`),
    );
  }
  const missed = results.filter(({ noticed }) => noticed.length === 0);
  lines.push(
    '',
    missed.length === 0
      ? `OK: ${results.length} mutants, each noticed`
      : `NOT OK: nothing noticed ${missed.map(({ mutant }) => mutant).join(', ')}`,
  );
  return lines.join('\n');
}
