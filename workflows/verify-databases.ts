/** `verifyDatabases`: verification alone, fit for a Temporal Schedule; a mismatch fails the run visibly. */
import { ApplicationFailure, isCancellation, setCurrentDetails } from '@temporalio/workflow';
import type { Verdict } from '../src/contract.ts';
import { verdictLine } from '../src/verdict-text.ts';
import { accepted } from './failures.ts';
import { entry, longSteps } from './policies.ts';
import { recordVerdict } from './record-verdict.ts';

/**
 * @param raw plain JSON, see VerifyInput
 * @throws ApplicationFailure Mismatch, with the first difference as its message and the verdict as details[0]; the
 *   error of the step that failed, where nothing could be compared
 */
export async function verifyDatabases(raw?: unknown): Promise<Verdict> {
  const verdict = await compared(raw);
  const line = verdictLine(verdict);
  setCurrentDetails(line);
  await recordVerdict(verdict.equal ? 'equal' : 'different', verdict.mismatchCount);
  if (verdict.equal) return verdict;
  throw ApplicationFailure.create({
    message: line,
    type: 'Mismatch',
    nonRetryable: true,
    details: [verdict],
  });
}

async function compared(raw: unknown): Promise<Verdict> {
  try {
    const { input, taskQueue } = await accepted(
      entry.acceptVerification.executeWithOptions({ summary: 'check the input' }, [raw ?? {}]),
    );
    return await accepted(
      longSteps(taskQueue).verifyDatabases.executeWithOptions(
        { summary: `verify: ${input.mode}${input.repair ? ', and repair' : ''}` },
        [input],
      ),
    );
  } catch (error) {
    if (!isCancellation(error)) await recordVerdict('failed');
    throw error;
  }
}
