/** Runs a task in a process of its own: its memory is nobody else's, and its event loop serves nothing else. */

/** What the process sends back. */
export type Answer<Result> =
  | {
      result: Result;
      ms: number;
      /** Resident set before the task, and the greatest until its end, bytes. */
      rssBefore: number;
      peakRss: number;
    }
  | { error: string };

/** Called by the module of a task: waits for the input, runs the task, answers, ends. */
export function serve<Input, Result>(task: (input: Input) => Promise<Result>): void {
  // Nobody waits for the answer once the benchmark has ended.
  process.once('disconnect', () => process.exit(1));
  process.once('message', (input: Input) => {
    const rssBefore = process.memoryUsage().rss;
    const started = performance.now();
    void task(input)
      .then(
        (result): Answer<Result> => ({
          result,
          ms: performance.now() - started,
          rssBefore,
          // Kilobytes, also where getrusage counts bytes: libuv converts.
          peakRss: process.resourceUsage().maxRSS * 1024,
        }),
        (error: unknown): Answer<Result> => ({
          error: error instanceof Error ? (error.stack ?? error.message) : String(error),
        }),
      )
      .then((answer) => {
        process.removeAllListeners('disconnect');
        process.send?.(answer, undefined, undefined, () => process.disconnect());
      });
  });
}
