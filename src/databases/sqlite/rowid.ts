/** The rowid under a name that no column of the table hides (https://sqlite.org/lang_createtable.html#rowid). */
import type { TablePlan } from '../../contract.ts';
import { CrossfadeError } from '../../errors.ts';
import { quoted } from '../identifiers.ts';

/** The name, quoted. @throws CrossfadeError PlanRefused where columns hide all three of them; the plan blocks such a table */
export function rowidOf(table: TablePlan): string {
  // Its name is among the columns then, as the key.
  if (table.rowNumbered) return quoted(table.key[0]!);
  const taken = new Set(table.columns.map((column) => column.name.toLowerCase()));
  const name = ['rowid', '_rowid_', 'oid'].find((candidate) => !taken.has(candidate));
  if (name === undefined) {
    throw new CrossfadeError(
      'PlanRefused',
      `source table ${quoted(table.name)}: its columns hide the row numbers`,
    );
  }
  return quoted(name);
}
