/** What a declared type says of its values beyond the affinity. */
import type { SourceColumn } from './schema.ts';

/** Characters that a text type allows, which SQLite does not enforce; null for none. */
export function declaredLength({ affinity, declared }: SourceColumn): number | null {
  const length = affinity === 'TEXT' ? /\(\s*(\d+)\s*\)/.exec(declared)?.[1] : undefined;
  return length === undefined ? null : Number(length);
}

export function isBoolean(declared: string): boolean {
  return /^\s*BOOL(EAN)?\b/i.test(declared);
}

export function isDatetime(declared: string): boolean {
  return /DATETIME|TIMESTAMP/i.test(declared);
}

export function isDate(declared: string): boolean {
  return /^\s*DATE\s*(\(|$)/i.test(declared);
}

/** A number by its name; every other unknown word (UUID, STRING, TIME) has the affinity NUMERIC all the same. */
export function isDecimal(declared: string): boolean {
  return /NUM|DEC|FIXED|MONEY|CURRENCY|^\s*BIT\b/i.test(declared);
}

export function isJson(declared: string): boolean {
  return /^\s*JSONB?\b/i.test(declared);
}
