/** Values and keys as a person reads them in a message: SQL literals on one line, long ones shortened. */
import { literal } from '../identifiers.ts';

/** Characters of one value at most. */
const LONGEST = 40;

/**
 * @param values of the primary key; empty for none
 * @param rowid tells the row where no primary key does, or NULL is part of it
 */
export function readableKey(values: unknown[], rowid: unknown): string {
  if (values.length === 0 || values.includes(null)) return `rowid ${String(rowid)}`;
  const texts = values.map(readableValue);
  return texts.length === 1 ? texts[0]! : `(${texts.join(', ')})`;
}

/** @param value as the driver gives it */
export function readableValue(value: unknown): string {
  if (value === null) return 'NULL';
  if (typeof value === 'string') return literal(shortened(oneLine(value)));
  if (Buffer.isBuffer(value)) return `x'${shortened(value.toString('hex', 0, LONGEST))}'`;
  if (typeof value === 'number' && Number.isInteger(value) && Math.abs(value) < 1e21) return `${value}.0`;
  return String(value);
}

function shortened(text: string): string {
  const characters = [...text.slice(0, 2 * LONGEST + 2)];
  return characters.length > LONGEST ? `${characters.slice(0, LONGEST - 1).join('')}…` : text;
}

function oneLine(text: string): string {
  return text
    .slice(0, 4 * LONGEST)
    .replaceAll(/[\p{Cc}\u2028\u2029]/gu, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
}
