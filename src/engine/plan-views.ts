/** Views: translated where their meaning is certain, to be tried on the target once the rows are there. */
import type Database from 'better-sqlite3';
import type { ColumnPlan, TablePlan, ViewPlan } from '../contract.ts';
import { asciiLower, literal, quoted } from '../databases/identifiers.ts';
import type { HeldMoments } from '../databases/moment.ts';
import { nameOnTarget, qualified } from '../databases/postgres/names.ts';
import type { SourceSchema, SourceTable } from '../databases/sqlite/schema.ts';
import { closing, isKeyword, isOperator, tokenize } from '../databases/sqlite/tokens.ts';
import { messageOf } from '../errors.ts';
import { Uncertain, type Literal } from './expression-nodes.ts';
import { oneLine, type Findings } from './findings.ts';
import { reportNames } from './plan-reports.ts';
import type { Relation, RelationColumn } from './select-scope.ts';
import { translateSelect } from './select.ts';
import { renamed, type ReservedNames, type TargetNames } from './target-names.ts';

/** @returns those that will be tried, each after the views that it reads; the others have a notice */
export function planViews(
  db: Database.Database,
  schema: SourceSchema,
  tables: TablePlan[],
  names: ReservedNames,
  moments: HeldMoments,
  findings: Findings,
): ViewPlan[] {
  const planner = new ViewPlanner(db, schema, tables, names, moments);
  for (const { name, sql } of schema.views) {
    const found = planner.view(name);
    if (typeof found === 'string') {
      findings.note({
        code: 'view-left-out',
        table: name,
        message: `view ${quoted(name)} is left out of the target: ${found}: ${oneLine(sql)}`,
      });
      continue;
    }
    reportNames('view', name, found.names, findings);
    const sums = found.plan.columns
      .filter(({ approximate }) => approximate)
      .map((column) => quoted(column.name));
    if (sums.length === 0) continue;
    findings.note({
      code: 'view-approximate',
      table: name,
      message: `view ${quoted(name)} adds up reals (${sums.join(', ')}): either database does so in an order of its own, so that the last digits may differ`,
    });
  }
  return planner.planned;
}

interface Translated {
  plan: ViewPlan;
  names: TargetNames;
  relation: Relation;
}

class ViewPlanner {
  readonly planned: ViewPlan[] = [];
  private readonly db: Database.Database;
  private readonly schema: SourceSchema;
  private readonly tables: TablePlan[];
  private readonly names: ReservedNames;
  private readonly moments: HeldMoments;
  /** By lower-case name: the translation, or why there is none. */
  private readonly done = new Map<string, Translated | string>();

  constructor(
    db: Database.Database,
    schema: SourceSchema,
    tables: TablePlan[],
    names: ReservedNames,
    moments: HeldMoments,
  ) {
    this.db = db;
    this.schema = schema;
    this.tables = tables;
    this.names = names;
    this.moments = moments;
  }

  view(name: string): Translated | string {
    const key = asciiLower(name);
    const known = this.done.get(key);
    if (known !== undefined) return known;
    this.done.set(key, 'it reads itself');
    const found = this.translate(this.schema.views.find((view) => asciiLower(view.name) === key)!);
    this.done.set(key, found);
    if (typeof found !== 'string') this.planned.push(found.plan);
    return found;
  }

  private translate(view: { name: string; sql: string }): Translated | string {
    let columns: string[];
    try {
      columns = this.db
        .prepare<[], string>(`SELECT name FROM pragma_table_xinfo(${literal(view.name)}) ORDER BY cid`)
        .pluck()
        .all();
    } catch (error) {
      return `it is broken in SQLite as well (${messageOf(error)})`;
    }
    const select = selectOf(view.sql);
    if (select === null) return 'its SQL is not understood';
    const read = new Set<number>();
    const selection = translateSelect(select, {
      relation: (name) => this.relation(name, read),
      constant: (sql) => this.constant(sql),
      moments: this.moments,
    });
    if (typeof selection === 'string') return selection;
    if (selection.columns.length !== columns.length) return 'its columns are not understood';
    const onTarget = this.names.ofView(view.name, columns);
    const found = selection.columns.map((column, i): RelationColumn => {
      const sourceName = columns[i]!;
      const { sql: _, ...kept } = column;
      return { ...kept, sourceName, name: onTarget.columns.get(sourceName)! };
    });
    return {
      names: onTarget,
      plan: {
        name: view.name,
        ...renamed(view.name, onTarget.name),
        columns: found.map(({ sourceName, name, approximate }) => ({
          name: sourceName,
          ...renamed(sourceName, name),
          ...(approximate === true ? { approximate } : {}),
        })),
        selectSql: selection.sql,
        tables: [...read].sort((a, b) => a - b),
      },
      relation: { sql: qualified(onTarget.name), columns: found },
    };
  }

  /** @throws Uncertain where the target has no such table or view */
  private relation(name: string, read: Set<number>): Relation {
    const key = asciiLower(name);
    const source = this.schema.tables.find((table) => asciiLower(table.name) === key);
    const plan = this.tables.find((table) => table.name === source?.name);
    if (source !== undefined && plan !== undefined) {
      read.add(plan.id);
      return relationOf(source, plan);
    }
    if (!this.schema.views.some((view) => asciiLower(view.name) === key)) {
      throw new Uncertain(`it reads ${quoted(name)}, which is not on the target`);
    }
    const view = this.view(name);
    if (typeof view === 'string') throw new Uncertain(`it reads view ${quoted(name)}, which is left out`);
    for (const id of view.plan.tables) read.add(id);
    return view.relation;
  }

  private constant(sql: string): Literal {
    const { type, value } = this.db
      .prepare<[], { type: string; value: unknown }>(
        `SELECT typeof(x) AS type, x AS value FROM (SELECT ${sql} AS x)`,
      )
      .safeIntegers()
      .get()!;
    switch (type) {
      case 'null':
        return { kind: 'null' };
      case 'text':
        return { kind: 'string', value: String(value) };
      case 'integer':
      case 'real':
        return { kind: 'number', text: String(value) };
      default:
        throw new Uncertain();
    }
  }
}

function relationOf(source: SourceTable, plan: TablePlan): Relation {
  const planned = [...plan.columns, ...(plan.generated ?? [])];
  const asColumn = (column: ColumnPlan, of?: SourceTable['columns'][number]): RelationColumn => ({
    sourceName: column.name,
    name: nameOnTarget(column),
    kind: column.kind,
    collation: of?.collation ?? 'BINARY',
    affinity: of?.affinity ?? 'INTEGER',
  });
  const columns = source.columns.flatMap((column) => {
    const found = planned.find(({ name }) => name === column.name);
    return found === undefined ? [] : [asColumn(found, column)];
  });
  const key = plan.rowidAlias ? plan.columns.find(({ name }) => name === plan.key[0]) : undefined;
  return {
    sql: qualified(nameOnTarget(plan)),
    columns,
    ...(key === undefined ? {} : { rowid: asColumn(key) }),
    ...(columns.length < source.columns.length ? { partial: true as const } : {}),
  };
}

/** What follows AS in CREATE VIEW; null where there is none. */
function selectOf(sql: string): string | null {
  const tokens = tokenize(sql) ?? [];
  for (let i = 0; i < tokens.length; i++) {
    if (isOperator(tokens[i], '(')) i = closing(tokens, i);
    else if (isKeyword(tokens[i], 'AS')) return sql.slice(tokens[i]!.end);
  }
  return null;
}
