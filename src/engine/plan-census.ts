/** What the census found in a column, as the plan tells it. */
import type { ColumnCensus } from '../contract.ts';
import type { ColumnFacts } from '../databases/sqlite/column-facts.ts';
import { readableValue } from '../databases/sqlite/readable.ts';

/** @param facts those that the census did not find, or did not need to look for, are left out */
export function censusOf(facts: ColumnFacts): ColumnCensus {
  const found = {
    integers: facts.integers,
    reals: facts.reals,
    texts: facts.texts,
    blobs: facts.blobs,
    nulls: facts.nulls,
    longestBytes: facts.longest,
    longestCharacters: facts.longestText,
    nulTexts: facts.nulTexts,
    invalidTexts: facts.invalidTexts,
  };
  return {
    ...Object.fromEntries(Object.entries(found).filter(([, count]) => count > 0)),
    ...(facts.least === null ? {} : { least: readableValue(facts.least) }),
    ...(facts.greatest === null ? {} : { greatest: readableValue(facts.greatest) }),
    ...(facts.forms.size === 0
      ? {}
      : { dateForms: Object.fromEntries([...facts.forms].sort(([, a], [, b]) => b - a)) }),
  };
}
