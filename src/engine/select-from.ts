/** The FROM clause: tables, views, subqueries and joins, whose names its scope then knows. */
import { asciiLower, quoted } from '../databases/identifiers.ts';
import { isKeyword, isOperator } from '../databases/sqlite/tokens.ts';
import { compared, truth, Uncertain } from './expression-nodes.ts';
import { columnNode, QueryExpressions, type Selection } from './select-expressions.ts';
import { within, type FromItem, type Relation, type Scope } from './select-scope.ts';
import { freeName } from './target-names.ts';

/** Words that end a name or an expression, so that they are no alias. */
const CLAUSES = [
  ...['FROM', 'WHERE', 'GROUP', 'HAVING', 'ORDER', 'LIMIT', 'WINDOW', 'UNION', 'EXCEPT', 'INTERSECT'],
  ...['JOIN', 'LEFT', 'RIGHT', 'FULL', 'INNER', 'CROSS', 'NATURAL', 'OUTER', 'ON', 'USING', 'INDEXED', 'NOT'],
];

export abstract class FromParser extends QueryExpressions {
  /** WITH's, by the lower-case name, innermost last. */
  protected readonly withs: Map<string, Relation>[] = [];

  /** The clause after FROM. @returns SQL */
  protected from(scope: Scope): string {
    let sql = this.operand(scope);
    for (;;) {
      const join = this.join();
      if (join === null) return sql;
      const before = scope.items.length;
      const right = this.operand(scope);
      const [left, added] = [scope.items.slice(0, before), scope.items.slice(before)];
      let on: string | null = null;
      if (join.natural) on = this.using(common(left, added), left, added, join.type);
      else if (this.keyword('ON')) on = truth(this.or());
      else if (this.keyword('USING')) on = this.using(this.names(), left, added, join.type);
      if (on === null && join.type !== 'JOIN') on = 'true';
      sql = on === null ? `${sql} CROSS JOIN ${right}` : `${sql} ${join.type} ${right} ON ${on}`;
    }
  }

  private join(): { type: string; natural: boolean } | null {
    if (this.operator(',')) return { type: 'JOIN', natural: false };
    const natural = this.keyword('NATURAL');
    for (const side of ['LEFT', 'RIGHT', 'FULL']) {
      if (!this.keyword(side)) continue;
      this.keyword('OUTER');
      if (!this.keyword('JOIN')) throw new Uncertain();
      return { type: `${side} JOIN`, natural };
    }
    if (this.keyword('INNER') || this.keyword('CROSS') || natural) {
      if (!this.keyword('JOIN')) throw new Uncertain();
      return { type: 'JOIN', natural };
    }
    return this.keyword('JOIN') ? { type: 'JOIN', natural } : null;
  }

  private using(names: string[], left: FromItem[], right: FromItem[], type: string): string {
    // Of the others, the one column is that of either side.
    if (type !== 'JOIN' && type !== 'LEFT JOIN') throw new Uncertain(`it uses ${type} with USING`);
    const conditions = names.map((name) => {
      const [a, b] = [columnOf(left, name), columnOf(right, name)];
      b.item.merged.add(asciiLower(name));
      return truth(compared('=', columnNode(a.column), columnNode(b.column)));
    });
    return conditions.length === 0 ? 'true' : conditions.join(' AND ');
  }

  /** Names in parentheses. */
  protected names(): string[] {
    this.expect('(');
    const names: string[] = [];
    do names.push(this.tokens[this.at++]?.value ?? '');
    while (this.operator(','));
    this.expect(')');
    return names;
  }

  private operand(scope: Scope): string {
    if (this.operator('(')) {
      if (this.beginsSelect(this.at)) {
        const selection = this.select(scope.outer);
        this.expect(')');
        const alias = this.alias() ?? `subquery_${this.at}`;
        const relation = asRelation(selection);
        scope.add(alias, relation);
        return `${relation.sql} AS ${quoted(alias)} (${relation.columns.map(({ name }) => quoted(name)).join(', ')})`;
      }
      const inner = this.from(scope);
      this.expect(')');
      if (this.alias() !== null) throw new Uncertain();
      return `(${inner})`;
    }
    let name = this.tokens[this.at++];
    if (this.operator('.')) {
      if (name?.value.toLowerCase() !== 'main') throw new Uncertain();
      name = this.tokens[this.at++];
    }
    if (name === undefined || !['word', 'quoted', 'string'].includes(name.kind)) throw new Uncertain();
    if (isOperator(this.tokens[this.at], '(')) throw new Uncertain(`it reads the function ${name.value}`);
    const relation = this.readable(name.value);
    const alias = this.alias() ?? name.value;
    scope.add(alias, relation);
    if (this.keyword('INDEXED')) {
      if (!this.keyword('BY')) throw new Uncertain();
      this.at++;
    } else if (isKeyword(this.tokens[this.at], 'NOT') && isKeyword(this.tokens[this.at + 1], 'INDEXED')) {
      this.at += 2;
    }
    return `${relation.sql} AS ${quoted(alias)}`;
  }

  private readable(name: string): Relation {
    const wanted = asciiLower(name);
    const found = this.withs.findLast((level) => level.has(wanted))?.get(wanted);
    return found ?? this.context.relation(name);
  }

  /** A name with or without AS; null where there is none. */
  protected alias(): string | null {
    const explicit = this.keyword('AS');
    const token = this.tokens[this.at];
    const named =
      token?.kind === 'quoted' ||
      token?.kind === 'string' ||
      (token?.kind === 'word' && !isKeyword(token, ...CLAUSES));
    if (!named) {
      if (explicit) throw new Uncertain();
      return null;
    }
    this.at++;
    return token.value;
  }
}

/** A subquery under column names that are different from one another. */
export function asRelation({ sql, columns }: Selection): Relation {
  const taken = new Set<string>();
  return {
    sql: `(${sql})`,
    columns: columns.map((column) => ({ ...column, name: freeName(column.sourceName || 'column', taken) })),
  };
}

function columnOf(items: FromItem[], name: string) {
  const wanted = asciiLower(name);
  for (const item of items) {
    const column = item.relation.columns.find(({ sourceName }) => asciiLower(sourceName) === wanted);
    if (column !== undefined && !item.merged.has(wanted)) return { item, column: within(item, column) };
  }
  throw new Uncertain(`column ${name} is not known`);
}

/** Names of columns that both sides of a NATURAL JOIN have, in the order of the left. */
function common(left: FromItem[], right: FromItem[]): string[] {
  const names = (items: FromItem[]): string[] =>
    items.flatMap((item) =>
      item.relation.columns
        .map(({ sourceName }) => asciiLower(sourceName))
        .filter((name) => !item.merged.has(name)),
    );
  const there = new Set(names(right));
  return names(left).filter((name) => there.has(name));
}
