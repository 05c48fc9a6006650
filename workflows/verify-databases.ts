/** `verifyDatabases`: verification alone, fit for a Temporal Schedule; a mismatch fails the run visibly. */
import { ApplicationFailure, setCurrentDetails } from '@temporalio/workflow';
import type { Verdict } from '../src/contract.ts';
import { accepted } from './failures.ts';
import { entry, longSteps } from './policies.ts';

/**
 * @param raw plain JSON, see VerifyInput
 * @throws ApplicationFailure Mismatch, with the verdict as details[0]
 */
export async function verifyDatabases(raw?: unknown): Promise<Verdict> {
  const { input, taskQueue } = await accepted(
    entry.acceptVerification.executeWithOptions({ summary: 'check the input' }, [raw ?? {}]),
  );
  const verdict = await longSteps(taskQueue).verifyDatabases.executeWithOptions(
    { summary: `verify: ${input.mode}` },
    [input],
  );
  const line = `${verdict.rows} rows compared: ${verdict.equal ? 'equal' : `${verdict.mismatchCount} mismatches, ${verdict.quarantined} in quarantine`}`;
  setCurrentDetails(line);
  if (verdict.equal) return verdict;
  throw ApplicationFailure.create({
    message: line,
    type: 'Mismatch',
    nonRetryable: true,
    details: [verdict],
  });
}
