/** Bytes that are appended one after the other, in memory that is used again. */

/** One huge value does not cost its memory for good. */
const KEPT_BYTES = 16 * 1024 * 1024;

export class GrowingBuffer {
  protected bytes = Buffer.alloc(0);
  protected used = 0;

  /** All bytes so far; valid until more are appended or `clear` is called. */
  get contents(): Buffer {
    return this.bytes.subarray(0, this.used);
  }

  get length(): number {
    return this.used;
  }

  clear(): void {
    this.used = 0;
    if (this.bytes.length > KEPT_BYTES) this.bytes = Buffer.alloc(0);
  }

  append(chunk: Uint8Array): void {
    this.reserve(chunk.length);
    this.bytes.set(chunk, this.used);
    this.used += chunk.length;
  }

  /** Makes room for so many more bytes in `bytes`, from `used` on. */
  protected reserve(more: number): void {
    const needed = this.used + more;
    if (needed <= this.bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2));
    this.bytes.copy(grown, 0, 0, this.used);
    this.bytes = grown;
  }
}
