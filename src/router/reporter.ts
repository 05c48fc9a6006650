/** Reports the statistics into the target, where the gates read them. Never disturbs the application. */
import { reasonOf, type Alerts } from './alerts.ts';
import { Window, type Statistics } from './statistics.ts';
import type { Target } from './target.ts';

/** Even without traffic, so that the gates know which routers live. */
const SIGN_OF_LIFE_MS = 5_000;

export class Reporter {
  readonly #target: Target;
  readonly #statistics: Statistics;
  readonly #alerts: Alerts;
  readonly #instance: string;
  readonly #intervalMs: number;
  /** Windows whose report has not been accepted yet. */
  #pending = new Window();
  #reportedAt = Number.NEGATIVE_INFINITY;
  #failing = false;
  #timer: NodeJS.Timeout | undefined;
  #reporting: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(target: Target, statistics: Statistics, alerts: Alerts, instance: string, intervalMs: number) {
    this.#target = target;
    this.#statistics = statistics;
    this.#alerts = alerts;
    this.#instance = instance;
    this.#intervalMs = intervalMs;
    this.#schedule();
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

  #schedule(): void {
    this.#timer = setTimeout(() => {
      void this.flush().then(() => {
        if (!this.#closed) this.#schedule();
      });
    }, this.#intervalMs);
    this.#timer.unref();
  }

  async #report(): Promise<void> {
    const { control } = this.#target.view;
    if (control === 'absent' || control === 'none') {
      // No migration: what happened before one is not what its gates judge.
      this.#statistics.take();
      this.#pending = new Window();
      return;
    }
    this.#pending.add(this.#statistics.take());
    // Unreachable: with the next window.
    if (control === 'unreachable') return;
    const rows = this.#pending.rows();
    if (rows.length === 0 && performance.now() - this.#reportedAt < SIGN_OF_LIFE_MS) return;
    try {
      await this.#target.report(this.#instance, rows);
      this.#pending = new Window();
      this.#reportedAt = performance.now();
      this.#failing = false;
    } catch (error) {
      if (!this.#failing)
        this.#alerts.log.warn({ reason: reasonOf(error) }, 'statistics could not be reported');
      this.#failing = true;
    }
  }
}
