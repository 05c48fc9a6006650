/** NOT NULL that does not hold: SQLite keeps NULLs that were there before the constraint was written into the schema. */
import { quoted } from '../databases/identifiers.ts';
import type { TableFacts } from '../databases/sqlite/census.ts';
import type { SourceTable } from '../databases/sqlite/schema.ts';
import { named, type Findings } from './findings.ts';

/** The tables with NOT NULL only where no row is NULL; the others have a notice. */
export function provedNotNull(
  tables: SourceTable[],
  facts: ReadonlyMap<string, TableFacts>,
  findings: Findings,
): SourceTable[] {
  return tables.map((table) => {
    const columns = table.columns.map((column) => {
      const count = facts.get(table.name)?.columns.get(column.name)?.nulls ?? 0;
      if (!column.notNull || count === 0) return column;
      findings.note(
        {
          code: 'null-despite-not-null',
          table: table.name,
          column: column.name,
          count,
          message: `${named(table.name, column.name)} is declared NOT NULL and NULL in ${count} rows: it may be NULL on the target`,
        },
        // SQLite takes IS NULL for false without looking, because of the constraint.
        { table, condition: `typeof(t.${quoted(column.name)}) = 'null'` },
      );
      return { ...column, notNull: false };
    });
    return { ...table, columns };
  });
}
