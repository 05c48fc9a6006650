/** Quotes a name for SQLite and PostgreSQL alike: both double an embedded quote. */
export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** Quotes a string literal for SQLite, and for PostgreSQL with standard_conforming_strings (its default). */
export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** A name as SQLite compares it, and as PostgreSQL folds one without quotes: the letters of ASCII, and no others. */
export function asciiLower(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase());
}

/** Are these one name to SQLite? */
export function sameName(a: string, b: string): boolean {
  return asciiLower(a) === asciiLower(b);
}
