/** The search attributes that runs carry: what Temporal's lists find them by. Pure. */

/** Name and type of each; a workflow may only set those that its namespace has. */
export const SEARCH_ATTRIBUTES = {
  /** How a verification ended: `equal`, `different`, or `failed` where it could not be made. */
  CrossfadeVerdict: 'Keyword',
  /** Rows that differed. */
  CrossfadeMismatches: 'Int',
} as const;

export type SearchAttributeName = keyof typeof SEARCH_ATTRIBUTES;
