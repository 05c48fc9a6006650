/**
 * Columns that mix storage classes, as the target holds them: varchar whose text says the class of each value, so that
 * it goes back as it was. A number stands as its digits and a text as itself, so that ordinary conditions find both;
 * what would then be mistaken begins with a backslash:
 *
 *     5         integer        \x00ff    blob
 *     5.0       real           \s5       the text 5
 *     abc       text           \rInf     real, infinite
 */
import type { KeyValue } from './key.ts';

const INTEGER = /^-?\d+$/;
const REAL = /^-?\d+(?:\.\d+)?(?:e[+-]?\d+)?$/;

/** PostgreSQL's pattern of the texts that stand for a number: of these a column with a numeric affinity keeps one form. */
export const MIXED_NUMBER = '^-?[0-9]+(\\.[0-9]+)?(e[+-]?[0-9]+)?$';

/** The SQLite value that a text of a mixed column stands for. */
export function mixedValue(text: string): Exclude<KeyValue, null> {
  if (text.startsWith('\\')) return markedValue(text);
  if (!REAL.test(text)) return text;
  if (INTEGER.test(text)) {
    const whole = BigInt(text);
    if (BigInt.asIntN(64, whole) === whole) return whole;
  }
  return Number(text);
}

function markedValue(text: string): string | number | Buffer {
  const body = text.slice(2);
  switch (text[1]) {
    case 'x':
      return /^(?:[0-9a-f]{2})*$/.test(body) ? Buffer.from(body, 'hex') : text;
    case 's':
      return body;
    case 'r':
      return body === 'Inf' ? Infinity : body === '-Inf' ? -Infinity : text;
    default:
      return text;
  }
}

/** The text that stands for a value; reals as JavaScript writes them, which is the same double. */
export function mixedText(value: Exclude<KeyValue, null>): string | null {
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) return value > 0 ? '\\rInf' : '\\r-Inf';
    if (Object.is(value, -0)) return '-0.0';
    return Number.isInteger(value) && Math.abs(value) < 1e21 ? `${value}.0` : String(value);
  }
  if (typeof value === 'string') {
    if (value.includes('\0')) return null;
    return value.startsWith('\\') || typeof mixedValue(value) !== 'string' ? `\\s${value}` : value;
  }
  return Buffer.isBuffer(value) ? `\\x${value.toString('hex')}` : null;
}
