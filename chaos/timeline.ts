/** What happened in a run and when, for whoever has to find out why it failed. */
export class Timeline {
  readonly #lines: string[] = [];
  readonly #start = performance.now();

  add(what: string): void {
    const seconds = ((performance.now() - this.#start) / 1_000).toFixed(3);
    this.#lines.push(`${seconds.padStart(8)} s  ${what}`);
  }

  get lines(): readonly string[] {
    return this.#lines;
  }
}
