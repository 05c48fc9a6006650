/** Rates over the last seconds, for progress reports. */
const WINDOW_MS = 5_000;

export class RateMeter {
  private samples: { at: number; rows: number; bytes: number }[] = [];

  /** Adds what was just done. @returns rates over the last five seconds */
  add(rows: number, bytes: number): { rowsPerSecond: number; bytesPerSecond: number } {
    const now = performance.now();
    this.samples.push({ at: now, rows, bytes });
    while (this.samples.length > 1 && this.samples[0]!.at < now - WINDOW_MS) this.samples.shift();
    const seconds = Math.max(0.001, (now - this.samples[0]!.at) / 1_000);
    const [rowSum, byteSum] = this.samples
      .slice(1)
      .reduce(([r, b], sample) => [r + sample.rows, b + sample.bytes], [0, 0]);
    return { rowsPerSecond: Math.round(rowSum / seconds), bytesPerSecond: Math.round(byteSum / seconds) };
  }
}
