/** Column affinity by the rules of https://sqlite.org/datatype3.html#determination_of_column_affinity, in their order. */

export type Affinity = 'INTEGER' | 'TEXT' | 'BLOB' | 'REAL' | 'NUMERIC';

/**
 * @param declared the declared type as written, '' for none
 * @param strict true in a STRICT table, where ANY converts nothing
 */
export function affinityOf(declared: string, strict = false): Affinity {
  const type = declared.toUpperCase();
  if (strict && type === 'ANY') return 'BLOB';
  if (type.includes('INT')) return 'INTEGER';
  if (['CHAR', 'CLOB', 'TEXT'].some((word) => type.includes(word))) return 'TEXT';
  if (type === '' || type.includes('BLOB')) return 'BLOB';
  if (['REAL', 'FLOA', 'DOUB'].some((word) => type.includes(word))) return 'REAL';
  return 'NUMERIC';
}

/** Does the column store an integral real as an integer by itself? */
export function makesIntegers({ declared }: { declared: string }): boolean {
  const affinity = affinityOf(declared);
  // ANY converts nothing where the table is STRICT, which the plan does not tell.
  return (affinity === 'NUMERIC' && declared.toUpperCase() !== 'ANY') || affinity === 'INTEGER';
}

/**
 * Does the column keep -0 apart from 0? A STRICT table's ANY does, and the plan does not tell which ANY it is. A generated
 * column may be computed from a -0 that the target holds and the source has made 0 of.
 */
export function keepsNegativeZero(column: { declared: string; expressionSql?: string }): boolean {
  const { declared, expressionSql } = column;
  return expressionSql === undefined && (affinityOf(declared) === 'BLOB' || declared.toUpperCase() === 'ANY');
}
