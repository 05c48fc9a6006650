/** Lets one holder in at a time, in order of arrival. Taking it free costs no promise. */
export class Mutex {
  #held = false;
  readonly #waiting: Waiter[] = [];

  /** Takes the mutex if it is free. */
  tryLock(): boolean {
    if (this.#held) return false;
    this.#held = true;
    return true;
  }

  /** Resolves to true when the mutex was taken, to false when `timeoutMs` passed before. */
  lock(timeoutMs: number): Promise<boolean> {
    if (this.tryLock()) return Promise.resolve(true);
    return new Promise((resolve) => {
      const waiter: Waiter = { taken: () => resolve(true), timer: undefined };
      waiter.timer = setTimeout(() => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        resolve(false);
      }, timeoutMs);
      this.#waiting.push(waiter);
    });
  }

  unlock(): void {
    const next = this.#waiting.shift();
    if (next === undefined) {
      this.#held = false;
      return;
    }
    clearTimeout(next.timer);
    next.taken();
  }
}

interface Waiter {
  taken: () => void;
  timer: NodeJS.Timeout | undefined;
}
