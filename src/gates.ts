/** Pure decisions of the workflow: may a stage advance? No I/O, no clock. */
import type { GateDecision, GateFigures, MigrationInput } from './contract.ts';

/** Judges one stage of the read shift. A breach outweighs a missing sample. */
export function judgeStage(
  figures: GateFigures,
  gates: MigrationInput['gates'],
  percent: number,
): GateDecision {
  const breaches: string[] = [];
  const { source, target } = figures.reads;
  const errorRate = target.count === 0 ? 0 : target.errors / target.count;
  if (errorRate > gates.maxErrorRate) {
    breaches.push(
      `${(errorRate * 100).toFixed(2)} % of the target's reads failed, allowed ${gates.maxErrorRate * 100} %`,
    );
  }
  // At 100 % the source answers hardly any reads, so there is nothing to compare with but the floor.
  const allowed = Math.max(source.p95Ms * (1 + gates.maxLatencyIncrease), gates.latencyFloorMs);
  if (target.count > 0 && target.p95Ms > allowed) {
    breaches.push(
      `p95 of the target's reads is ${target.p95Ms.toFixed(1)} ms, allowed ${allowed.toFixed(1)} ms`,
    );
  }
  if (figures.lagMs > gates.maxLagMs) {
    breaches.push(
      `the target is ${(figures.lagMs / 1000).toFixed(1)} s behind, allowed ${gates.maxLagMs / 1000} s`,
    );
  }
  if (figures.mismatches > 0) breaches.push(`${figures.mismatches} rows differ between the databases`);
  if (figures.quarantined > 0) breaches.push(`${figures.quarantined} rows are in quarantine`);
  if (breaches.length > 0) return { verdict: 'breach', reasons: breaches };
  if (figures.judgedBy === 'routers' && target.count < gates.minSamples) {
    return {
      verdict: 'hold',
      reasons: [
        `the target answered ${target.count} reads at ${percent} %, the gate needs ${gates.minSamples}: waiting for them, or for "approve"`,
      ],
    };
  }
  const by =
    figures.judgedBy === 'routers'
      ? 'reads of the application'
      : 'probe reads, because no router has registered';
  return {
    verdict: 'pass',
    reasons: [
      `${target.count} ${by}: ${target.errors} errors, p95 ${target.p95Ms.toFixed(1)} ms, lag ${figures.lagMs} ms`,
    ],
  };
}
