/** Reports the statistics into the target, where the gates read them. Never disturbs the application. */
import { reasonOf, type Alerts } from './alerts.ts';
import { unreferenced, type Timer } from './timers.ts';
import { Window, type Statistics } from './statistics.ts';
import type { Target } from './target.ts';

/** Even without traffic, so that the gates know which routers live. */
const SIGN_OF_LIFE_MS = 5_000;

/** What is still to be told, shared by all who report under one name. */
export class Unreported {
  /** Windows whose report has not been accepted yet. */
  pending = new Window();
  /** When a report was begun, performance.now(). */
  begunAt = Number.NEGATIVE_INFINITY;
  /** When a report was accepted, performance.now(). */
  reportedAt = Number.NEGATIVE_INFINITY;
  failing = false;
}

export class Reporter {
  readonly #target: Target;
  readonly #statistics: Statistics;
  readonly #alerts: Alerts;
  readonly #instance: string;
  readonly #state: Unreported;
  #timer: Timer | undefined;
  #reporting: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(
    target: Target,
    statistics: Statistics,
    alerts: Alerts,
    instance: string,
    state: Unreported = new Unreported(),
  ) {
    this.#target = target;
    this.#statistics = statistics;
    this.#alerts = alerts;
    this.#instance = instance;
    this.#state = state;
  }

  /** Reports by itself from now on, until `close`. */
  every(intervalMs: number): this {
    this.#schedule(intervalMs);
    return this;
  }

  /** Reports what happened since the last report; never rejects. */
  flush(): Promise<void> {
    this.#reporting = this.#reporting.then(() => this.#report());
    return this.#reporting;
  }

  /** The last report included. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.flush();
  }

  #schedule(intervalMs: number): void {
    this.#timer = unreferenced(
      setTimeout(() => {
        void this.flush().then(() => {
          if (!this.#closed) this.#schedule(intervalMs);
        });
      }, intervalMs),
    );
  }

  async #report(): Promise<void> {
    const state = this.#state;
    const { control } = this.#target.view;
    state.begunAt = performance.now();
    if (control === 'absent' || control === 'none') {
      // No migration: what happened before one is not what its gates judge.
      this.#statistics.take();
      state.pending = new Window();
      return;
    }
    state.pending.add(this.#statistics.take());
    // Unreachable: with the next window.
    if (control === 'unreachable') return;
    // Taken out, so that nobody else reports it meanwhile.
    const window = state.pending;
    state.pending = new Window();
    const rows = window.rows();
    if (rows.length === 0 && performance.now() - state.reportedAt < SIGN_OF_LIFE_MS) return;
    try {
      await this.#target.report(this.#instance, rows);
      state.reportedAt = performance.now();
      state.failing = false;
    } catch (error) {
      state.pending.add(window);
      if (!state.failing)
        this.#alerts.log.warn({ reason: reasonOf(error) }, 'statistics could not be reported');
      state.failing = true;
    }
  }
}
