/** Moments that processes on one machine may compare. */

/** Milliseconds since 1970, with a fraction. */
export function epochMs(): number {
  return performance.timeOrigin + performance.now();
}
