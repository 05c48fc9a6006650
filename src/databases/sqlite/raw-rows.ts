/**
 * Rows as SQLite's encoding returns them, kept as they are: whoever finds them equal to the target's text needs no COPY
 * text of them. See `encode.ts` for the form.
 */
import { CopyBuffer } from './copy-buffer.ts';
import { ROW } from './encode.ts';

export class RawRows {
  /** Buffers of whole rows, in their order. */
  readonly parts: { data: Buffer; rows: number }[] = [];
  length = 0;
  private readonly last = new CopyBuffer();

  /** As `CopyBuffer.appendRows`, but a text that is not valid UTF-8 is only found out where it would hide the last row. */
  appendRows(data: Buffer, columns: number, rows: number): boolean {
    if (rows === 0 || countRows(data) !== rows) return false;
    this.last.clear();
    if (!this.last.appendRows(data.subarray(data.lastIndexOf(ROW) + 1), columns, 1)) return false;
    this.parts.push({ data, rows });
    this.length += data.length + 1;
    return true;
  }

  /** COPY text of the last row. */
  get lastLine(): Buffer {
    return this.last.contents;
  }

  clear(): void {
    this.parts.length = 0;
    this.length = 0;
  }

  /** @returns false, with nothing certain appended, where some text is not valid UTF-8 */
  appendTo(text: CopyBuffer, columns: number): boolean {
    return this.parts.every(({ data, rows }) => text.appendRows(data, columns, rows));
  }
}

function countRows(data: Buffer): number {
  let rows = 1;
  for (let at = data.indexOf(ROW); at >= 0; at = data.indexOf(ROW, at + 1)) rows++;
  return rows;
}
