/**
 * Any schema and any rows arrive exactly, and go back exactly, or are refused before anything is copied.
 * PROPERTY_CASES sets the number of cases, TEST_SEED the seed: the few cases of `npm test` are always the same, so that a
 * change that breaks one is seen with that change; `npm run test:property` draws new ones.
 */
import { randomInt } from 'node:crypto';
import fc from 'fast-check';
import { anyCase, roundTrip, type Ending } from './round-trip.ts';

const { PROPERTY_CASES, TEST_SEED } = process.env;
const CASES = Number(PROPERTY_CASES ?? 12);
/** A failing case is made smaller for so long. */
const SHRINK_MS = 60_000;

it(
  'every schema and its rows arrive exactly, follow every write, and go back exactly, or are refused by name',
  async () => {
    const seed = Number(TEST_SEED ?? (PROPERTY_CASES === undefined ? 1 : randomInt(2 ** 31)));
    process.stdout.write(`migration property: TEST_SEED=${seed} PROPERTY_CASES=${CASES}\n`);
    const endings: Record<Ending, number> = { refused: 0, held: 0, equal: 0 };
    let failedAt: number | undefined;
    const run = await fc.check(
      fc.asyncProperty(anyCase, async (subject) => {
        if (failedAt !== undefined && performance.now() > failedAt + SHRINK_MS) return;
        try {
          endings[await roundTrip(subject)]++;
        } catch (error) {
          failedAt ??= performance.now();
          throw error;
        }
      }),
      { seed, numRuns: CASES },
    );
    process.stdout.write(`migration property: ${JSON.stringify(endings)}\n`);
    if (run.failed) {
      throw new Error(
        `TEST_SEED=${seed}, case ${run.numRuns}, made smaller ${run.numShrinks} times: ${String((run.errorInstance as Error).message)}`,
      );
    }
    // Refusing everything would prove nothing. A dozen cases may differ much from the average, which is two thirds.
    expect(endings.equal).toBeGreaterThanOrEqual(CASES >= 100 ? CASES / 2 : CASES / 6);
  },
  CASES * 10_000 + SHRINK_MS,
);
