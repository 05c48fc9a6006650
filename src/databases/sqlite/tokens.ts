/**
 * Splits SQLite's SQL into tokens (https://sqlite.org/lang_expr.html, tokenize.c), for the few things that no pragma
 * tells: expressions and predicates of indexes, collations, CHECKs, conflict clauses, deferrability.
 */

type TokenKind = 'word' | 'quoted' | 'string' | 'blob' | 'number' | 'variable' | 'operator';

export interface Token {
  kind: TokenKind;
  /** As written. */
  text: string;
  /** Of a word or quoted identifier: its name. Of a string: its value. Else as written. */
  value: string;
  /** Offset of the first character. */
  start: number;
  /** Offset after the last character. */
  end: number;
}

/** Whitespace, comments included. A comment may be unterminated at the end of the text. */
const SPACE = /(?:[ \t\n\f\r]+|--[^\n]*|\/\*[\s\S]*?(?:\*\/|$))+/y;

const RULES: [TokenKind, RegExp][] = [
  ['blob', /[xX]'[0-9a-fA-F]*'/y],
  ['string', /'(?:[^']|'')*'/y],
  ['quoted', /"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]/y],
  ['number', /0[xX][0-9a-fA-F_]+|(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9_]+)?/y],
  ['word', /[A-Za-z_\u0080-\uffff][A-Za-z0-9_$\u0080-\uffff]*/y],
  ['variable', /\?[0-9]*|[:@#$][A-Za-z0-9_$\u0080-\uffff]+/y],
  ['operator', /->>|->|\|\||<<|>>|<=|<>|>=|==|!=|[-+*/%&|~<>=(),.;]/y],
];

/** Tokens of the text, or null where it has something that SQLite's tokenizer would not accept either. */
export function tokenize(sql: string): Token[] | null {
  const tokens: Token[] = [];
  let at = 0;
  while (at < sql.length) {
    SPACE.lastIndex = at;
    const space = SPACE.exec(sql);
    if (space !== null) {
      at = SPACE.lastIndex;
      continue;
    }
    const token = tokenAt(sql, at);
    if (token === null) return null;
    tokens.push(token);
    at = token.end;
  }
  return tokens;
}

function tokenAt(sql: string, at: number): Token | null {
  for (const [kind, pattern] of RULES) {
    pattern.lastIndex = at;
    const match = pattern.exec(sql);
    if (match !== null) {
      return { kind, text: match[0], value: valueOf(kind, match[0]), start: at, end: pattern.lastIndex };
    }
  }
  return null;
}

function valueOf(kind: TokenKind, text: string): string {
  if (kind !== 'string' && kind !== 'quoted') return text;
  const inner = text.slice(1, -1);
  const quote = text[0]!;
  return quote === '[' ? inner : inner.replaceAll(quote + quote, quote);
}

/** Is the token this unquoted keyword? */
export function isKeyword(token: Token | undefined, ...keywords: string[]): boolean {
  return token?.kind === 'word' && keywords.includes(token.text.toUpperCase());
}

export function isOperator(token: Token | undefined, text: string): boolean {
  return token?.kind === 'operator' && token.text === text;
}

/** Index of the token that closes the parenthesis at `open`; the number of tokens where it is missing. */
export function closing(tokens: Token[], open: number): number {
  let depth = 0;
  for (let i = open; i < tokens.length; i++) {
    if (isOperator(tokens[i], '(')) depth++;
    if (isOperator(tokens[i], ')') && --depth === 0) return i;
  }
  return tokens.length;
}

/** Splits at the commas that are outside every parenthesis. */
export function splitTopLevel(tokens: Token[]): Token[][] {
  const parts: Token[][] = [[]];
  let depth = 0;
  for (const token of tokens) {
    if (isOperator(token, '(')) depth++;
    if (isOperator(token, ')')) depth--;
    if (depth === 0 && isOperator(token, ',')) parts.push([]);
    else parts.at(-1)!.push(token);
  }
  return parts;
}

/** The text from the first to the last of these tokens, as written. */
export function textOf(sql: string, tokens: Token[]): string {
  const first = tokens[0];
  return first === undefined ? '' : sql.slice(first.start, tokens.at(-1)!.end);
}

/** Without parentheses that enclose the whole. */
export function unwrapped(tokens: Token[]): Token[] {
  let inner = tokens;
  while (isOperator(inner[0], '(') && closing(inner, 0) === inner.length - 1) inner = inner.slice(1, -1);
  return inner;
}
