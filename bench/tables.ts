/** The application's tables on the target without crossfade, for the other sides: the same columns, checks and primary keys. */
import { createTableSql } from '../src/databases/postgres/ddl.ts';
import type { Plan, TablePlan } from '../src/contract.ts';
import { quoted } from '../src/databases/identifiers.ts';
import { withClient } from './target.ts';

export async function createBareTables(url: string, plan: Plan): Promise<void> {
  await withClient(url, (client) => client.query(plan.tables.map(createTableSql).join(';\n')));
}

/** Columns in the plan's order, quoted. */
export function columnList(table: TablePlan): string {
  return table.columns.map((column) => quoted(column.name)).join(', ');
}
