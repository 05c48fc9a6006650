/** Expressions inside a SELECT: qualified columns, subqueries, aggregates, and calls that the source can work out itself. */
import type { HeldMoments } from '../databases/moment.ts';
import { isKeyword, isOperator, textOf, type Token } from '../databases/sqlite/tokens.ts';
import { called } from './expression-functions.ts';
import {
  asText,
  asValue,
  compared,
  condition,
  isOpaque,
  isTextual,
  truth,
  Uncertain,
  value,
  type Literal,
  type Node,
  type ValueNode,
} from './expression-nodes.ts';
import { Parser } from './expression-parser.ts';
import { aggregated, isAggregate } from './select-aggregates.ts';
import type { Relation, RelationColumn, Scope } from './select-scope.ts';

export interface Selection {
  sql: string;
  columns: RelationColumn[];
  /** It cannot have more than one row. */
  single: boolean;
}

/** What a SELECT needs to know of the world outside. */
export interface SelectContext {
  /** @throws Uncertain with the reason where it is not on the target */
  relation(name: string): Relation;
  /** The value that the source gives a constant expression. */
  constant(sql: string): Literal;
  /** The forms of dates that the target's types stand for. */
  moments: HeldMoments;
}

/** Functions whose value depends on their arguments alone, unless these name the moment or the place. */
const CONSTANT_FUNCTIONS = new Set([
  ...['date', 'time', 'datetime', 'julianday', 'unixepoch', 'strftime'],
  ...[
    'abs',
    'round',
    'lower',
    'upper',
    'length',
    'hex',
    'substr',
    'replace',
    'trim',
    'char',
    'printf',
    'format',
  ],
]);
const NOT_CONSTANT = /now|local|utc/i;

export abstract class QueryExpressions extends Parser {
  protected scope: Scope | null = null;
  /** Something adds reals up. */
  protected approximate = false;
  /** The SELECT has an aggregate. */
  protected aggregate = false;
  /** The column that the last expression was, if it was nothing else. */
  protected lastColumn: { node: ValueNode; column: RelationColumn } | null = null;
  protected readonly context: SelectContext;

  constructor(sql: string, tokens: Token[], context: SelectContext) {
    super(sql, tokens, () => undefined);
    this.context = context;
  }

  protected abstract select(outer: Scope | null): Selection;

  /** The SQL around the place that was read last. */
  near(): string {
    const from = Math.max(0, this.at - 4);
    return textOf(this.sql, this.tokens.slice(from, this.at + 2));
  }

  protected beginsSelect(at: number): boolean {
    return isKeyword(this.tokens[at], 'SELECT', 'WITH', 'VALUES');
  }

  protected override primary(): Node {
    const token = this.tokens[this.at];
    if (isOperator(token, '(') && this.beginsSelect(this.at + 1)) {
      this.at++;
      return this.scalar();
    }
    if (isKeyword(token, 'EXISTS') && isOperator(this.tokens[this.at + 1], '(')) {
      this.at += 2;
      const { sql } = this.select(this.scope);
      this.expect(')');
      return condition(`(EXISTS (${sql}))`);
    }
    return super.primary();
  }

  private scalar(): Node {
    const { sql, columns, single } = this.select(this.scope);
    this.expect(')');
    if (columns.length !== 1) throw new Uncertain();
    const { kind, collation, affinity, real } = columns[0]!;
    return value(kind, single ? `(${sql})` : `(SELECT * FROM (${sql}) AS first LIMIT 1)`, {
      binary: collation === 'BINARY' || kind !== 'text',
      ...(affinity === undefined ? {} : { affinity }),
      ...(real === undefined ? {} : { real }),
    });
  }

  protected override column(first: string): ValueNode {
    const names = [first];
    while (this.operator('.')) names.push(this.tokens[this.at++]?.value ?? '');
    if (names.length === 3 && names[0]!.toLowerCase() === 'main') names.shift();
    if (names.length > 2 || this.scope === null) throw new Uncertain();
    const column = this.scope.find(names.at(-1)!, names.length === 2 ? names[0] : undefined);
    const node = columnNode(column);
    this.lastColumn = { node, column };
    if (column.approximate) this.approximate = true;
    return node;
  }

  protected override call(token: Token): Node {
    const start = this.at - 2;
    const name = token.text.toLowerCase();
    const distinct = this.keyword('DISTINCT');
    const args = name === 'count' && this.operator('*') ? this.closed([]) : this.untilOrder();
    if (isAggregate(name, args.length)) {
      const order = this.keyword('ORDER') ? this.orderInside() : '';
      if (order !== '') this.expect(')');
      const filter = this.filter();
      if (isKeyword(this.tokens[this.at], 'OVER')) throw new Uncertain('it uses a window function');
      const aggregate = aggregated({ name, args, distinct, order, filter });
      if (aggregate.approximate) this.approximate = true;
      this.aggregate = true;
      return aggregate.node;
    }
    if (distinct || isKeyword(this.tokens[this.at], 'ORDER', 'FILTER', 'OVER')) throw new Uncertain();
    const text = textOf(this.sql, this.tokens.slice(start, this.at));
    if (CONSTANT_FUNCTIONS.has(name) && args.length > 0 && args.every(isConstant)) {
      return { type: 'literal', literal: this.context.constant(text) };
    }
    try {
      return called(name, args);
    } catch (error) {
      if (!(error instanceof Uncertain)) throw error;
      throw new Uncertain(`the meaning of ${text} is not certain on PostgreSQL`);
    }
  }

  /** Arguments up to the closing parenthesis, or to an ORDER BY before it. */
  private untilOrder(): Node[] {
    if (this.operator(')')) return [];
    const values: Node[] = [];
    do values.push(this.or());
    while (this.operator(','));
    return isKeyword(this.tokens[this.at], 'ORDER') ? values : this.closed(values);
  }

  private closed(values: Node[]): Node[] {
    this.expect(')');
    return values;
  }

  private orderInside(): string {
    if (!this.keyword('BY')) throw new Uncertain();
    const terms: string[] = [];
    do terms.push(this.ordered(asValue(this.or())));
    while (this.operator(','));
    return ` ORDER BY ${terms.join(', ')}`;
  }

  private filter(): string {
    if (!this.keyword('FILTER')) return '';
    this.expect('(');
    if (!this.keyword('WHERE')) throw new Uncertain();
    const sql = ` FILTER (WHERE ${truth(this.or())})`;
    this.expect(')');
    return sql;
  }

  /** A term of ORDER BY with what follows it: SQLite sorts NULL first, and NOCASE folds as lower() of collation "C". */
  protected ordered(node: ValueNode, collation = 'BINARY'): string {
    if (isOpaque(node.kind)) throw new Uncertain();
    let order = node.binary ? 'BINARY' : (node.collation ?? collation);
    if (this.keyword('COLLATE')) order = (this.tokens[this.at++]?.value ?? '').toUpperCase();
    const textual = node.kind === 'text' && order !== 'BINARY';
    if (textual && order !== 'NOCASE') throw new Uncertain(`it sorts with COLLATE ${order}`);
    const descending = this.keyword('DESC');
    if (!descending) this.keyword('ASC');
    let nulls = descending ? 'LAST' : 'FIRST';
    if (this.keyword('NULLS')) nulls = this.keyword('FIRST') ? 'FIRST' : 'LAST';
    if (isKeyword(this.tokens[this.at - 1], 'NULLS')) this.at++;
    return `${textual ? `lower(${node.sql})` : node.sql} ${descending ? 'DESC' : 'ASC'} NULLS ${nulls}`;
  }

  protected override inList(left: Node, negated: boolean): Node {
    if (!isOperator(this.tokens[this.at], '(') || !this.beginsSelect(this.at + 1))
      return super.inList(left, negated);
    this.at++;
    const { sql, columns } = this.select(this.scope);
    this.expect(')');
    if (columns.length !== 1 || left.type !== 'value') throw new Uncertain();
    // Both sides as `=` compares them.
    const right = { ...columnNode(columns[0]!), sql: '' };
    if (left.kind !== right.kind || !left.binary || !right.binary) throw new Uncertain();
    compared('=', left, right);
    return condition(`(${left.sql} ${negated ? 'NOT ' : ''}IN (${sql}))`);
  }
}

function isConstant(node: Node): boolean {
  return (
    node.type === 'literal' && !(node.literal.kind === 'string' && NOT_CONSTANT.test(node.literal.value))
  );
}

export function columnNode(column: RelationColumn): ValueNode {
  const { kind, collation, affinity, real, sql } = column;
  return {
    type: 'value',
    kind,
    binary: collation === 'BINARY' || kind !== 'text',
    sql: sql!,
    collation,
    ...(affinity === undefined ? {} : { affinity }),
    ...(kind === 'double' ? { real: real ?? (affinity === 'REAL' || affinity === 'BLOB') } : {}),
  };
}

/** A result column as a value; NULL is one of type text. */
export function resultValue(node: Node): ValueNode {
  const isNull = node.type === 'literal' && node.literal.kind === 'null';
  return isNull ? value('text', 'NULL::text') : asValue(node);
}

/** Values of one kind for the same column of several SELECTs. */
export function sameKind(nodes: Node[]): ValueNode[] {
  const known = nodes
    .filter((node) => !(node.type === 'literal' && node.literal.kind === 'null'))
    .map(asValue);
  const first = known[0];
  const kinds = new Set(known.map(({ kind }) => kind));
  const convert = (to: (node: ValueNode) => ValueNode): ValueNode[] =>
    nodes.map((node) => {
      if (node.type === 'literal' && node.literal.kind === 'null')
        return value(first?.kind ?? 'text', 'NULL');
      return to(asValue(node));
    });
  if (kinds.size <= 1) return convert((node) => node);
  if ([...kinds].every(isTextual)) return convert(asText);
  if ([...kinds].every((kind) => ['bigint', 'boolean'].includes(kind))) {
    return convert((node) =>
      node.kind === 'boolean' ? value('bigint', `(${node.sql})::int::bigint`) : node,
    );
  }
  throw new Uncertain('the SELECTs of a compound give values of several types');
}
