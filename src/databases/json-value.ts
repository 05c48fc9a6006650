/**
 * JSON as values: two texts that PostgreSQL's jsonb takes for the same have the same canonical text here. Numbers are
 * compared as decimals, of any length; of a name that occurs twice the last counts.
 */
import { isUtf8 } from 'node:buffer';

/** SQLite's own limit, and far below the depth at which PostgreSQL gives up. */
const DEPTH = 1_000;
/** Digits of a jsonb number before and after the point (https://www.postgresql.org/docs/current/datatype-numeric.html). */
const WHOLE_DIGITS = 131_072;
const FRACTION_DIGITS = 16_383;

const SPACE = /[ \t\n\r]*/y;
// Of the control characters JSON forbids those of ASCII.
const STRING = /"(?:[^"\\\p{Cc}]|[\u007f-\u009f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/uy;
const NUMBER = /(-?)(0|[1-9]\d*)(?:\.(\d+))?(?:[eE]([+-]?\d+))?/y;
const HALF_PAIR = /\p{Surrogate}/u;
const WORD = /true|false|null/y;

/** @returns null where jsonb cannot hold the text: not JSON, or \u0000, half a surrogate pair, a number without end */
export function canonicalJson(text: string): string | null {
  try {
    return new Reader(text).whole();
  } catch (error) {
    if (error instanceof NotJson) return null;
    throw error;
  }
}

/** As `canonicalJson`, of a text's bytes; null also where they are not UTF-8. */
export function canonicalJsonBytes(bytes: Buffer): string | null {
  return isUtf8(bytes) ? canonicalJson(bytes.toString('utf8')) : null;
}

class NotJson extends Error {}

class Reader {
  private readonly text: string;
  private at = 0;

  constructor(text: string) {
    this.text = text;
  }

  whole(): string {
    const value = this.value(0);
    if (this.at < this.text.length) throw new NotJson();
    return value;
  }

  /** A value with the space around it. */
  private value(depth: number): string {
    if (depth > DEPTH) throw new NotJson();
    this.match(SPACE);
    const value = this.bare(depth);
    this.match(SPACE);
    return value;
  }

  private bare(depth: number): string {
    switch (this.text[this.at]) {
      case '{':
        return this.object(depth);
      case '[':
        return `[${this.list(']', () => this.value(depth + 1)).join(',')}]`;
      case '"':
        return JSON.stringify(this.string());
      default:
        return this.match(WORD)?.[0] ?? this.number();
    }
  }

  private object(depth: number): string {
    const members = new Map<string, string>();
    this.list('}', () => {
      this.match(SPACE);
      const name = this.string();
      this.match(SPACE);
      this.expect(':');
      members.set(name, this.value(depth + 1));
    });
    const names = [...members.keys()].sort();
    return `{${names.map((name) => `${JSON.stringify(name)}:${members.get(name)!}`).join(',')}}`;
  }

  private list<T>(end: ']' | '}', item: () => T): T[] {
    this.at++;
    const items: T[] = [];
    this.match(SPACE);
    if (this.text[this.at] === end) {
      this.at++;
      return items;
    }
    for (;;) {
      items.push(item());
      if (this.text[this.at] === end) break;
      this.expect(',');
    }
    this.at++;
    return items;
  }

  private string(): string {
    const quoted = this.match(STRING)?.[0];
    if (quoted === undefined) throw new NotJson();
    const value = JSON.parse(quoted) as string;
    if (value.includes('\0') || HALF_PAIR.test(value)) throw new NotJson();
    return value;
  }

  private number(): string {
    const [, sign, whole, fraction = '', exponent = '0'] = this.match(NUMBER) ?? [];
    if (whole === undefined) throw new NotJson();
    const power = Number(exponent) - fraction.length;
    const digits = (whole + fraction).replace(/^0+/, '');
    if (-power > FRACTION_DIGITS || digits.length + power > WHOLE_DIGITS || Number(exponent) > WHOLE_DIGITS) {
      throw new NotJson();
    }
    const significant = digits.replace(/0+$/, '');
    if (significant === '') return '0';
    return `${sign}${significant}e${power + digits.length - significant.length}`;
  }

  private expect(character: string): void {
    if (this.text[this.at] !== character) throw new NotJson();
    this.at++;
  }

  /** What the sticky pattern finds here, and goes on behind it. */
  private match(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found !== null) this.at = pattern.lastIndex;
    return found;
  }
}
