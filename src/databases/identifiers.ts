/** Quotes a name for SQLite and PostgreSQL alike: both double an embedded quote. */
export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** Quotes a string literal for SQLite, and for PostgreSQL with standard_conforming_strings (its default). */
export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
