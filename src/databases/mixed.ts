/**
 * Columns that mix storage classes, as the target holds them: varchar whose text says the class of each value, so that
 * it goes back as it was. A number stands as its digits and a text as itself, so that ordinary conditions find both;
 * what would then be mistaken begins with a backslash:
 *
 *     5         integer        \x00ff    blob
 *     5.0       real           \s5       the text 5
 *     abc       text           \rInf     real, infinite
 *                              \t6100    the text of these bytes, which has a NUL or is not valid UTF-8
 */
import { isUtf8 } from 'node:buffer';
import { textOf, type InvalidText } from './invalid-text.ts';
import type { KeyValue } from './key.ts';

const INTEGER = /^-?\d+$/;
const REAL = /^-?\d+(?:\.\d+)?(?:e[+-]?\d+)?$/;

/** PostgreSQL's pattern of the texts that stand for a number: of these a column with a numeric affinity keeps one form. */
export const MIXED_NUMBER = '^-?[0-9]+(\\.[0-9]+)?(e[+-]?[0-9]+)?$';

/**
 * The SQLite value that a text of a mixed column stands for.
 * @param numbers false for a column with TEXT affinity, which holds none: there a text that reads as one stands for itself
 */
export function mixedValue(text: string, numbers = true): Exclude<KeyValue, null> {
  if (text.startsWith('\\')) return markedValue(text);
  if (!numbers || !REAL.test(text)) return text;
  if (INTEGER.test(text)) {
    const whole = BigInt(text);
    if (BigInt.asIntN(64, whole) === whole) return whole;
  }
  return Number(text);
}

const HEX = /^(?:[0-9a-f]{2})*$/;

function markedValue(text: string): string | number | Buffer | InvalidText {
  const body = text.slice(2);
  switch (text[1]) {
    case 'x':
      return HEX.test(body) ? Buffer.from(body, 'hex') : text;
    case 't':
      return HEX.test(body) ? textOf(Buffer.from(body, 'hex')) : text;
    case 's':
      return body;
    case 'r':
      return body === 'Inf' ? Infinity : body === '-Inf' ? -Infinity : text;
    default:
      return text;
  }
}

/** The text that stands for a value; reals as JavaScript writes them, which is the same double. */
export function mixedText(value: Exclude<KeyValue, null>): string {
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) return value > 0 ? '\\rInf' : '\\r-Inf';
    if (Object.is(value, -0)) return '-0.0';
    return Number.isInteger(value) && Math.abs(value) < 1e21 ? `${value}.0` : String(value);
  }
  if (typeof value === 'string') {
    if (value.includes('\0')) return bytesText(Buffer.from(value, 'utf8'));
    return value.startsWith('\\') || typeof mixedValue(value) !== 'string' ? `\\s${value}` : value;
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
