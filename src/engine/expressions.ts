/**
 * Translates SQLite expressions of indexes, CHECKs and generated columns to PostgreSQL, only where the meaning is
 * certain for every value that the columns hold. Anything else is null, and the plan says so.
 */
import type { Affinity } from '../databases/sqlite/affinity.ts';
import { tokenize } from '../databases/sqlite/tokens.ts';
import { formsOf, type Form } from './expression-forms.ts';
import type { Call } from './expression-functions.ts';
import { truth, Uncertain, type Node } from './expression-nodes.ts';
import { Parser, type ColumnLookup } from './expression-parser.ts';

/**
 * The ways in which a column of this affinity can hold the expression's values on the target, or null where their
 * meaning is not certain there.
 */
export function translateGenerated(sql: string, columns: ColumnLookup, affinity: Affinity): Form[] | null {
  return translate(sql, columns, (node) => formsOf(node, affinity));
}

/**
 * As `translateGenerated`, of a default.
 * @param columns finds CURRENT_TIMESTAMP and the like @param calls functions that only a default may call, by name
 */
export function translateDefault(
  sql: string,
  columns: ColumnLookup,
  affinity: Affinity,
  calls: Record<string, Call>,
): Form[] | null {
  return translate(sql, columns, (node) => formsOf(node, affinity), calls);
}

/** The condition as PostgreSQL SQL, or null where its meaning is not certain there. */
export function translateCondition(sql: string, columns: ColumnLookup): string | null {
  return translate(sql, columns, (node) => truth(node));
}

/** The expression as PostgreSQL SQL with parentheses, or null where its meaning is not certain there. */
export function translateValue(sql: string, columns: ColumnLookup): string | null {
  return translate(sql, columns, (node) => {
    if (node.type !== 'value' || !node.binary) throw new Uncertain();
    return `(${node.sql})`;
  });
}

function translate<T>(
  sql: string,
  columns: ColumnLookup,
  use: (node: Node) => T,
  calls: Record<string, Call> = {},
): T | null {
  const tokens = tokenize(sql);
  if (tokens === null || tokens.length === 0) return null;
  try {
    const parser = new Parser(sql, tokens, columns, calls);
    const node = parser.or();
    parser.end();
    return use(node);
  } catch (error) {
    if (error instanceof Uncertain) return null;
    throw error;
  }
}
