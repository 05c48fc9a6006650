/**
 * Keeps the route up to date: about once a second, at once when a write was refused, and every few milliseconds while
 * nobody accepts writes. Nothing rests on the interval; each write is checked where it is made.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { CrossfadeError, messageOf } from '../errors.ts';
import { reasonOf, type Alerts } from './alerts.ts';
import { decide, type RollForward, type Route, type SourceView, type TargetView } from './route.ts';
import type { Target } from './target.ts';
import { unreferenced, type Timer } from './timers.ts';

/** The source as the switchboard needs it. */
export interface SwitchableSource {
  /** The control row and what is around it. */
  view(): SourceView | Promise<SourceView>;
  /** Takes the primary role back. */
  openAgain(migration: string, epoch: number): Promise<boolean>;
}

interface SwitchboardOptions {
  /** Null: nobody polls, the route is what the caller keeps of it. */
  pollMs: number | null;
  fenceTimeoutMs: number;
  /** How often is looked while nobody accepts writes. */
  fencePollMs: number;
  onRoute: (route: Route) => void;
}

export class Switchboard {
  /** Undefined until the first look at both databases. */
  route: Route | undefined;
  readonly #source: SwitchableSource;
  readonly #target: Target | undefined;
  readonly #alerts: Alerts;
  readonly #options: SwitchboardOptions;
  #first: Promise<Route> | undefined;
  #looks = 0;
  /** Number of the look that the route comes from. */
  #applied = 0;
  #settling: Promise<void> | undefined;
  #settledAt = Number.NEGATIVE_INFINITY;
  #lastError: unknown;
  #rollFailure = '';
  #alertedAt = Number.NEGATIVE_INFINITY;
  #timer: Timer | undefined;
  #polling: Promise<void> | undefined;
  #closed = false;

  constructor(
    source: SwitchableSource,
    target: Target | undefined,
    alerts: Alerts,
    options: SwitchboardOptions,
  ) {
    this.#source = source;
    this.#target = target;
    this.#alerts = alerts;
    this.#options = options;
    if (options.pollMs !== null) this.#schedule(options.pollMs);
  }

  /** The route, looked up if it is not known yet. @throws CrossfadeError where the source cannot be opened */
  async ready(): Promise<Route> {
    if (this.route !== undefined) return this.route;
    // One look for all who come before it is done; a failed one is repeated by the next caller.
    this.#first ??= this.refresh().finally(() => {
      this.#first = undefined;
    });
    return this.#first;
  }

  /** Looks at both databases and rolls a switch forward that has passed its commit point. */
  async refresh(): Promise<Route> {
    const route = await this.#lookAtBoth();
    if (route.rollForward === undefined) return route;
    await this.#roll(route.rollForward);
    return this.#lookAtBoth();
  }

  /** Looks at the source, and at the target as well unless the source's row alone decides who takes writes. */
  async glance(): Promise<Route> {
    const source = await this.#source.view();
    if (source.control !== 'present' || source.row.state === 'moved') return this.refresh();
    return this.#apply((this.#looks += 1), source, this.#target?.view ?? { control: 'none' });
  }

  /**
   * Waits until a database accepts writes again, for a write that was refused.
   * @param deadline performance.now() at which to give up
   * @throws CrossfadeError Fenced
   */
  async settle(deadline: number): Promise<void> {
    do {
      const left = deadline - performance.now();
      if (left <= 0 || this.#closed) throw this.#fenced();
      await atMost(left, this.#lookSoon());
    } while (this.route?.accepts !== true);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await Promise.allSettled([this.#polling, this.#settling, this.#first]);
  }

  /** One look for all waiting writes, at once or `fencePollMs` after the one before. Never rejects. */
  #lookSoon(): Promise<void> {
    this.#settling ??= (async () => {
      const wait = this.#settledAt + this.#options.fencePollMs - performance.now();
      if (wait > 0) await sleep(wait);
      this.#settledAt = performance.now();
      try {
        await this.glance();
        this.#lastError = undefined;
      } catch (error) {
        this.#lastError = error;
      }
    })().finally(() => {
      this.#settling = undefined;
    });
    return this.#settling;
  }

  async #lookAtBoth(): Promise<Route> {
    // The source first: a target that opens afterwards is only found later, one that is found open was opened by
    // what the source says now.
    const look = (this.#looks += 1);
    const source = await this.#source.view();
    const target: TargetView = this.#target === undefined ? { control: 'none' } : await this.#target.look();
    return this.#apply(look, source, target);
  }

  #apply(look: number, source: SourceView, target: TargetView): Route {
    const before = this.route;
    // A look that had to wait for the target must not undo a later one that had not.
    if (before !== undefined && look < this.#applied) return before;
    this.#applied = look;
    let route = decide(source, target);
    if (before?.primary === 'target' && source.control === 'absent' && target.control === 'unreachable') {
      // A finished migration leaves no control row in the source: that the target does not answer now must not make
      // the old database the primary again.
      route = { ...before, sourceVersion: source.version, situation: route.situation };
    }
    this.route = route;
    if (before !== undefined && before.primary !== route.primary) {
      this.#alerts.log.info({ primary: route.primary }, `the primary is the ${route.primary} now`);
    }
    this.#options.onRoute(route);
    return route;
  }

  async #roll(step: RollForward): Promise<void> {
    try {
      if (step.open === 'target') await this.#target?.open(step.epoch, step.token);
      else await this.#source.openAgain(step.migration, step.epoch);
      this.#rollFailure = '';
    } catch (error) {
      this.#lastError = error;
      const message = `the ${step.open} could not be opened with epoch ${step.epoch}: ${reasonOf(error)}`;
      // Tried again with every look; told once.
      if (message !== this.#rollFailure) this.#alerts.raise('roll_forward_failed', message);
      this.#rollFailure = message;
    }
  }

  #fenced(): CrossfadeError {
    const { route } = this;
    const message =
      `no database accepted the write within ${this.#options.fenceTimeoutMs} ms; it was not applied. ` +
      `${route?.situation ?? 'nothing is known of either database'}. See where the migration stands: crossfade status`;
    // Writes that waited together give up together.
    if (performance.now() - this.#alertedAt > 1_000) {
      this.#alertedAt = performance.now();
      this.#alerts.raise('fence_timeout', message);
    }
    const unreachable = this.#target?.view.control === 'unreachable' ? this.#target.view.error : undefined;
    return new CrossfadeError('Fenced', message, this.#lastError ?? unreachable);
  }

  #schedule(pollMs: number): void {
    this.#timer = unreferenced(
      setTimeout(() => {
        this.#polling = this.#poll().finally(() => {
          if (!this.#closed) this.#schedule(pollMs);
        });
      }, pollMs),
    );
  }

  async #poll(): Promise<void> {
    try {
      await this.refresh();
    } catch (error) {
      // The route stays; each operation meets the same error by itself.
      this.#alerts.log.warn({ reason: messageOf(error) }, 'the control rows could not be read');
    }
  }
}

/** Waits for `work`, which never rejects, but not longer than `ms`: a look at an unreachable target may take seconds. */
function atMost(ms: number, work: Promise<void>): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    void work.then(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
