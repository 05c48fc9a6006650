/**
 * Columns that mix storage classes, as the target holds them: varchar whose text says the class of each value, so that
 * it goes back as it was. A number stands as its digits and a text as itself, so that ordinary conditions find both;
 * what would then be mistaken is marked:
 *
 *     5         integer        \x00ff    blob
 *     5.0       real           \s5       the text 5
 *     abc       text           \rInf     real, infinite
 *     \abc      text           \t6100    the text of these bytes, which has a NUL or is not valid UTF-8
 *
 * A column with TEXT affinity holds no numbers, so that there 5 is a text: its type is `DIGITS_ARE_TEXT`.
 */
import { isUtf8 } from 'node:buffer';
import { textOf, type InvalidText } from './invalid-text.ts';
import type { KeyValue } from './key.ts';

/** PostgreSQL's pattern of the texts that stand for a number: of these a column with a numeric affinity keeps one form. */
export const MIXED_NUMBER = '^-?[0-9]+(\\.[0-9]+)?(e[+-]?[0-9]+)?$';

/** Characters that PostgreSQL's varchar may be limited to, at most. */
const MOST_CHARACTERS = 10_485_760;

/** Type of a mixed column in which no text stands for a number: the greatest limit of a varchar, by which the router knows it. */
export const DIGITS_ARE_TEXT = `varchar(${MOST_CHARACTERS})`;

/** How PostgreSQL's protocol tells that limit: with the four bytes of its header (VARHDRSZ). */
export const DIGITS_ARE_TEXT_MODIFIER = MOST_CHARACTERS + 4;

/** Bytes of a value that certainly fits into such a column, each as two digits. */
export const MOST_BYTES = 5_000_000;

/**
 * The SQLite value that a text of a mixed column stands for.
 * @param numbers false where a text that reads as one stands for itself
 */
export function mixedValue(text: string, numbers = true): Exclude<KeyValue, null> {
  if (text.startsWith('\\s')) return isMistaken(unmarked(text), numbers) ? text.slice(2) : text;
  if (text.startsWith('\\')) return markedValue(text, numbers);
  const form = numbers ? numberIn(text) : null;
  if (form === null) return text;
  return (form === 'integer' ? int64(text) : null) ?? Number(text);
}

/** Not a regular expression: over millions of digits V8's overflows its stack. */
function numberIn(text: string): 'integer' | 'real' | null {
  let at = text.startsWith('-') ? 1 : 0;
  const digits = (): boolean => {
    const from = at;
    while (isDigit(text.charCodeAt(at))) at++;
    return at > from;
  };
  if (!digits()) return null;
  if (at === text.length) return 'integer';
  if (text[at] === '.') {
    at++;
    if (!digits()) return null;
  }
  if (text[at] === 'e') {
    at++;
    if (text[at] === '+' || text[at] === '-') at++;
    if (!digits()) return null;
  }
  return at === text.length ? 'real' : null;
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

const INT64_DIGITS = 19;

/** The integer; null where SQLite's do not reach it. */
function int64(text: string): bigint | null {
  const sign = text.startsWith('-') ? '-' : '';
  let from = sign.length;
  while (text[from] === '0' && from < text.length - 1) from++;
  if (text.length - from > INT64_DIGITS) return null;
  const whole = BigInt(sign + text.slice(from));
  return BigInt.asIntN(64, whole) === whole ? whole : null;
}

/** The text without its marks of a text; one may have many, because a marked text is marked again. */
function unmarked(text: string): string {
  let from = 0;
  while (text.startsWith('\\s', from)) from += 2;
  return text.slice(from);
}

/** Would the text, as it is, stand for another value? */
export function isMistaken(text: string, numbers: boolean): boolean {
  return mixedValue(text, numbers) !== text;
}

function isHex(text: string): boolean {
  return text.length % 2 === 0 && !/[^0-9a-f]/.test(text);
}

/** A mark that says nothing, such as those of a text that could stand for itself, is no mark but a text. */
function markedValue(text: string, numbers: boolean): string | number | Buffer | InvalidText {
  const body = text.slice(2);
  switch (text[1]) {
    case 'x':
      return isHex(body) ? Buffer.from(body, 'hex') : text;
    case 't': {
      const bytes = isHex(body) ? Buffer.from(body, 'hex') : null;
      return bytes === null || isPlainText(bytes) ? text : textOf(bytes);
    }
    case 'r':
      if (!numbers) return text;
      return body === 'Inf' ? Infinity : body === '-Inf' ? -Infinity : text;
    default:
      return text;
  }
}

/**
 * The text that stands for a value; reals as JavaScript writes them, which is the same double.
 * @param numbers false where a text that reads as one stands for itself
 */
export function mixedText(value: Exclude<KeyValue, null>, numbers = true): string {
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) return value > 0 ? '\\rInf' : '\\r-Inf';
    if (Object.is(value, -0)) return '-0.0';
    return Number.isInteger(value) && Math.abs(value) < 1e21 ? `${value}.0` : String(value);
  }
  if (typeof value === 'string') {
    if (value.includes('\0')) return bytesText(Buffer.from(value, 'utf8'));
    return isMistaken(value, numbers) ? `\\s${value}` : value;
  }
  return Buffer.isBuffer(value) ? `\\x${value.toString('hex')}` : bytesText(value.bytes);
}

function bytesText(bytes: Buffer): string {
  return `\\t${bytes.toString('hex')}`;
}

/** Can the text stand for itself, marked or not? What else there is travels as its bytes. */
export function isPlainText(bytes: Buffer): boolean {
  return isUtf8(bytes) && !bytes.includes(0);
}
