/** Spreads operations evenly over time, whoever asks for the next one. */
export class Pace {
  readonly #intervalMs: number;
  #next = performance.now();
  #stopped = false;
  readonly #waiting = new Map<NodeJS.Timeout, () => void>();

  /** @param perSecond operations per second, all lanes together */
  constructor(perSecond: number) {
    this.#intervalMs = 1_000 / perSecond;
  }

  /** Resolves with true at the caller's turn, with false once stopped. */
  async turn(): Promise<boolean> {
    if (this.#stopped) return false;
    const now = performance.now();
    // After a pause the missed operations are not made up for: users do not click faster afterwards either.
    this.#next = Math.max(this.#next + this.#intervalMs, now - 50);
    const wait = this.#next - now;
    if (wait > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(() => {
          this.#waiting.delete(timer);
          resolve();
        }, wait);
        this.#waiting.set(timer, resolve);
      });
    } else {
      // A turn of the event loop even when behind: SQLite answers synchronously and would never yield.
      await new Promise((resolve) => setImmediate(resolve));
    }
    return !this.#stopped;
  }

  stop(): void {
    this.#stopped = true;
    for (const [timer, resolve] of this.#waiting) {
      clearTimeout(timer);
      resolve();
    }
    this.#waiting.clear();
  }
}
