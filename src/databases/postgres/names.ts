/** How a planned table and its columns are spelled on the target, where a name may differ from the source's. */
import type { TablePlan } from '../../contract.ts';
import { quoted } from '../identifiers.ts';

/** The name on the target of a planned table or column, not quoted. */
export function nameOnTarget(planned: { name: string; targetName?: string }): string {
  return planned.targetName ?? planned.name;
}

/** The table for use in SQL. The application's tables live in the schema that every client of PostgreSQL looks into first. */
export function targetTable(table: Pick<TablePlan, 'name' | 'targetName'>): string {
  return qualified(nameOnTarget(table));
}

/** A name of schema public for use in SQL. */
export function qualified(name: string): string {
  return `public.${quoted(name)}`;
}

/** Every column for use in SQL, in the plan's order, qualified by an alias where one is given. */
export function targetColumns(table: TablePlan, alias = ''): string[] {
  return table.columns.map((column) => qualifiedBy(alias, nameOnTarget(column)));
}

/** The key's columns for use in SQL, in key order, qualified by an alias where one is given. */
export function targetKey(table: TablePlan, alias = ''): string[] {
  return table.key.map((name) => {
    const column = table.columns.find((candidate) => candidate.name === name)!;
    return qualifiedBy(alias, nameOnTarget(column));
  });
}

/** Condition that the row `t` has the key of the row `d` of `keysAsRows`. */
export function sameKeyAs(table: TablePlan): string {
  return targetKey(table, 't')
    .map((name, i) => `${name} = d.k${i}`)
    .join(' AND ');
}

function qualifiedBy(alias: string, name: string): string {
  return alias === '' ? quoted(name) : `${alias}.${quoted(name)}`;
}
