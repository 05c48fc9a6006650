/** The verdict of a verification as search attributes of its run, where the server has them. */
import { defineSearchAttributeKey } from '@temporalio/common';
import { isCancellation, log, patched, upsertSearchAttributes } from '@temporalio/workflow';
import type { SearchAttributeName } from '../src/search-attributes.ts';
import { reasonOf } from './failures.ts';
import { dispensable } from './policies.ts';

const VERDICT = defineSearchAttributeKey('CrossfadeVerdict' satisfies SearchAttributeName, 'KEYWORD');
const MISMATCHES = defineSearchAttributeKey('CrossfadeMismatches' satisfies SearchAttributeName, 'INT');

/** @param mismatches rows that differed; undefined where nothing was compared */
export async function recordVerdict(
  verdict: 'equal' | 'different' | 'failed',
  mismatches?: number,
): Promise<void> {
  if (!patched('verdict-attributes')) return;
  const known = await attributes();
  if (known.includes('CrossfadeVerdict')) upsertSearchAttributes([{ key: VERDICT, value: verdict }]);
  if (mismatches !== undefined && known.includes('CrossfadeMismatches')) {
    upsertSearchAttributes([{ key: MISMATCHES, value: mismatches }]);
  }
}

/** Asked anew for each verdict: an administrator may have added or removed one since the worker's start. */
async function attributes(): Promise<SearchAttributeName[]> {
  try {
    return await dispensable.knownAttributes.executeWithOptions(
      { summary: 'which search attributes there are' },
      [],
    );
  } catch (error) {
    if (isCancellation(error)) throw error;
    log.warn(`the verdict is not shown as a search attribute: ${reasonOf(error)}`);
    return [];
  }
}
