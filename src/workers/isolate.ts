/**
 * What the requests of one isolate share about one D1 database. Plain data: a promise that another request settles would
 * hang this one. Kept by the binding's identity, so that two databases can never be taken for one another.
 */
import type { Lateness } from '../router/acknowledgements.ts';
import { OwnWrites } from '../router/own-writes.ts';
import { Unreported } from '../router/reporter.ts';
import type { Route } from '../router/route.ts';
import { Statistics } from '../router/statistics.ts';
import { Seen } from '../router/target.ts';
import type { D1Database } from './d1.ts';

export class Isolate {
  route: Route | undefined;
  /** When the route was decided, performance.now(). */
  routeAt = Number.NEGATIVE_INFINITY;
  /** When the target was last looked at in the background, performance.now(). */
  lookedAt = Number.NEGATIVE_INFINITY;
  /** Has the way to the target been seen to keep a session's settings? */
  settingsKept = false;
  readonly seen = new Seen();
  readonly ownWrites = new OwnWrites();
  readonly lateness: Lateness = {};
  readonly statistics = new Statistics();
  readonly unreported = new Unreported();
  /** Its name in reports: made within a request, because there is no randomness before. */
  readonly instance = `workers:${crypto.randomUUID().slice(0, 13)}`;
}

const isolates = new WeakMap<D1Database, Isolate>();

export function isolateOf(db: D1Database): Isolate {
  let isolate = isolates.get(db);
  if (isolate === undefined) {
    isolate = new Isolate();
    isolates.set(db, isolate);
  }
  return isolate;
}
