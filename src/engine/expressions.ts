/**
 * Translates SQLite expressions of indexes to PostgreSQL, only where the meaning is certain for every value that the
 * columns hold: comparisons with literals, NULL tests, AND, OR, NOT, and a few functions. Anything else is null, and
 * the plan says so.
 */
import type { ColumnKind } from '../contract.ts';
import { literal, quoted } from '../databases/identifiers.ts';
import { isKeyword, isOperator, tokenize, type Token } from '../databases/sqlite/tokens.ts';
import { isDatetimeText, isDateText } from './date-text.ts';

/** What the translation must know of a column. */
export interface ColumnType {
  /** On the target. */
  name: string;
  kind: ColumnKind;
  /** Upper case. */
  collation: string;
}

/** `condition`: a truth value; a kind: a value of that kind; literals keep their token until they meet a column. */
type Node =
  | { type: 'condition'; sql: string }
  | { type: 'value'; kind: ColumnKind; binary: boolean; sql: string }
  | { type: 'literal'; literal: Literal };

type Literal =
  | { kind: 'null' }
  | { kind: 'number'; text: string }
  | { kind: 'boolean'; value: boolean }
  | { kind: 'string'; value: string }
  | { kind: 'blob'; hex: string };

/** Thrown inside this module only, to leave a parse from any depth. */
class Uncertain extends Error {}

/** Finds a column by its name in any case. */
export type ColumnLookup = (name: string) => ColumnType | undefined;

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

function translate(sql: string, columns: ColumnLookup, use: (node: Node) => string): string | null {
  const tokens = tokenize(sql);
  if (tokens === null || tokens.length === 0) return null;
  try {
    const parser = new Parser(tokens, columns);
    const node = parser.or();
    parser.end();
    return use(node);
  } catch (error) {
    if (error instanceof Uncertain) return null;
    throw error;
  }
}

/** Recursive descent in the order of https://sqlite.org/lang_expr.html#operators_and_parse_affecting_attributes. */
class Parser {
  private at = 0;
  private readonly tokens: Token[];
  private readonly columns: ColumnLookup;

  constructor(tokens: Token[], columns: ColumnLookup) {
    this.tokens = tokens;
    this.columns = columns;
  }

  end(): void {
    if (this.at < this.tokens.length) throw new Uncertain();
  }

  or(): Node {
    return this.joined('OR', () => this.and());
  }

  private and(): Node {
    return this.joined('AND', () => this.not());
  }

  private joined(word: string, operand: () => Node): Node {
    let node = operand();
    while (this.keyword(word)) node = condition(`(${truth(node)} ${word} ${truth(operand())})`);
    return node;
  }

  private not(): Node {
    return this.keyword('NOT') ? condition(`(NOT ${truth(this.not())})`) : this.equality();
  }

  private equality(): Node {
    const left = this.relation();
    for (const operator of ['=', '==', '<>', '!=']) {
      if (this.operator(operator)) {
        return compared(operator === '=' || operator === '==' ? '=' : '<>', left, this.relation());
      }
    }
    if (this.keyword('ISNULL')) return isNull(left, false);
    if (this.keyword('NOTNULL')) return isNull(left, true);
    if (this.keyword('IS')) return this.is(left);
    const negated = this.keyword('NOT');
    if (negated && this.keyword('NULL')) return isNull(left, true);
    if (this.keyword('IN')) return this.inList(left, negated);
    if (this.keyword('BETWEEN')) {
      const low = this.concatenation();
      if (!this.keyword('AND')) throw new Uncertain();
      const both = `(${truth(compared('>=', left, low))} AND ${truth(compared('<=', left, this.concatenation()))})`;
      return condition(negated ? `(NOT ${both})` : both);
    }
    if (negated) throw new Uncertain();
    return left;
  }

  private is(left: Node): Node {
    let negated = this.keyword('NOT');
    if (this.keyword('DISTINCT')) {
      if (!this.keyword('FROM')) throw new Uncertain();
      negated = !negated;
    }
    if (this.keyword('NULL')) return isNull(left, negated);
    // IS TRUE asks for truth, not for the value 1.
    if (isKeyword(this.tokens[this.at], 'TRUE', 'FALSE') && kindOf(left) !== 'boolean') throw new Uncertain();
    return compared(negated ? 'IS DISTINCT FROM' : 'IS NOT DISTINCT FROM', left, this.relation());
  }

  private inList(left: Node, negated: boolean): Node {
    if (!this.operator('(')) throw new Uncertain();
    const tests: string[] = [];
    do tests.push(truth(compared('=', left, this.or())));
    while (this.operator(','));
    if (!this.operator(')')) throw new Uncertain();
    const any = `(${tests.join(' OR ')})`;
    return condition(negated ? `(NOT ${any})` : any);
  }

  private relation(): Node {
    const left = this.concatenation();
    for (const operator of ['<', '<=', '>', '>=']) {
      if (this.operator(operator)) return compared(operator, left, this.concatenation());
    }
    return left;
  }

  private concatenation(): Node {
    let left = this.primary();
    while (this.operator('||')) {
      left = {
        type: 'value',
        kind: 'text',
        binary: true,
        sql: `(${textSql(left)} || ${textSql(this.primary())})`,
      };
    }
    return left;
  }

  private primary(): Node {
    const token = this.tokens[this.at++];
    if (token === undefined) throw new Uncertain();
    if (isOperator(token, '(')) {
      const inner = this.or();
      if (!this.operator(')')) throw new Uncertain();
      return inner;
    }
    const sign = isOperator(token, '-') ? '-' : isOperator(token, '+') ? '' : null;
    if (sign !== null) {
      const number = this.tokens[this.at++];
      if (number?.kind !== 'number') throw new Uncertain();
      return { type: 'literal', literal: { kind: 'number', text: sign + number.text } };
    }
    const constant = literalOf(token);
    if (constant !== null) return { type: 'literal', literal: constant };
    if (token.kind === 'word' && isOperator(this.tokens[this.at], '('))
      return this.call(token.text.toLowerCase());
    if (token.kind !== 'word' && token.kind !== 'quoted') throw new Uncertain();
    // A quoted name that is no column would be a string to SQLite: an old mistake that is left alone here.
    const column = this.columns(token.value);
    if (column === undefined) throw new Uncertain();
    const binary = column.collation === 'BINARY' || column.kind !== 'text';
    return { type: 'value', kind: column.kind, binary, sql: quoted(column.name) };
  }

  private call(name: string): Node {
    this.at++;
    const values: Node[] = [];
    if (!this.operator(')')) {
      do values.push(this.or());
      while (this.operator(','));
      if (!this.operator(')')) throw new Uncertain();
    }
    const first = values[0];
    if (first?.type !== 'value') throw new Uncertain();
    const result = (kind: ColumnKind, sql: string): Node => ({ type: 'value', kind, binary: true, sql });
    const only = values.length === 1;
    // Both fold ASCII letters only: SQLite always, PostgreSQL because the column's collation is "C".
    if (only && first.kind === 'text' && ['lower', 'upper'].includes(name))
      return result('text', `${name}(${first.sql})`);
    if (only && first.kind === 'text' && name === 'trim') return result('text', `btrim(${first.sql})`);
    if (only && name === 'length' && ['text', 'bytea'].includes(first.kind)) {
      return result('bigint', `length(${first.sql})`);
    }
    if (only && name === 'abs' && isNumber(first.kind)) return result(first.kind, `abs(${first.sql})`);
    if (only && name === 'date' && first.kind === 'timestamp')
      return result('date', `CAST(${first.sql} AS date)`);
    if (['coalesce', 'ifnull'].includes(name) && values.length > 1) {
      const rest = values.slice(1).map((value) => {
        if (value.type === 'value' && value.kind === first.kind && value.binary) return value.sql;
        if (value.type === 'literal') return literalSql(value.literal, first.kind, '=');
        throw new Uncertain();
      });
      if (!first.binary) throw new Uncertain();
      return result(first.kind, `coalesce(${[first.sql, ...rest].join(', ')})`);
    }
    throw new Uncertain();
  }

  private keyword(word: string): boolean {
    const found = isKeyword(this.tokens[this.at], word);
    if (found) this.at++;
    return found;
  }

  private operator(text: string): boolean {
    const found = isOperator(this.tokens[this.at], text);
    if (found) this.at++;
    return found;
  }
}

function condition(sql: string): Node {
  return { type: 'condition', sql };
}

function kindOf(node: Node): ColumnKind | null {
  return node.type === 'value' ? node.kind : null;
}

function isNumber(kind: ColumnKind): boolean {
  return kind === 'bigint' || kind === 'numeric' || kind === 'double';
}

function truth(node: Node): string {
  if (node.type === 'condition') return node.sql;
  if (node.type === 'value' && node.kind === 'boolean') return node.sql;
  if (node.type === 'value' && isNumber(node.kind)) return `(${node.sql} <> 0)`;
  throw new Uncertain();
}

function isNull(node: Node, negated: boolean): Node {
  if (node.type !== 'value') throw new Uncertain();
  return condition(`(${node.sql} IS ${negated ? 'NOT ' : ''}NULL)`);
}

function textSql(node: Node): string {
  if (node.type === 'value' && node.kind === 'text') return node.sql;
  if (node.type === 'literal') return literalSql(node.literal, 'text', '=');
  throw new Uncertain();
}

const MIRRORED: Record<string, string> = { '<': '>', '>': '<', '<=': '>=', '>=': '<=' };

function compared(operator: string, left: Node, right: Node): Node {
  if (left.type === 'literal' && right.type === 'value')
    return compared(MIRRORED[operator] ?? operator, right, left);
  if (left.type !== 'value' || !left.binary || left.kind === 'json' || left.kind === 'mixed')
    throw new Uncertain();
  if (right.type === 'literal') {
    return condition(`(${left.sql} ${operator} ${literalSql(right.literal, left.kind, operator)})`);
  }
  if (right.type !== 'value' || right.kind !== left.kind || !right.binary) throw new Uncertain();
  return condition(`(${left.sql} ${operator} ${right.sql})`);
}

function literalOf(token: Token): Literal | null {
  if (token.kind === 'number') return { kind: 'number', text: token.text };
  if (token.kind === 'string') return { kind: 'string', value: token.value };
  if (token.kind === 'blob') return { kind: 'blob', hex: token.text.slice(2, -1) };
  if (isKeyword(token, 'NULL')) return { kind: 'null' };
  if (isKeyword(token, 'TRUE', 'FALSE')) return { kind: 'boolean', value: isKeyword(token, 'TRUE') };
  return null;
}

/** A literal as the kind that it is compared with; SQLite compares without converting only then. */
function literalSql(value: Literal, kind: ColumnKind, operator: string): string {
  if (kind === 'boolean') {
    if (operator === '<' || operator === '>' || operator === '<=' || operator === '>=') throw new Uncertain();
    if (value.kind === 'boolean') return String(value.value);
    if (value.kind === 'number' && ['0', '1'].includes(value.text))
      return value.text === '1' ? 'true' : 'false';
    throw new Uncertain();
  }
  if (isNumber(kind)) {
    if (value.kind === 'boolean') return value.value ? '1' : '0';
    if (value.kind === 'number') return numberSql(value.text, kind);
    throw new Uncertain();
  }
  if (value.kind === 'string' && kind === 'text') return literal(value.value);
  if (value.kind === 'string' && kind === 'timestamp' && isDatetimeText(value.value)) {
    return `timestamp ${literal(value.value)}`;
  }
  if (value.kind === 'string' && kind === 'date' && isDateText(value.value)) {
    return `date ${literal(value.value)}`;
  }
  if (value.kind === 'blob' && kind === 'bytea') return `'\\x${value.hex}'::bytea`;
  throw new Uncertain();
}

/** Up to 15 digits, which mean the same as a double and as a decimal, or an integer of 64 bits beside integers. */
function numberSql(text: string, kind: ColumnKind): string {
  const plain = text.replaceAll('_', '');
  if (/^-?\d+$/.test(plain)) {
    const value = BigInt(plain);
    const limit = kind === 'double' ? 10n ** 15n : 2n ** 63n;
    if (value >= -limit && value < limit) return value < 0n ? `(${value})` : String(value);
  } else if (/^-?(\d+\.\d*|\.\d+|\d+)([eE][+-]?\d+)?$/.test(plain)) {
    const digits = plain
      .replace(/[eE].*$/, '')
      .replace(/[-.]/g, '')
      .replace(/^0+/, '');
    const value = Number(plain);
    if (digits.length <= 15 && Number.isFinite(value)) return plain.startsWith('-') ? `(${plain})` : plain;
  }
  throw new Uncertain();
}
