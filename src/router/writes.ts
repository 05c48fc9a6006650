/** What a write goes through, wherever it is made: to the primary, waiting while there is none, and again only where it was certainly not applied. */
import type { Side } from '../contract.ts';
import { driverCode, type CrossfadeError } from '../errors.ts';
import { acceptsWrites, isFenceRefusal } from '../protocol.ts';
import type { Acknowledgements } from './acknowledgements.ts';
import type { Alerts } from './alerts.ts';
import { targetUnknown } from './not-primary.ts';
import type { NotedWrites } from './own-writes.ts';
import type { ReaderKey } from './reads.ts';
import type { Route } from './route.ts';
import type { Statistics } from './statistics.ts';
import type { Switchboard } from './switchboard.ts';
import type { Target } from './target.ts';

/** https://www.postgresql.org/docs/current/errcodes-appendix.html */
const UNDEFINED_TABLE = '42P01';

export interface WriteOptions {
  /** Whose write this is: reads with the same key see it, wherever they go. */
  key?: ReaderKey;
}

/** Where a write ended in the change log, and what its control row said about waiting for the target. */
export interface Written {
  /** 0 where nothing was logged: no migration runs, or nothing changed. */
  position: number;
  dualWrites: boolean;
  dualWriteTimeoutMs: number;
}

/** A write on the source that has been committed. */
export interface Done<T> {
  result: T;
  written: Written;
}

interface WriteParts {
  target: Target | undefined;
  switchboard: Switchboard;
  statistics: Statistics;
  ownWrites: NotedWrites;
  acknowledgements: Acknowledgements | undefined;
  alerts: Alerts;
  fenceTimeoutMs: number;
  /** @throws CrossfadeError where nothing may begin any more */
  assertOpen: () => void;
  /** The route for the next attempt. */
  route: () => Promise<Route> | Route;
}

export class Writes {
  /** Writes that were refused by a fence and run again. */
  fenceRetries = 0;
  readonly #parts: WriteParts;

  constructor(parts: WriteParts) {
    this.#parts = parts;
  }

  /**
   * @param key whose write this is
   * @throws CrossfadeError Fenced, OutcomeUnknown, TargetUnreachable, SourceBusy; the driver's errors
   */
  async onPrimary<T>(
    key: string | undefined,
    onSource: (route: Route) => Promise<Done<T>>,
    onTarget: (target: Target, route: Route) => Promise<T>,
  ): Promise<T> {
    const { statistics } = this.#parts;
    const started = performance.now();
    for (let waited = false; ; waited = true) {
      this.#parts.assertOpen();
      const known = this.#parts.route();
      const route = known instanceof Promise ? await known : known;
      if (route.accepts) {
        try {
          let result: T;
          if (route.primary === 'source') {
            const done = await onSource(route);
            if (done.written.position > 0) await this.#acknowledge(done.written, key);
            result = done.result;
          } else result = await onTarget(this.#targetOrRefuse(), route);
          statistics.done(route.primary, 'write', performance.now() - started);
          return result;
        } catch (error) {
          if (!(await this.#mayRunAgain(error, route, waited))) {
            this.#failed(error, route.primary, performance.now() - started);
            throw error;
          }
        }
      } else if (route.primary === 'target') this.#targetOrRefuse();
      this.fenceRetries += 1;
      await this.#settle(started, route.primary);
    }
  }

  async #settle(started: number, side: Side): Promise<void> {
    try {
      await this.#parts.switchboard.settle(started + this.#parts.fenceTimeoutMs);
    } catch (error) {
      this.#parts.statistics.failed(side, 'write');
      throw error;
    }
  }

  /** True where the write was certainly not applied and another database may take it. */
  async #mayRunAgain(error: unknown, route: Route, waited: boolean): Promise<boolean> {
    if (typeof error !== 'object' || error === null) return false;
    if (isFenceRefusal(error)) return true;
    const { target } = this.#parts;
    if (route.primary === 'source' || target === undefined) return false;
    // All who waited for the switch come at once: nothing was sent where the pool had no connection left for them.
    if (waited && driverCode(error) === 'TargetUnreachable') return true;
    // After a way back the tables may be gone, and our schema with them.
    if (route.mayMoveBack && driverCode(error) === UNDEFINED_TABLE) {
      return (await target.lookAnew()).control === 'absent';
    }
    if (driverCode(error) !== '40001') return false;
    // Above READ COMMITTED a fence shows as a serialization failure, raised in its trigger even if it has been lifted
    // since; any other is the application's.
    if ((error as { where?: string }).where?.includes('fence()') === true) return true;
    const view = await target.lookAnew();
    return view.control === 'present' && !acceptsWrites(view.row);
  }

  #failed(error: unknown, side: Side, ms: number): void {
    const { alerts, statistics } = this.#parts;
    if (driverCode(error) === 'OutcomeUnknown') {
      alerts.raise('outcome_unknown', (error as CrossfadeError).message);
    }
    // Every error of ours and of the drivers has a code.
    const ours = driverCode(error) !== '';
    // A callback that throws by itself has been served well.
    if (ours) statistics.failed(side, 'write');
    else statistics.done(side, 'write', ms);
  }

  #targetOrRefuse(): Target {
    const { target } = this.#parts;
    if (target === undefined) throw targetUnknown();
    return target;
  }

  /** Before the application hears of a write: both databases have it, or its readers stay on the source. */
  async #acknowledge(written: Written, key: string | undefined): Promise<void> {
    const { acknowledgements, ownWrites } = this.#parts;
    if (acknowledgements === undefined) return;
    if (written.dualWrites) {
      if (await acknowledgements.wait(written.position, written.dualWriteTimeoutMs)) return;
    }
    ownWrites.note(key, written.position);
  }
}
