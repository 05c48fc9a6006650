/**
 * How many requests a token may send: Cloudflare counts all that a user does in five minutes
 * (https://developers.cloudflare.com/fundamentals/api/reference/limits/).
 */
import pThrottle from 'p-throttle';

/** Of 1,200: the others are left to whatever else the token is used for. */
export const REQUESTS_PER_WINDOW = 1_100;
/** Reads of whole tables leave the rest to the log and the cutover, which must not wait for the next window. */
export const BULK_REQUESTS_PER_WINDOW = 900;
export const WINDOW_MS = 300_000;

export interface Budget {
  /** Waits until a request may be sent. */
  turn(): Promise<void>;
  /** The same, before `turn`, for a request that reads a part of a table. */
  bulkTurn(): Promise<void>;
}

const budgets = new Map<string, Budget>();

/** The budget of this process for a token, whichever databases it is used for. */
export function budgetOf(token: string): Budget {
  const known = budgets.get(token) ?? newBudget();
  budgets.set(token, known);
  return known;
}

function newBudget(): Budget {
  const within = (limit: number): (() => Promise<void>) =>
    pThrottle({ limit, interval: WINDOW_MS, strict: true })(async () => {});
  return { turn: within(REQUESTS_PER_WINDOW), bulkTurn: within(BULK_REQUESTS_PER_WINDOW) };
}
