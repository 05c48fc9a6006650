/**
 * Lets the event loop turn. better-sqlite3 answers at once, so that a loop of awaited statements would run in
 * microtasks only: no timer, no socket and no other request of the process would ever have its turn.
 */
const LONGEST_TURN_MS = 5;

export class Turns {
  /** When the first statement of this turn ended, performance.now(); 0 where there was none. */
  #since = 0;

  /** After a statement: what to await before answering, undefined where there is time left in this turn. */
  over(): Promise<void> | undefined {
    const now = performance.now();
    if (this.#since === 0) {
      this.#since = now;
      setImmediate(() => {
        this.#since = 0;
      });
      return undefined;
    }
    if (now - this.#since < LONGEST_TURN_MS) return undefined;
    return new Promise((resolve) => setImmediate(resolve));
  }
}
