/**
 * The longest of the waits that a workflow repeats for as long as nobody helps: each costs a handful of events, and a
 * history ends at 51,200 (https://docs.temporal.io/workflow-execution/limits).
 */

/** A stage that holds is judged again after ever longer windows. */
export const LONGEST_WINDOW_MS = 60 * 60_000;
/** A compensation that fails is repeated after ever longer waits; `approve` repeats it at once. */
export const LONGEST_RETRY_MS = 60 * 60_000;
