/** Parses SQLite expressions into nodes that say what is certain of them. */
import type { ColumnKind } from '../contract.ts';
import { quoted } from '../databases/identifiers.ts';
import type { Affinity } from '../databases/sqlite/affinity.ts';
import { isKeyword, isOperator, textOf, type Token } from '../databases/sqlite/tokens.ts';
import { arithmetic, bits, negated } from './expression-arithmetic.ts';
import { glob, like } from './expression-patterns.ts';
import { called, cases, cast, type Call } from './expression-functions.ts';
import {
  asText,
  compared,
  condition,
  isNull,
  kindOf,
  literalOf,
  madeText,
  truth,
  Uncertain,
  value,
  type Node,
  type ValueNode,
} from './expression-nodes.ts';

/** What the translation must know of a column. */
export interface ColumnType {
  /** On the target. */
  name: string;
  kind: ColumnKind;
  /** Upper case. */
  collation: string;
  /** Where it is unknown, a number of the column may be an integer or a real. */
  affinity?: Affinity;
  /** Where it is not the name: of a generated column its expression, because PostgreSQL's may not refer to one another. */
  sql?: string;
  /** Of a double: every value is a REAL; as the affinity tells where absent. */
  real?: boolean;
}

/** Finds a column by its name in any case. */
export type ColumnLookup = (name: string) => ColumnType | undefined;

/** Recursive descent in the order of https://sqlite.org/lang_expr.html#operators_and_parse_affecting_attributes. */
export class Parser {
  protected at = 0;
  protected readonly sql: string;
  protected readonly tokens: Token[];
  protected readonly columns: ColumnLookup;
  private readonly calls: Record<string, Call>;

  /** @param calls functions besides those that are known everywhere, by name in lower case */
  constructor(sql: string, tokens: Token[], columns: ColumnLookup, calls: Record<string, Call> = {}) {
    this.sql = sql;
    this.tokens = tokens;
    this.columns = columns;
    this.calls = calls;
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

  protected equality(): Node {
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
    for (const word of ['LIKE', 'GLOB'] as const) {
      if (this.keyword(word)) return this.matching(word, left, negated);
    }
    if (this.keyword('BETWEEN')) {
      const low = this.bits();
      if (!this.keyword('AND')) throw new Uncertain();
      const both = `(${truth(compared('>=', left, low))} AND ${truth(compared('<=', left, this.bits()))})`;
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

  /** Only by a pattern that is written out, because it is translated as well. */
  private matching(word: 'LIKE' | 'GLOB', left: Node, negated: boolean): Node {
    const pattern = this.tokens[this.at++];
    if (pattern?.kind !== 'string') throw new Uncertain();
    const escape = this.keyword('ESCAPE') ? this.tokens[this.at++] : undefined;
    if (escape !== undefined && (escape.kind !== 'string' || word === 'GLOB')) throw new Uncertain();
    const { sql } = asText(left);
    const test = word === 'LIKE' ? like(sql, pattern.value, escape?.value) : glob(sql, pattern.value);
    return condition(negated ? `(NOT ${test})` : test);
  }

  protected inList(left: Node, negated: boolean): Node {
    this.expect('(');
    const tests: string[] = [];
    do tests.push(truth(compared('=', left, this.or())));
    while (this.operator(','));
    this.expect(')');
    const any = `(${tests.join(' OR ')})`;
    return condition(negated ? `(NOT ${any})` : any);
  }

  protected relation(): Node {
    const left = this.bits();
    for (const operator of ['<', '<=', '>', '>=']) {
      if (this.operator(operator)) return compared(operator, left, this.bits());
    }
    return left;
  }

  protected bits(): Node {
    return this.operations(['&', '|'], bits, () => this.sum());
  }

  private sum(): Node {
    return this.operations(['+', '-'], arithmetic, () => this.product());
  }

  private product(): Node {
    return this.operations(['*', '/', '%'], arithmetic, () => this.concatenation());
  }

  private concatenation(): Node {
    return this.operations(['||'], joinedTexts, () => this.collated());
  }

  private collated(): Node {
    let node = this.primary();
    while (this.keyword('COLLATE')) {
      const collation = (this.tokens[this.at++]?.value ?? '').toUpperCase();
      if (node.type !== 'value') throw new Uncertain();
      const binary = collation === 'BINARY' || node.kind !== 'text';
      node = { ...node, collation, collated: true, binary };
    }
    return node;
  }

  /** Operators of one level, from the left. */
  private operations(
    operators: string[],
    meaning: (operator: string, left: Node, right: Node) => Node,
    operand: () => Node,
  ): Node {
    let left = operand();
    for (;;) {
      const operator = operators.find((candidate) => this.operator(candidate));
      if (operator === undefined) return left;
      left = meaning(operator, left, operand());
    }
  }

  protected primary(): Node {
    const token = this.tokens[this.at++];
    if (token === undefined) throw new Uncertain();
    if (isOperator(token, '(')) {
      const inner = this.or();
      this.expect(')');
      return inner;
    }
    if (isOperator(token, '-') || isOperator(token, '+')) return this.signed(token.text);
    const constant = literalOf(token);
    if (constant !== null) return { type: 'literal', literal: constant };
    if (isKeyword(token, 'CASE')) return this.cases();
    if (token.kind === 'word' && this.operator('(')) {
      return isKeyword(token, 'CAST') ? this.cast() : this.call(token);
    }
    if (token.kind !== 'word' && token.kind !== 'quoted') throw new Uncertain();
    return this.column(token.value);
  }

  /** A function's call, after its opening parenthesis. */
  protected call(name: Token): Node {
    const [key, args] = [name.text.toLowerCase(), this.arguments()];
    return this.calls[key]?.(args) ?? called(key, args);
  }

  private signed(sign: string): Node {
    const number = this.tokens[this.at];
    if (number?.kind === 'number') {
      this.at++;
      return {
        type: 'literal',
        literal: { kind: 'number', text: sign === '-' ? `-${number.text}` : number.text },
      };
    }
    const operand = this.primary();
    if (operand.type !== 'value') throw new Uncertain();
    return sign === '-' ? negated(operand) : operand;
  }

  protected column(name: string): ValueNode {
    // A quoted name that is no column would be a string to SQLite: an old mistake that is left alone here.
    const column = this.columns(name);
    if (column === undefined) throw new Uncertain();
    const { affinity } = column;
    const sql = column.sql ?? quoted(column.name);
    // SQLite computes with 64 bits.
    const wide = column.kind === 'integer';
    const kind = wide ? 'bigint' : column.kind;
    const node: ValueNode = {
      type: 'value',
      kind,
      binary: column.collation === 'BINARY' || kind !== 'text',
      sql: wide ? `${sql}::bigint` : sql,
      collation: column.collation,
      ...(affinity === undefined ? {} : { affinity }),
    };
    // A column of another affinity makes an integer of an integral real.
    return kind === 'double' ? { ...node, real: affinity === 'REAL' || affinity === 'BLOB' } : node;
  }

  protected arguments(): Node[] {
    const values: Node[] = [];
    if (this.operator(')')) return values;
    do values.push(this.or());
    while (this.operator(','));
    this.expect(')');
    return values;
  }

  private cases(): Node {
    const subject = isKeyword(this.tokens[this.at], 'WHEN') ? null : this.or();
    const branches: [Node, Node][] = [];
    while (this.keyword('WHEN')) {
      const when = this.or();
      if (!this.keyword('THEN')) throw new Uncertain();
      branches.push([subject === null ? when : compared('=', subject, when), this.or()]);
    }
    const otherwise = this.keyword('ELSE') ? this.or() : null;
    if (!this.keyword('END')) throw new Uncertain();
    return cases(branches, otherwise);
  }

  private cast(): Node {
    const operand = this.or();
    if (!this.keyword('AS')) throw new Uncertain();
    const type: Token[] = [];
    while (this.tokens[this.at]?.kind === 'word') type.push(this.tokens[this.at++]!);
    this.expect(')');
    return cast(operand, textOf(this.sql, type));
  }

  protected expect(operator: string): void {
    if (!this.operator(operator)) throw new Uncertain();
  }

  protected keyword(word: string): boolean {
    const found = isKeyword(this.tokens[this.at], word);
    if (found) this.at++;
    return found;
  }

  protected operator(text: string): boolean {
    const found = isOperator(this.tokens[this.at], text);
    if (found) this.at++;
    return found;
  }
}

function joinedTexts(_: string, left: Node, right: Node): Node {
  const sql = `(${asText(left).sql} || ${asText(right).sql})`;
  return left.type === 'literal' && right.type === 'literal' ? madeText(sql) : value('text', sql);
}
