/** The gates of the read shift: pure decisions, at and around each limit. */
import { DEFAULT_INPUT, type GateFigures, type TrafficFigures } from '../src/contract.ts';
import { judgeStage } from '../src/gates.ts';
import { quantileMs } from '../src/engine/traffic.ts';
import { LATENCY_BUCKET_GROWTH } from '../src/contract.ts';

const { gates } = DEFAULT_INPUT;
const reads = (figures: Partial<TrafficFigures>): TrafficFigures => ({
  count: 1_000,
  errors: 0,
  p50Ms: 50,
  p95Ms: 100,
  ...figures,
});

interface Case {
  source?: Partial<TrafficFigures>;
  target?: Partial<TrafficFigures>;
  figures?: Partial<GateFigures>;
  limits?: Partial<typeof gates>;
}

function judge({ source = {}, target = {}, figures = {}, limits = {} }: Case) {
  return judgeStage(
    {
      judgedBy: 'routers',
      reads: { source: reads(source), target: reads(target) },
      lagMs: 0,
      mismatches: 0,
      quarantined: 0,
      ...figures,
    },
    { ...gates, ...limits },
    25,
  );
}

describe('a stage passes', () => {
  it.each<[string, Case]>([
    ['with nothing to complain of', {}],
    ['at exactly the error rate that is allowed', { target: { errors: 10 } }],
    [
      'at exactly the latency that is allowed',
      { source: { p95Ms: 100 }, target: { p95Ms: 110.00000000000001 } },
    ],
    [
      'below the floor, however fast the source is',
      { source: { p95Ms: 0.01 }, target: { p95Ms: gates.latencyFloorMs } },
    ],
    [
      'at 100 %, where the source answers no reads',
      { source: { count: 0, p50Ms: 0, p95Ms: 0 }, target: { p95Ms: 40 } },
    ],
    ['at exactly the lag that is allowed', { figures: { lagMs: gates.maxLagMs } }],
    ['with exactly as many reads as it needs', { target: { count: gates.minSamples } }],
    ['by probes, few as they are', { figures: { judgedBy: 'probes' }, target: { count: 7 } }],
    ['without reads where none are asked for', { target: { count: 0, p95Ms: 0 }, limits: { minSamples: 0 } }],
  ])('%s', (_, given) => {
    expect(judge(given)).toMatchObject({ verdict: 'pass' });
  });
});

describe('a stage is breached', () => {
  it.each<[string, Case, RegExp]>([
    ['by errors', { target: { errors: 11 } }, /1\.10 % of the target's reads failed, allowed 1 %/],
    ['by latency', { target: { p95Ms: 111 } }, /p95 of the target's reads is 111\.0 ms, allowed 110\.0 ms/],
    ['by latency where there is nothing to compare with', { source: { count: 0, p95Ms: 0 }, target: { p95Ms: gates.latencyFloorMs + 1 } }, /p95/],
    ['by lag', { figures: { lagMs: gates.maxLagMs + 1 } }, /behind, allowed 10 s/],
    ['by lag that nobody knows', { figures: { lagMs: Number.MAX_SAFE_INTEGER } }, /behind/],
    ['by a difference', { figures: { mismatches: 1 } }, /1 rows differ/],
    ['by a row in quarantine', { figures: { quarantined: 2 } }, /2 rows are in quarantine/],
    ['although there are too few reads to pass', { target: { count: 3, errors: 1 } }, /failed/],
    ['although no reads came at all', { target: { count: 0 }, figures: { mismatches: 1 } }, /differ/],
  ])('%s', (_, given, reason) => {
    const decision = judge(given);
    expect(decision.verdict).toBe('breach');
    expect(decision.reasons).toEqual([expect.stringMatching(reason)]);
  }); // prettier-ignore

  it('and every reason is told', () => {
    const decision = judge({
      target: { errors: 100, p95Ms: 1e6 },
      figures: { lagMs: 1e9, mismatches: 1, quarantined: 1 },
    });
    expect(decision).toMatchObject({ verdict: 'breach' });
    expect(decision.reasons).toHaveLength(5);
  });
});

it('a stage holds where the routers have sent too few reads', () => {
  const decision = judge({ target: { count: gates.minSamples - 1 } });
  expect(decision).toEqual({
    verdict: 'hold',
    reasons: [expect.stringMatching(/99 reads at 25 %, the gate needs 100/)],
  });
  expect(judge({ target: { count: 0, p95Ms: 0 } })).toMatchObject({ verdict: 'hold' });
});

describe('a quantile of a histogram', () => {
  const bucketOf = (ms: number): string =>
    String(Math.floor(Math.log(ms * 1_000) / Math.log(LATENCY_BUCKET_GROWTH)));

  it('is never below the latency, and at most a bucket above it', () => {
    for (const ms of [0.02, 0.5, 1, 7.3, 99, 1_234]) {
      const found = quantileMs({ [bucketOf(ms)]: 1 }, 0.95);
      expect(found).toBeGreaterThanOrEqual(ms);
      expect(found).toBeLessThanOrEqual(ms * LATENCY_BUCKET_GROWTH * 1.0001);
    }
  });

  it('looks at the slow tail, whatever the order of the buckets', () => {
    const histogram = { [bucketOf(100)]: 6, [bucketOf(1)]: 94 };
    expect(quantileMs(histogram, 0.5)).toBeLessThan(1.1);
    expect(quantileMs(histogram, 0.95)).toBeGreaterThan(99);
    expect(quantileMs({ [bucketOf(100)]: 5, [bucketOf(1)]: 95 }, 0.95)).toBeLessThan(1.1);
    expect(quantileMs({}, 0.95)).toBe(0);
  });
});
