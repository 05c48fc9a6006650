/**
 * Turns the buffers that SQLite's encoding returns into PostgreSQL's COPY text, exactly as the server's own COPY … TO
 * would write it. One pass over the bytes, into memory that is used again: fresh pages for every batch cost as much as
 * the pass.
 */
import { GrowingBuffer } from '../growing-buffer.ts';
import { CELL, NONCE, NULL_MARK, ROW } from './encode.ts';

/** What becomes of a byte: 0 it stays, MARK it is structure, else the letter that follows a backslash in its place. */
const ACTIONS = new Uint8Array(256);
const MARK = 1;
for (const [byte, letter] of [
  [0x08, 'b'],
  [0x09, 't'],
  [0x0a, 'n'],
  [0x0b, 'v'],
  [0x0c, 'f'],
  [0x0d, 'r'],
  [0x5c, '\\'],
] as const) {
  ACTIONS[byte] = letter.charCodeAt(0);
}
for (const mark of [CELL, ROW, NULL_MARK]) ACTIONS[mark] = MARK;

/** COPY text of one chunk after the other. */
export class CopyBuffer extends GrowingBuffer {
  /**
   * Appends the rows of a buffer from SQLite.
   * @returns false where its structure is not that of `rows` rows, because a text is not valid UTF-8; then nothing is appended
   */
  appendRows(data: Buffer, columns: number, rows: number): boolean {
    this.reserve(data.length * 2 + 1);
    const out = this.bytes;
    const end = data.length;
    let o = this.used;
    let cells = 1;
    let lines = 1;
    let start = 0;
    for (let i = 0; i < end; i++) {
      const byte = data[i]!;
      const action = ACTIONS[byte]!;
      if (action === 0) {
        out[o++] = byte;
      } else if (byte === CELL) {
        out[o++] = 0x09;
        cells++;
        start = i + 1;
      } else if (byte === ROW) {
        out[o++] = 0x0a;
        cells++;
        lines++;
        start = i + 1;
      } else if (byte === NULL_MARK) {
        const after = i + 1 + NONCE.length;
        const whole = after === end || data[after] === CELL || data[after] === ROW;
        if (i !== start || !whole || !isNonce(data, i + 1)) return false;
        out[o++] = 0x5c;
        out[o++] = 0x4e;
        i = after - 1;
      } else {
        out[o++] = 0x5c;
        out[o++] = action;
      }
    }
    out[o++] = 0x0a;
    if (cells !== rows * columns || lines !== rows) return false;
    this.used = o;
    return true;
  }
}

/** Not `Buffer.compare`: a call out of JavaScript for every NULL costs more than the pass over its row. */
export function isNonce(data: Buffer, at: number): boolean {
  for (let i = 0; i < NONCE.length; i++) if (data[at + i] !== NONCE[i]) return false;
  return true;
}

/** COPY text of one buffer from SQLite; null where `CopyBuffer.appendRows` would refuse it. */
export function toCopyText(data: Buffer, columns: number, rows: number): Buffer | null {
  const buffer = new CopyBuffer();
  return buffer.appendRows(data, columns, rows) ? buffer.contents : null;
}
