/**
 * The rows in a stream of JSON, one at a time: of `wrangler d1 execute --json`, which is
 * `[{ "results": [ROW, …], "success": true, "meta": { … } }, …]`, or of a plain array of rows.
 */
import { CrossfadeError } from '../errors.ts';

export interface JsonRow {
  /** A JSON object. */
  text: string;
  /** Line of its brace, from 1. */
  line: number;
}

/** A row of D1 has 2 MB at most, and JSON writes a byte with six characters at most. */
const LARGEST_ROW = 256 * 1024 * 1024;
/** Enough for the word and some space. */
const TAIL = 40;
const RESULTS = /"results"\s*:\s*$/;
const [LF, QUOTE, BACKSLASH, COMMA] = [0x0a, 0x22, 0x5c, 0x2c];
const [OPEN_ARRAY, CLOSE_ARRAY, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];

export class JsonRows {
  /** Open brackets and braces. */
  private depth = 0;
  private inString = false;
  private escaped = false;
  /** Depth of the array whose objects are rows; 1 until an element of the outer array shows that it is an envelope. */
  private rowsDepth = 1;
  private envelope = '';
  private parts: Buffer[] = [];
  private size = 0;
  private rowLine = 0;
  private line = 1;
  private done = false;
  private seen = false;

  /** @throws CrossfadeError InvalidInput, without the file's name */
  *push(chunk: Buffer): Generator<JsonRow> {
    let from = 0;
    for (let i = 0; i < chunk.length; i++) {
      const byte = chunk[i]!;
      if (byte === LF) this.line++;
      if (this.inString) {
        if (this.escaped) this.escaped = false;
        else if (byte === BACKSLASH) this.escaped = true;
        else if (byte === QUOTE) this.inString = false;
        continue;
      }
      if (byte === QUOTE) {
        if (this.depth === 0) throw this.fault('it is no array of rows');
        this.inString = true;
      } else if (byte === OPEN_ARRAY || byte === OPEN_OBJECT) {
        if (this.depth === 0) this.beginFile(byte);
        const inElement = this.depth === 2 && this.rowsDepth === 1;
        if (inElement && byte === OPEN_ARRAY && RESULTS.test(this.tail(chunk, from, i))) {
          // What was taken for a row is the envelope of several.
          this.envelope += `${this.taken(chunk, from, i)}[]`;
          this.rowsDepth = 3;
        } else if (this.depth === this.rowsDepth) {
          if (byte !== OPEN_OBJECT) throw this.fault('there is an array where a row is expected');
          this.rowLine = this.line;
          from = i;
        }
        this.depth++;
      } else if (byte === CLOSE_ARRAY || byte === CLOSE_OBJECT) {
        this.depth--;
        if (this.depth < 0) throw this.fault(`there is a "${String.fromCharCode(byte)}" too many`);
        if (this.depth === this.rowsDepth && byte === CLOSE_OBJECT) {
          const text = this.taken(chunk, from, i + 1);
          if (this.rowsDepth === 3) yield { text, line: this.rowLine };
          else yield* this.element(text);
        } else if (this.rowsDepth === 3 && this.depth === 2) {
          // The end of the results; the rest of the envelope follows.
          this.rowsDepth = 1;
          from = i + 1;
        }
        if (this.depth === 0) this.done = true;
      } else if (this.depth === 0 && byte > 0x20 && !this.isMark(byte)) {
        throw this.fault('it is no JSON');
      } else if (this.depth === this.rowsDepth && byte > 0x20 && byte !== COMMA) {
        throw this.fault('there is something other than a row among the rows');
      }
    }
    if (this.depth > this.rowsDepth) {
      const part = chunk.subarray(from);
      this.parts.push(part);
      this.size += part.length;
      if (this.size > LARGEST_ROW) throw this.fault(`a row begins in line ${this.rowLine} that has no end`);
    }
  }

  /** @throws CrossfadeError InvalidInput where the JSON has not ended */
  end(): void {
    if (!this.seen) throw this.fault('it is empty');
    if (!this.done) throw this.fault('it ends in the middle of the JSON: the file is cut off');
  }

  private beginFile(byte: number): void {
    if (this.done) throw this.fault('something follows the end of the JSON');
    this.seen = true;
    // wrangler tells a failure as { "error": … }.
    if (byte === OPEN_OBJECT)
      throw this.fault('it is a single object, not rows: did the command that wrote it fail?');
  }

  /** An element of the outer array: a row, or the end of an envelope. */
  private *element(text: string): Generator<JsonRow> {
    const whole = this.envelope + text;
    const wasEnvelope = this.envelope !== '';
    this.envelope = '';
    if (!wasEnvelope) {
      yield { text: whole, line: this.rowLine };
      return;
    }
    let parsed: { success?: unknown };
    try {
      parsed = JSON.parse(whole) as typeof parsed;
    } catch (error) {
      throw this.fault(`it is no JSON that wrangler writes`, error);
    }
    if (parsed.success !== true)
      throw this.fault('the command that wrote it did not succeed (no "success": true)');
  }

  /** The bytes of the row or element under way. */
  private taken(chunk: Buffer, from: number, to: number): string {
    const text = Buffer.concat([...this.parts, chunk.subarray(from, to)]).toString('utf8');
    this.parts = [];
    this.size = 0;
    return text;
  }

  /** The last characters of the element, before an offset. */
  private tail(chunk: Buffer, from: number, to: number): string {
    let text = chunk.toString('latin1', Math.max(from, to - TAIL), to);
    for (let i = this.parts.length - 1; i >= 0 && text.length < TAIL; i--) {
      text = this.parts[i]!.toString('latin1').slice(-TAIL) + text;
    }
    return text;
  }

  /** A byte order mark. */
  private isMark(byte: number): boolean {
    return !this.seen && [0xef, 0xbb, 0xbf].includes(byte);
  }

  private fault(what: string, cause?: unknown): CrossfadeError {
    return new CrossfadeError('InvalidInput', `line ${this.line}: ${what}`, cause);
  }
}
