/**
 * Translates a SELECT of SQLite to PostgreSQL, where the meaning of each of its parts is certain. What PostgreSQL is
 * stricter about (columns that are neither grouped nor aggregated) is left to it to refuse.
 */
import { asciiLower, quoted } from '../databases/identifiers.ts';
import { isMomentKind, momentType, type HeldMoments } from '../databases/moment.ts';
import { closing, isKeyword, isOperator, textOf, tokenize } from '../databases/sqlite/tokens.ts';
import {
  asText,
  asValue,
  literalOf,
  truth,
  Uncertain,
  type Node,
  type ValueNode,
} from './expression-nodes.ts';
import { requireComparable } from './select-aggregates.ts';
import {
  columnNode,
  resultValue,
  sameKind,
  type SelectContext,
  type Selection,
} from './select-expressions.ts';
import { asRelation, FromParser } from './select-from.ts';
import { Scope, within, type Relation, type RelationColumn } from './select-scope.ts';

/** @returns the SELECT for the target, or why its meaning there is not certain */
export function translateSelect(sql: string, context: SelectContext): Selection | string {
  const tokens = tokenize(sql);
  if (tokens === null) return 'its SQL is not understood';
  const parser = new SelectParser(sql, tokens, context);
  try {
    return parser.whole();
  } catch (error) {
    if (!(error instanceof Uncertain)) throw error;
    return error.message === ''
      ? `the meaning of what is near "${parser.near()}" is not certain on PostgreSQL`
      : error.message;
  }
}

/** One SELECT of a compound. */
interface Core {
  distinct: boolean;
  results: Result[];
  /** From FROM to HAVING. */
  rest: string;
  /** Without GROUP BY, an aggregate makes one row of all. */
  single: boolean;
}

interface Result {
  name: string;
  node: Node;
  /** Where it is a column and nothing else. */
  column: RelationColumn | null;
}

class SelectParser extends FromParser {
  whole(): Selection {
    const selection = this.select(null);
    this.operator(';');
    this.end();
    return selection;
  }

  protected select(outer: Scope | null): Selection {
    const before = this.scope;
    this.withs.push(new Map());
    if (this.keyword('WITH')) this.commonTables(outer);
    const scope = new Scope(outer);
    const cores = [this.core(scope)];
    const operators: string[] = [];
    for (let operator = this.compound(); operator !== null; operator = this.compound()) {
      operators.push(operator);
      cores.push(this.core(new Scope(outer)));
    }
    const { sql, columns } = combined(cores, operators, this.approximate, this.context.moments);
    this.scope = scope;
    const order = this.orderBy(cores.length === 1 ? cores[0]! : null, columns);
    const limit = this.limit();
    this.withs.pop();
    this.scope = before;
    const single = (cores.length === 1 && cores[0]!.single) || / LIMIT [01]$/.test(limit);
    return { sql: `${sql}${order}${limit}`, columns, single };
  }

  /** WITH name [(columns)] AS (SELECT …), …: each stands for its subquery. */
  private commonTables(outer: Scope | null): void {
    if (this.keyword('RECURSIVE')) throw new Uncertain('it uses WITH RECURSIVE');
    do {
      const name = this.tokens[this.at++]?.value ?? '';
      const columns = isOperator(this.tokens[this.at], '(') ? this.names() : null;
      if (!this.keyword('AS')) throw new Uncertain();
      this.keyword('NOT');
      this.keyword('MATERIALIZED');
      this.expect('(');
      const selection = this.select(outer);
      this.expect(')');
      if (columns !== null && columns.length !== selection.columns.length) throw new Uncertain();
      const relation = asRelation({
        ...selection,
        columns: selection.columns.map((column, i) => ({
          ...column,
          sourceName: columns?.[i] ?? column.sourceName,
        })),
      });
      this.withs.at(-1)!.set(asciiLower(name), named(relation));
    } while (this.operator(','));
  }

  private compound(): string | null {
    if (this.keyword('UNION')) return this.keyword('ALL') ? 'UNION ALL' : 'UNION';
    if (this.keyword('EXCEPT')) return 'EXCEPT';
    return this.keyword('INTERSECT') ? 'INTERSECT' : null;
  }

  /** FROM is read first: the result columns are over its names. */
  private core(scope: Scope): Core {
    if (!this.keyword('SELECT')) throw new Uncertain('it uses VALUES');
    this.scope = scope;
    const distinct = this.keyword('DISTINCT');
    if (!distinct) this.keyword('ALL');
    const results = this.at;
    const from = this.endOfResults();
    let rest = '';
    this.at = from;
    if (this.keyword('FROM')) rest = ` FROM ${this.from(scope)}`;
    const after = this.at;
    this.at = results;
    const outside = this.aggregate;
    this.aggregate = false;
    const found = this.results(scope);
    const { aggregate } = this;
    this.aggregate = outside;
    if (this.at !== from) throw new Uncertain();
    this.at = after;
    for (const result of found) scope.aliases.set(asciiLower(result.name), aliasOf(result));
    if (this.keyword('WHERE')) rest += ` WHERE ${truth(this.or())}`;
    const grouped = this.keyword('GROUP');
    if (grouped) rest += this.groupBy(found);
    if (this.keyword('HAVING')) rest += ` HAVING ${truth(this.or())}`;
    if (isKeyword(this.tokens[this.at], 'WINDOW')) throw new Uncertain('it uses a window function');
    if (distinct) for (const { node } of found) requireComparable(resultValue(node));
    return { distinct, results: found, rest, single: aggregate && !grouped };
  }

  /** Where the result columns end: FROM, the end of the SELECT, or what else may follow. */
  private endOfResults(): number {
    let at = this.at;
    for (; at < this.tokens.length; at++) {
      const token = this.tokens[at];
      if (isOperator(token, '(')) at = closing(this.tokens, at);
      else if (isOperator(token, ')') || isOperator(token, ';')) return at;
      else if (isKeyword(token, 'FROM') && !isKeyword(this.tokens[at - 1], 'DISTINCT')) return at;
      else if (isKeyword(token, ...AFTER_RESULTS) && !isOperator(this.tokens[at - 1], '.')) return at;
    }
    return at;
  }

  private results(scope: Scope): Result[] {
    const results: Result[] = [];
    do {
      const star = this.star(scope);
      results.push(...(star ?? [this.result()]));
    } while (this.operator(','));
    return results;
  }

  private star(scope: Scope): Result[] | null {
    const [token, dot, star] = this.tokens.slice(this.at, this.at + 3);
    let items = scope.items;
    if (isOperator(token, '*')) this.at++;
    else if (isOperator(dot, '.') && isOperator(star, '*')) {
      this.at += 3;
      items = items.filter(({ alias }) => asciiLower(alias) === asciiLower(token!.value)).slice(0, 1);
    } else return null;
    if (items.length === 0) throw new Uncertain();
    if (items.some(({ relation }) => relation.partial))
      throw new Uncertain('"*" has a column that is not on the target');
    const all = isOperator(token, '*');
    return items.flatMap((item) =>
      item.relation.columns
        .filter(({ sourceName }) => !(all && item.merged.has(asciiLower(sourceName))))
        .map((column) => {
          const found = within(item, column);
          return { name: column.sourceName, node: columnNode(found), column: found };
        }),
    );
  }

  private result(): Result {
    const start = this.at;
    const node = this.or();
    const column = this.lastColumn !== null && this.lastColumn.node === node ? this.lastColumn.column : null;
    const text = textOf(this.sql, this.tokens.slice(start, this.at));
    return { name: this.alias() ?? column?.sourceName ?? text, node, column };
  }

  private groupBy(results: Result[]): string {
    if (!this.keyword('BY')) throw new Uncertain();
    const terms: string[] = [];
    do {
      const place = this.place();
      const node = place === null ? asValue(this.or()) : resultValue(resultAt(results, place).node);
      requireComparable(node);
      terms.push(place === null ? node.sql : String(place));
    } while (this.operator(','));
    return ` GROUP BY ${terms.join(', ')}`;
  }

  /** An integer that stands alone is the number of a result column. */
  private place(): number | null {
    const token = this.tokens[this.at];
    const next = this.tokens[this.at + 1];
    if (token?.kind !== 'number' || !/^\d+$/.test(token.text)) return null;
    if (next?.kind === 'operator' && next.text !== ',' && next.text !== ')' && next.text !== ';') return null;
    this.at++;
    return Number(token.text);
  }

  private orderBy(core: Core | null, columns: RelationColumn[]): string {
    if (!this.keyword('ORDER')) return '';
    if (!this.keyword('BY')) throw new Uncertain();
    const terms: string[] = [];
    do {
      const place = this.place() ?? this.namedPlace(columns);
      if (place !== null) {
        terms.push(this.placed(place, core, columns));
      } else if (core === null) {
        throw new Uncertain('a compound is sorted by an expression');
      } else {
        const node = asValue(this.or());
        const collation = this.lastColumn?.node === node ? this.lastColumn.column.collation : 'BINARY';
        terms.push(this.ordered(node, collation));
      }
    } while (this.operator(','));
    return ` ORDER BY ${terms.join(', ')}`;
  }

  /** A result column by its number, which cannot be part of an expression. */
  private placed(place: number, core: Core | null, columns: RelationColumn[]): string {
    const column = columns[place - 1];
    if (column === undefined) throw new Uncertain();
    const folded = column.kind === 'text' && column.collation !== 'BINARY';
    if (!folded && !isKeyword(this.tokens[this.at], 'COLLATE')) {
      return this.ordered(columnNode({ ...column, sql: String(place) }));
    }
    if (core === null) throw new Uncertain('a compound is sorted by a collation');
    return this.ordered(asValue(core.results[place - 1]!.node), column.collation);
  }

  /** The number of the result column that a name alone means. */
  private namedPlace(columns: RelationColumn[]): number | null {
    const [token, next] = this.tokens.slice(this.at, this.at + 2);
    if (token?.kind !== 'word' && token?.kind !== 'quoted') return null;
    if (next?.kind === 'operator' && next.text !== ',' && next.text !== ')' && next.text !== ';') return null;
    if (next !== undefined && next.kind !== 'operator' && !isKeyword(next, ...AFTER_TERM)) return null;
    const place = columns.findIndex(({ sourceName }) => asciiLower(sourceName) === asciiLower(token.value));
    if (place < 0) return null;
    this.at++;
    return place + 1;
  }

  private limit(): string {
    if (!this.keyword('LIMIT')) return '';
    let count = this.integer();
    let offset = 0;
    if (this.keyword('OFFSET')) offset = this.integer();
    else if (this.operator(',')) [offset, count] = [count, this.integer()];
    return `${offset > 0 ? ` OFFSET ${offset}` : ''}${count < 0 ? '' : ` LIMIT ${count}`}`;
  }

  private integer(): number {
    const negative = this.operator('-');
    const literal = literalOf(this.tokens[this.at++]!);
    if (literal?.kind !== 'number' || !/^\d{1,15}$/.test(literal.text)) throw new Uncertain();
    return negative ? -Number(literal.text) : Number(literal.text);
  }
}

const AFTER_RESULTS = [
  'WHERE',
  'GROUP',
  'HAVING',
  'ORDER',
  'LIMIT',
  'UNION',
  'EXCEPT',
  'INTERSECT',
  'WINDOW',
];
const AFTER_TERM = ['ASC', 'DESC', 'NULLS', 'COLLATE', 'LIMIT'];
function resultAt(results: Result[], place: number): Result {
  const result = results[place - 1];
  if (result === undefined) throw new Uncertain();
  return result;
}

function aliasOf({ name, node, column }: Result): RelationColumn {
  const { kind, sql, binary, affinity, real } = resultValue(node);
  return {
    sourceName: name,
    name,
    kind,
    sql,
    collation: column?.collation ?? (binary ? 'BINARY' : 'OTHER'),
    ...(affinity === undefined ? {} : { affinity }),
    ...(real === undefined ? {} : { real }),
  };
}

/** A common table is read like any other, so its columns need their names wherever it stands. */
function named({ sql, columns }: Relation): Relation {
  const names = columns.map(({ name }) => quoted(name)).join(', ');
  return { sql: `(SELECT * FROM ${sql} AS common (${names}))`, columns };
}

/** A date whose form is not the one that its type stands for is a text. */
function readable(node: ValueNode, moments: HeldMoments): ValueNode {
  return isMomentKind(node.kind) && moments[momentType(node.kind)] !== node.kind ? asText(node) : node;
}

/** The SELECTs of a compound from the left; each column is of one kind. */
function combined(
  cores: Core[],
  operators: string[],
  approximate: boolean,
  moments: HeldMoments,
): { sql: string; columns: RelationColumn[] } {
  const first = cores[0]!;
  if (cores.some(({ results }) => results.length !== first.results.length)) throw new Uncertain();
  const columns: RelationColumn[] = [];
  const values = first.results.map(({ name, column }, i) => {
    const nodes = cores.map(({ results }) => results[i]!.node);
    const found = cores.length === 1 ? [resultValue(nodes[0]!)] : sameKind(nodes);
    const same = found.map((node) => readable(node, moments));
    const [node] = same;
    for (const operator of operators) if (operator !== 'UNION ALL') same.forEach(requireComparable);
    const plain = cores.length === 1 && column !== null;
    const sum = plain ? column.approximate : approximate && ['double', 'numeric'].includes(node!.kind);
    columns.push({
      sourceName: name,
      name,
      kind: node!.kind,
      collation: plain ? column.collation : node!.binary ? 'BINARY' : 'OTHER',
      ...(plain && column.affinity !== undefined ? { affinity: column.affinity } : {}),
      ...(node!.real === undefined ? {} : { real: node!.real }),
      ...(sum === true ? { approximate: true as const } : {}),
    });
    return same.map(({ sql }) => sql);
  });
  const sql = cores
    .map(({ distinct, rest }, core) => {
      const list = values.map((column) => column[core]!).join(', ');
      return `SELECT ${distinct ? 'DISTINCT ' : ''}${list}${rest}`;
    })
    .reduce((left, right, i) => `(${left}) ${operators[i - 1]!} (${right})`);
  return { sql, columns };
}
