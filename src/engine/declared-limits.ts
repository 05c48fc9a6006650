/** Digits that DECIMAL(p,s) declares and SQLite does not enforce: values beyond them keep what they are, with a notice. */
import type Database from 'better-sqlite3';
import type { ColumnPlan } from '../contract.ts';
import { quoted } from '../databases/identifiers.ts';
import type { TableFacts } from '../databases/sqlite/census.ts';
import { withinScale } from '../databases/sqlite/census-sql.ts';
import type { ColumnFacts } from '../databases/sqlite/column-facts.ts';
import { declaredScale } from '../databases/sqlite/declared.ts';
import { findRows } from '../databases/sqlite/find-rows.ts';
import type { SourceColumn, SourceTable } from '../databases/sqlite/schema.ts';
import { named, type Findings } from './findings.ts';

/** Reads a table again only for a column in which the census saw such a value. */
export async function reportDigits(
  db: Database.Database,
  table: SourceTable,
  facts: TableFacts,
  plans: ColumnPlan[],
  findings: Findings,
): Promise<void> {
  for (const column of table.columns) {
    const found = facts.columns.get(column.name);
    const plan = plans.find(({ name }) => name === column.name);
    // Where it has another type than numeric, another notice tells of its values.
    if (found === undefined || plan?.kind !== 'numeric') continue;
    const condition = beyondDigits(column, found);
    if (condition === null) continue;
    const { count, keys } = await findRows(db, table, condition);
    if (count === 0) continue;
    findings.note({
      code: 'more-digits-than-declared',
      table: table.name,
      column: column.name,
      count,
      keys,
      message: `${named(table.name, column.name)} is declared ${column.declared}, and ${count} of its numbers have more digits: it is ${plan.targetType} on the target, which keeps them as they are`,
    });
  }
}

/** SQL that finds the numbers beyond what is declared; null where the census saw none. */
function beyondDigits(column: SourceColumn, facts: ColumnFacts): string | null {
  const limits = declaredScale(column);
  if (limits === null) return null;
  const bound = 10 ** (limits.precision - limits.scale);
  const within = (value: number | bigint | null): boolean =>
    value === null || (value > -bound && value < bound);
  if (facts.inScale === facts.reals && within(facts.least) && within(facts.greatest)) return null;
  return `typeof(t.${quoted(column.name)}) IN ('integer', 'real') AND NOT ${withinScale(column, limits)}`;
}
