/** What a declared type says of its values beyond the affinity, which is NUMERIC for all of these. */

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
