/** What the application counts about itself, independently of crossfade's own figures. */

/** Sent to the conductor twice a second; counts are since the start unless the name says otherwise. */
export interface ApplicationFigures {
  primary: 'source' | 'target';
  reads: number;
  writes: number;
  /** Within the last window. */
  readsPerSecond: number;
  writesPerSecond: number;
  p50Ms: number;
  p95Ms: number;
  /** Unexpected failures of reads and writes, wrong answers included. */
  errors: number;
  /** Answers that cannot be: stale reads, rows changed in another number, a duplicate that was accepted. */
  wrongAnswers: number;
  lastError: string | null;
  /** Reads that did not see the application's own last acknowledged write. */
  staleReads: number;
  /** Writes that had to be refused (a duplicate, an uncovered transfer) and were. */
  refusals: number;
  unknown: number;
  /** The longest time in which writes waited and none was acknowledged. */
  longestPauseMs: number;
  /** One per change of primary, with the longest time around it in which writes waited and none was acknowledged. */
  switches: { to: 'source' | 'target'; pauseMs: number; at: number }[];
  alerts: Record<string, number>;
  /** Acknowledged writes per primary. */
  acknowledged: Record<'source' | 'target', number>;
}

/**
 * Pauses that end this long before or after the first acknowledgement of a new primary belong to the switch: a write of
 * the old primary that waits for its second database may be acknowledged in between.
 */
const AROUND_SWITCH_MS = 3_000;

export class Figures {
  readonly #onError: ((message: string) => void) | undefined;
  #reads = 0;
  #writes = 0;
  #errors = 0;
  #lastError: string | null = null;
  #wrongAnswers = 0;
  #staleReads = 0;
  #refusals = 0;
  #unknown = 0;
  readonly #alerts: Record<string, number> = {};
  readonly #acknowledged = { source: 0, target: 0 };
  /** `at` by the clock of performance.now(). */
  readonly #switches: { to: 'source' | 'target'; date: number; at: number; pauseMs: number }[] = [];
  /** The pauses of the last seconds. */
  #pauses: { at: number; ms: number }[] = [];

  #waitingWrites = 0;
  /** Since when writes have waited without any acknowledgement. */
  #quietSince = 0;
  #longestPauseMs = 0;
  #lastPrimary: 'source' | 'target' | null = null;

  #windowStart = performance.now();
  #windowReads = 0;
  #windowWrites = 0;
  #latencies: number[] = [];

  constructor(onError?: (message: string) => void) {
    this.#onError = onError;
  }

  read(ms: number): void {
    this.#reads++;
    this.#windowReads++;
    this.#latencies.push(ms);
  }

  writeSent(): void {
    if (this.#waitingWrites++ === 0) this.#quietSince = performance.now();
  }

  writeAcknowledged(ms: number, primary: 'source' | 'target'): void {
    const now = performance.now();
    this.#writeEnded(now);
    this.#writes++;
    this.#windowWrites++;
    this.#latencies.push(ms);
    this.#acknowledged[primary]++;
    if (this.#lastPrimary !== null && this.#lastPrimary !== primary) {
      const pauseMs = Math.max(0, ...this.#pauses.map(({ ms: pause }) => pause));
      this.#switches.push({ to: primary, date: Date.now(), at: now, pauseMs });
    }
    this.#lastPrimary = primary;
  }

  /** `expected`: the application sent it to be refused. */
  writeFailed(outcome: 'refused' | 'unknown', expected: boolean, error: string): void {
    this.#writeEnded(performance.now());
    if (outcome === 'unknown') this.#unknown++;
    else if (expected) this.#refusals++;
    if (!expected) this.error(error);
  }

  staleRead(what: string): void {
    this.#staleReads++;
    this.wrongAnswer(`stale read: ${what}`);
  }

  wrongAnswer(message: string): void {
    this.#wrongAnswers++;
    this.error(message);
  }

  error(message: string): void {
    this.#errors++;
    this.#lastError = message;
    this.#onError?.(message);
  }

  alert(name: string): void {
    this.#alerts[name] = (this.#alerts[name] ?? 0) + 1;
  }

  #writeEnded(now: number): void {
    const ms = now - this.#quietSince;
    this.#longestPauseMs = Math.max(this.#longestPauseMs, ms);
    this.#pauses = this.#pauses.filter(({ at }) => now - at < AROUND_SWITCH_MS);
    this.#pauses.push({ at: now, ms });
    const latest = this.#switches.at(-1);
    if (latest !== undefined && now - latest.at < AROUND_SWITCH_MS)
      latest.pauseMs = Math.max(latest.pauseMs, ms);
    this.#quietSince = now;
    this.#waitingWrites--;
  }

  /** The figures now; starts the next window. */
  take(primary: 'source' | 'target'): ApplicationFigures {
    const now = performance.now();
    const seconds = Math.max(0.001, (now - this.#windowStart) / 1_000);
    const sorted = this.#latencies.sort((a, b) => a - b);
    const quantile = (q: number): number => sorted[Math.floor(q * (sorted.length - 1))] ?? 0;
    const figures: ApplicationFigures = {
      primary,
      reads: this.#reads,
      writes: this.#writes,
      readsPerSecond: this.#windowReads / seconds,
      writesPerSecond: this.#windowWrites / seconds,
      p50Ms: quantile(0.5),
      p95Ms: quantile(0.95),
      errors: this.#errors,
      wrongAnswers: this.#wrongAnswers,
      lastError: this.#lastError,
      staleReads: this.#staleReads,
      refusals: this.#refusals,
      unknown: this.#unknown,
      longestPauseMs: Math.round(this.#longestPauseMs),
      switches: this.#switches.map(({ to, date, pauseMs }) => ({
        to,
        pauseMs: Math.round(pauseMs),
        at: date,
      })),
      alerts: { ...this.#alerts },
      acknowledged: { ...this.#acknowledged },
    };
    this.#windowStart = now;
    this.#windowReads = 0;
    this.#windowWrites = 0;
    this.#latencies = [];
    return figures;
  }
}
