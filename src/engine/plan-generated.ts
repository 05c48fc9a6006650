/** Generated columns: computed by both databases, where the expression's meaning is certain and holds every value. */
import type Database from 'better-sqlite3';
import type { GeneratedColumnPlan } from '../contract.ts';
import { asciiLower, quoted } from '../databases/identifiers.ts';
import { isMomentKind, momentType, type HeldMoments } from '../databases/moment.ts';
import { tableFacts, type TableFacts } from '../databases/sqlite/census.ts';
import type { SourceColumn, SourceTable } from '../databases/sqlite/schema.ts';
import { checksFor } from './checks.ts';
import { holds, preferredKinds, reason, targetType, type ColumnCase } from './column-types.ts';
import type { Form } from './expression-forms.ts';
import type { ColumnLookup, ColumnType } from './expression-parser.ts';
import { translateGenerated } from './expressions.ts';
import { named, oneLine, type Findings } from './findings.ts';
import { censusOf } from './plan-census.ts';
import type { Choices, ResolvedKey } from './plan-foreign-keys.ts';
import { renamed, type TargetNames } from './target-names.ts';

export interface GeneratedPlans {
  columns: GeneratedColumnPlan[];
  /** Conditions on their values, as SQL for the target, by the column's name there. */
  guards: { name: string; conditions: string[] }[];
}

/**
 * Plans the generated columns of a table and adds their facts to the table's.
 * @param choices kinds of the other columns @param moments the forms of dates that the target has
 */
export async function planGenerated(
  db: Database.Database,
  table: SourceTable,
  facts: TableFacts,
  choices: Choices,
  onTarget: TargetNames,
  moments: HeldMoments,
  findings: Findings,
): Promise<GeneratedPlans> {
  const known = new Map<string, ColumnType>();
  for (const { subject, choice } of choices.values()) {
    const { name, collation, affinity } = subject.column;
    known.set(asciiLower(name), {
      name: onTarget.columns.get(name)!,
      kind: choice.kind,
      collation,
      affinity,
    });
  }
  const lookup: ColumnLookup = (name) => known.get(asciiLower(name));
  const plans: GeneratedPlans = { columns: [], guards: [] };
  let pending = table.columns.filter((column) => column.generated !== 'no');
  // One that refers to another is translated after it.
  while (pending.length > 0) {
    const translated = pending.flatMap((column) => {
      const forms = translateGenerated(column.expression ?? '', lookup, column.affinity);
      return forms === null ? [] : [{ column, forms }];
    });
    if (translated.length === 0) break;
    const columns = translated.map(({ column }) => column);
    const found = await tableFacts(db, table, { columns });
    facts.largestRow += found.largestRow;
    for (const { column, forms } of translated) {
      const subject: ColumnCase = {
        column,
        facts: found.columns.get(column.name)!,
        default: { type: 'none' },
        indexed: true,
        keyed: false,
        rowid: false,
        strict: table.strict,
      };
      const form = fitting(subject, forms, moments);
      if (form === null) {
        leaveOut(
          table,
          column,
          `holds other values than the translation of ${oneLine(column.expression!)} gives`,
          findings,
        );
        continue;
      }
      facts.columns.set(column.name, subject.facts);
      const there = onTarget.columns.get(column.name)!;
      plans.columns.push({ ...planOf(subject, form), ...renamed(column.name, there) });
      plans.guards.push({
        name: there,
        conditions: [
          ...checksFor(there, subject, form.kind),
          ...(form.check === undefined ? [] : [form.check(quoted(there))]),
        ],
      });
      const { name, collation, affinity } = column;
      known.set(asciiLower(name), {
        name: there,
        kind: form.kind,
        collation,
        affinity,
        sql: `(${form.sql})`,
      });
      if (column.generated === 'virtual') reportStored(table, column, findings);
    }
    pending = pending.filter((column) => !columns.includes(column));
  }
  for (const column of pending) {
    leaveOut(
      table,
      column,
      `is computed as ${oneLine(column.expression ?? '')}, whose meaning on PostgreSQL is not certain`,
      findings,
    );
  }
  return plans;
}

/** The form of the kind that the column would get if it were an ordinary one. */
function fitting(subject: ColumnCase, forms: Form[], moments: HeldMoments): Form | null {
  for (const kind of preferredKinds(subject)) {
    if (isMomentKind(kind) && moments[momentType(kind)] !== kind) continue;
    const form = forms.find((candidate) => candidate.kind === kind);
    if (form !== undefined && holds(kind, subject)) return form;
  }
  return null;
}

function planOf(subject: ColumnCase, form: Form): GeneratedColumnPlan {
  const { column } = subject;
  return {
    name: column.name,
    declared: column.declared,
    kind: form.kind,
    targetType: targetType(form.kind, subject),
    why: `generated (${column.generated}) as ${oneLine(column.expression!)}; ${reason(form.kind, subject)}`,
    census: censusOf(subject.facts),
    notNull: column.notNull,
    identity: false,
    expressionSql: form.sql,
  };
}

function reportStored(table: SourceTable, column: SourceColumn, findings: Findings): void {
  findings.note({
    code: 'generated-stored',
    table: table.name,
    column: column.name,
    message: `${named(table.name, column.name)} is a virtual generated column: on the target it is stored`,
  });
}

function leaveOut(table: SourceTable, column: SourceColumn, what: string, findings: Findings): void {
  findings.decide({
    code: 'generated-column',
    table: table.name,
    column: column.name,
    what: `${named(table.name, column.name)} ${what}`,
    mend: 'drop it and compute it in the queries or in the application',
    chosen: 'it is left out of the target',
  });
}

/** The keys that the target can have, given which generated columns it has; what becomes of the others is reported. */
export function keysOverGenerated(
  keys: ResolvedKey[],
  plans: Map<string, GeneratedPlans>,
  choices: Map<string, Choices>,
  findings: Findings,
): ResolvedKey[] {
  const kindOf = (table: SourceTable, name: string): string | undefined =>
    choices.get(table.name)?.get(name)?.choice.kind ??
    plans.get(table.name)?.columns.find((column) => column.name === name)?.kind;
  const isGenerated = (table: SourceTable, name: string): boolean => !choices.get(table.name)!.has(name);
  return keys.flatMap((key) => {
    const { child, columns, parent, parentColumns } = key;
    const generated = columns.some((name) => isGenerated(child, name));
    if (!generated && !parentColumns.some((name) => isGenerated(parent, name))) return [key];
    const which = `foreign key (${columns.join(', ')}) of ${named(child.name)}`;
    const base = { table: child.name };
    for (const [i, name] of columns.entries()) {
      const [kind, parentKind] = [kindOf(child, name), kindOf(parent, parentColumns[i]!)];
      if (kind !== undefined && kind === parentKind) continue;
      if (kind === undefined || parentKind === undefined) {
        const message = `${which} is left out with the generated column that it needs`;
        findings.note({ ...base, code: 'foreign-key-left-out', message });
      } else {
        findings.decide({
          ...base,
          code: 'key-type-mismatch',
          column: name,
          what: `${which}: ${named(child.name, name)} holds ${kind} and refers to ${named(parent.name, parentColumns[i]!)}, which holds ${parentKind}`,
          mend: 'store both in one storage class',
          chosen: 'the foreign key is left out',
        });
      }
      return [];
    }
    return [generated ? withoutActions(key, which, findings) : key];
  });
}

/** Neither database can change a generated column: SQLite fails when it should, PostgreSQL does not take the action. */
function withoutActions(resolved: ResolvedKey, which: string, findings: Findings): ResolvedKey {
  const { key } = resolved;
  const possible = (action: string, also: string[]): string =>
    ['NO ACTION', 'RESTRICT', ...also].includes(action) ? action : 'NO ACTION';
  const [onUpdate, onDelete] = [possible(key.onUpdate, []), possible(key.onDelete, ['CASCADE'])];
  if (onUpdate !== key.onUpdate || onDelete !== key.onDelete) {
    findings.note({
      code: 'foreign-key-action',
      table: resolved.child.name,
      message: `${which} is over a generated column, which no action can change: it only refuses on the target`,
    });
  }
  return { ...resolved, key: { ...key, onUpdate, onDelete } };
}
