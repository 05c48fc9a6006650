/** How a translated expression finds the columns of its table. */
import type { ColumnPlan } from '../contract.ts';
import { sameName } from '../databases/identifiers.ts';
import { nameOnTarget } from '../databases/postgres/names.ts';
import type { SourceTable } from '../databases/sqlite/schema.ts';
import type { ColumnLookup } from './expression-parser.ts';

export function lookupOf(table: SourceTable, columns: ColumnPlan[]): ColumnLookup {
  return (name) => {
    const plan = columns.find((column) => sameName(column.name, name));
    const source = table.columns.find((column) => column.name === plan?.name);
    return plan === undefined || source === undefined
      ? undefined
      : { name: nameOnTarget(plan), kind: plan.kind, collation: source.collation, affinity: source.affinity };
  };
}
