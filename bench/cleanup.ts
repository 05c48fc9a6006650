/** What has to be undone when the benchmark ends, however it ends: the last first. */

export class Cleanup {
  readonly #steps = new Set<{ what: string; undo: () => Promise<void> | void }>();

  /** @returns undoes it now instead of at the end */
  add(what: string, undo: () => Promise<void> | void): () => Promise<void> {
    const step = { what, undo };
    this.#steps.add(step);
    return async () => {
      if (this.#steps.delete(step)) await undo();
    };
  }

  /** Runs every step that is left, also after one has failed. @throws AggregateError naming the steps that failed */
  async run(): Promise<void> {
    const failures: Error[] = [];
    for (const step of [...this.#steps].reverse()) {
      this.#steps.delete(step);
      try {
        await step.undo();
      } catch (error) {
        failures.push(new Error(`could not ${step.what}`, { cause: error }));
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, failures.map(String).join('; '));
  }
}
