/** What happened in a run and when, for whoever has to find out why it failed. */
export class Timeline {
  readonly #lines: string[] = [];
  readonly #start = performance.now();
  #last = this.#start;

  add(what: string): void {
    this.#last = performance.now();
    const seconds = ((this.#last - this.#start) / 1_000).toFixed(3);
    this.#lines.push(`${seconds.padStart(8)} s  ${what}`);
  }

  get ageMs(): number {
    return performance.now() - this.#start;
  }

  /** Since the last line. */
  get quietMs(): number {
    return performance.now() - this.#last;
  }

  get lines(): readonly string[] {
    return this.#lines;
  }
}
