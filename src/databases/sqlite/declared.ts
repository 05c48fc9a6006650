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

export interface Scale {
  /** Digits in all. */
  precision: number;
  /** Digits after the point. */
  scale: number;
}

/**
 * The digits that DECIMAL(p,s) and the like allow, null where the type limits nothing, or allows more digits than a real
 * has. SQLite does not enforce it.
 */
export function declaredScale({ declared, affinity }: SourceColumn): Scale | null {
  const limits =
    affinity === 'NUMERIC' && isDecimal(declared) && /\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)/.exec(declared);
  if (!limits) return null;
  const [precision, scale] = [Number(limits[1]), Number(limits[2] ?? 0)];
  return precision <= 15 && scale <= precision ? { precision, scale } : null;
}
