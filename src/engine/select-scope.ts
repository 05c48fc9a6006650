/** What the names in a SELECT mean: the tables and subqueries of its FROM, its result columns' aliases, the SELECT outside. */
import { asciiLower, quoted } from '../databases/identifiers.ts';
import type { ColumnType } from './expression-parser.ts';
import { Uncertain } from './expression-nodes.ts';

export interface RelationColumn extends ColumnType {
  /** On the source; `name` is the target's. */
  sourceName: string;
  /** Adds reals up, so that its last digits depend on the order of the rows. */
  approximate?: true;
}

/** A table, view or subquery that can be read on the target. */
export interface Relation {
  /** As FROM names it. */
  sql: string;
  /** In the order of `*`. */
  columns: RelationColumn[];
  /** The target lacks some of them. */
  partial?: true;
  /** The column that is the rowid, which `*` need not have. */
  rowid?: RelationColumn;
}

export interface FromItem {
  alias: string;
  relation: Relation;
  /** Lower-case names of columns that USING has joined to one on the left. */
  merged: Set<string>;
}

const ROWID_NAMES = ['rowid', 'oid', '_rowid_'];

export class Scope {
  readonly items: FromItem[] = [];
  /** Result columns by the lower-case alias. */
  readonly aliases = new Map<string, RelationColumn>();
  readonly outer: Scope | null;

  constructor(outer: Scope | null) {
    this.outer = outer;
  }

  add(alias: string, relation: Relation): FromItem {
    const item = { alias, relation, merged: new Set<string>() };
    this.items.push(item);
    return item;
  }

  /** @throws Uncertain where no column has the name, or several have */
  find(name: string, alias?: string): RelationColumn {
    const found = this.found(name, alias);
    if (found !== null) return found;
    if (this.outer !== null) return this.outer.find(name, alias);
    throw new Uncertain(
      `column ${alias === undefined ? '' : `${alias}.`}${name} is not known, or not on the target`,
    );
  }

  private found(name: string, alias?: string): RelationColumn | null {
    const wanted = asciiLower(name);
    const items = this.items.filter(
      (item) => alias === undefined || asciiLower(item.alias) === asciiLower(alias),
    );
    const matches = items.flatMap((item) => {
      const column = item.relation.columns.find(({ sourceName }) => asciiLower(sourceName) === wanted);
      return column === undefined || (alias === undefined && item.merged.has(wanted))
        ? []
        : [within(item, column)];
    });
    if (matches.length > 1) throw new Uncertain(`several columns are called ${name}`);
    if (matches.length === 1) return matches[0]!;
    const rowids = items.filter((item) => item.relation.rowid !== undefined);
    if (ROWID_NAMES.includes(wanted) && rowids.length === 1)
      return within(rowids[0]!, rowids[0]!.relation.rowid!);
    return alias === undefined ? (this.aliases.get(wanted) ?? null) : null;
  }
}

/** The column as an expression names it. */
export function within(item: FromItem, column: RelationColumn): RelationColumn {
  return { ...column, sql: `${quoted(item.alias)}.${quoted(column.name)}` };
}
