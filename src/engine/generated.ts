/** Generated columns are read and compared like the others, and never written. */
import type { TablePlan } from '../contract.ts';

/** The table with its generated columns among the others, for who only reads it. */
export function asRead(table: TablePlan): TablePlan {
  return table.generated === undefined
    ? table
    : { ...table, columns: [...table.columns, ...table.generated] };
}
