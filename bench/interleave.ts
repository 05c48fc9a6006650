/** Runs the sides of a comparison in turns, A B A B, and refuses to compare sides that did not do the same work. */
import type { Ratio } from './results.ts';
import { spreadOf, type Spread } from './statistics.ts';

/** What one run did. */
export interface Run {
  ms: number;
  /** Units of work done, e.g. rows. */
  units: number;
  /** Size of the work in bytes of COPY text, where that means something. */
  bytes?: number;
  /** Describes the result, e.g. by checksums; sides with another description did other work. Absent: not to be compared. */
  result?: string;
  /** Greatest resident set of the process that did the work, bytes. */
  peakRss?: number;
}

export interface Side {
  name: string;
  /** Why it cannot run here. */
  unavailable?: string;
  /** Prepares, runs, checks and cleans up; only the run itself is in `ms`. @throws Error where its result is wrong */
  run(round: number): Promise<Run>;
}

export interface SideResult {
  name: string;
  unavailable?: string;
  runs: Run[];
}

/**
 * @param onRun hears of each run when it has ended
 * @throws Error where the results of two sides differ
 */
export async function interleave(
  sides: Side[],
  rounds: number,
  signal: AbortSignal,
  onRun: (side: string, round: number, run: Run) => void,
): Promise<SideResult[]> {
  const results = sides.map(({ name, unavailable }): SideResult => {
    return { name, runs: [], ...(unavailable === undefined ? {} : { unavailable }) };
  });
  for (let round = 0; round < rounds; round++) {
    for (const [i, side] of sides.entries()) {
      if (side.unavailable !== undefined) continue;
      signal.throwIfAborted();
      const run = await side.run(round);
      results[i]!.runs.push(run);
      onRun(side.name, round, run);
      requireSameWork(results, side.name, run);
    }
  }
  return results;
}

function requireSameWork(results: SideResult[], name: string, run: Run): void {
  for (const other of results) {
    const before = other.runs.find(({ result }) => result !== undefined)?.result;
    if (run.result === undefined || before === undefined || before === run.result) continue;
    throw new Error(
      `"${name}" and "${other.name}" did not do the same work, so there is no ratio:\n` +
        `  ${name}: ${run.result}\n  ${other.name}: ${before}`,
    );
  }
}

/** Time of one side as a multiple of another's for the same work, paired by round. */
function ratio(of: SideResult, to: SideResult): Spread | null {
  const pairs = of.runs.flatMap((run, i) => {
    const other = to.runs[i];
    return other === undefined ? [] : [run.ms / run.units / (other.ms / other.units)];
  });
  return pairs.length === 0 ? null : spreadOf(pairs);
}

/** The time of `of` as a multiple of each other side that ran. @param goals largest multiple aimed at, by the other's name */
export function ratiosTo(of: string, results: SideResult[], goals: Record<string, number>): Ratio[] {
  const ours = results.find(({ name }) => name === of);
  return results.flatMap((other) => {
    const spread = ours === undefined || other === ours ? null : ratio(ours, other);
    const goal = goals[other.name];
    return spread === null ? [] : [{ of, to: other.name, spread, ...(goal === undefined ? {} : { goal }) }];
  });
}
