/** Reads from CREATE TABLE what no pragma tells: collations, generated columns, CHECKs, conflict clauses, and names and timing of foreign keys. */
import { closing, isKeyword, isOperator, splitTopLevel, textOf, tokenize, type Token } from './tokens.ts';
import { asciiLower } from '../identifiers.ts';

export interface TableSql {
  /** Collation that a column declares, by its name in lower case. */
  collations: Map<string, string>;
  /** Expression of each generated column, as written, by the column's name in lower case. */
  generated: Map<string, string>;
  /** CHECK constraints in order, as written, without the word CHECK. */
  checks: string[];
  /** ON CONFLICT clauses other than ABORT, each with the constraint it belongs to. */
  conflictClauses: string[];
  /** For each foreign key in the order of the text: its name, and is it DEFERRABLE INITIALLY DEFERRED? */
  foreignKeys: { name?: string; deferred: boolean }[];
}

/**
 * @param sql CREATE TABLE as sqlite_master has it
 * @returns null where the statement is not understood
 */
export function parseTableSql(sql: string): TableSql | null {
  const tokens = tokenize(sql);
  const open = tokens?.findIndex((token) => isOperator(token, '(')) ?? -1;
  if (tokens === null || open < 0) return null;
  const close = closing(tokens, open);
  if (close === tokens.length) return null;
  const found: TableSql = {
    collations: new Map(),
    generated: new Map(),
    checks: [],
    conflictClauses: [],
    foreignKeys: [],
  };
  for (const definition of splitTopLevel(tokens.slice(open + 1, close)))
    readDefinition(sql, definition, found);
  return found;
}

/** A column definition or a table constraint: the clauses that matter here are the same in both. */
function readDefinition(sql: string, definition: Token[], found: TableSql): void {
  for (let i = 0; i < definition.length; i++) {
    const token = definition[i]!;
    if (isOperator(token, '(')) {
      i = closing(definition, i);
    } else if (isKeyword(token, 'CHECK') && isOperator(definition[i + 1], '(')) {
      const end = closing(definition, i + 1);
      found.checks.push(textOf(sql, definition.slice(i + 1, end + 1)));
      i = end;
    } else if (i > 0 && isKeyword(token, 'AS') && isOperator(definition[i + 1], '(')) {
      const end = closing(definition, i + 1);
      found.generated.set(asciiLower(definition[0]!.value), textOf(sql, definition.slice(i + 1, end + 1)));
      i = end;
    } else if (i > 0 && isKeyword(token, 'COLLATE')) {
      const collation = definition[i + 1];
      if (collation !== undefined) found.collations.set(asciiLower(definition[0]!.value), collation.value);
    } else if (isKeyword(token, 'ON') && isKeyword(definition[i + 1], 'CONFLICT')) {
      if (!isKeyword(definition[i + 2], 'ABORT'))
        found.conflictClauses.push(textOf(sql, definition.slice(0, i + 3)));
    } else if (isKeyword(token, 'REFERENCES')) {
      const name = foreignKeyName(definition, i);
      found.foreignKeys.push({ ...(name ? { name } : {}), deferred: isDeferred(definition, i + 1) });
    }
  }
}

/** CONSTRAINT stands before the REFERENCES of a column, and before the FOREIGN KEY of a table. */
function foreignKeyName(definition: Token[], references: number): string | undefined {
  const at = isKeyword(definition[2], 'FOREIGN') ? 2 : references;
  return isKeyword(definition[at - 2], 'CONSTRAINT') ? definition[at - 1]?.value : undefined;
}

/** Only INITIALLY DEFERRED defers in SQLite (https://sqlite.org/foreignkeys.html#fk_deferred). */
function isDeferred(definition: Token[], from: number): boolean {
  for (let i = from; i < definition.length && !isKeyword(definition[i], 'REFERENCES'); i++) {
    if (isKeyword(definition[i], 'DEFERRABLE') && !isKeyword(definition[i - 1], 'NOT')) {
      return isKeyword(definition[i + 1], 'INITIALLY') && isKeyword(definition[i + 2], 'DEFERRED');
    }
  }
  return false;
}
