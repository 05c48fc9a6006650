/** Reads from CREATE INDEX what no pragma tells: expressions and the predicate, as written. */
import { closing, isKeyword, isOperator, splitTopLevel, textOf, tokenize, type Token } from './tokens.ts';

export interface IndexSql {
  /** Every indexed term without its COLLATE, ASC and DESC, as written. */
  terms: string[];
  /** The condition after WHERE, as written; null for a full index. */
  predicate: string | null;
}

/**
 * @param sql CREATE INDEX as sqlite_master has it
 * @returns null where the statement is not understood
 */
export function parseIndexSql(sql: string): IndexSql | null {
  const tokens = tokenize(sql);
  if (tokens === null) return null;
  // The name may be any quoted text, but the list of terms is the first parenthesis after the keyword ON.
  const on = tokens.findIndex((token) => isKeyword(token, 'ON'));
  const open = tokens.findIndex((token, i) => i > on && isOperator(token, '('));
  const close = open < 0 ? tokens.length : closing(tokens, open);
  if (on < 0 || close === tokens.length) return null;
  const terms = splitTopLevel(tokens.slice(open + 1, close)).map((term) => textOf(sql, bare(term)));
  const rest = tokens.slice(close + 1).filter((token) => !isOperator(token, ';'));
  if (rest.length === 0) return { terms, predicate: null };
  if (!isKeyword(rest[0], 'WHERE')) return null;
  return { terms, predicate: textOf(sql, rest.slice(1)) };
}

/** Without the suffixes of an index term. */
function bare(term: Token[]): Token[] {
  let end = term.length;
  if (end > 1 && isKeyword(term[end - 1], 'ASC', 'DESC')) end--;
  if (end > 2 && isKeyword(term[end - 2], 'COLLATE')) end -= 2;
  return term.slice(0, end);
}
