/** Texts of SQLite that are not valid UTF-8: as JavaScript strings they would be other texts. */
import { isUtf8 } from 'node:buffer';

export class InvalidText {
  readonly bytes: Buffer;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  /** As better-sqlite3 gives it to an application, with a replacement character for what is not valid. */
  toString(): string {
    return this.bytes.toString('utf8');
  }
}

/** Might this string, as the driver made it, stand for bytes that are not valid UTF-8? */
export function mayBeInvalid(value: unknown): boolean {
  return typeof value === 'string' && value.includes('\ufffd');
}

/** The text of these bytes. */
export function textOf(bytes: Buffer): string | InvalidText {
  return isUtf8(bytes) ? bytes.toString('utf8') : new InvalidText(bytes);
}
