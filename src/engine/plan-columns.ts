/** The columns of a table: their kinds, what becomes of their defaults, and what guards the way back. */
import type { ColumnKind, ColumnPlan, Policies, TablePlan } from '../contract.ts';
import { quoted } from '../databases/identifiers.ts';
import type { TableFacts } from '../databases/sqlite/census.ts';
import type { SourceTable } from '../databases/sqlite/schema.ts';
import { checksFor } from './checks.ts';
import { chooseKind, mixedCode, targetType } from './column-types.ts';
import { defaultSql, readDefault } from './defaults.ts';
import { named, type Findings } from './findings.ts';
import { misfits, oddValues, reportValues } from './odd-values.ts';
import { chosenKind, momentWanted, reportChosen } from './overrides.ts';
import type { Choices, Chosen, ResolvedKey } from './plan-foreign-keys.ts';
import type { GeneratedPlans } from './plan-generated.ts';
import { isTooLarge } from './plan-indexes.ts';
import { censusOf } from './plan-census.ts';
import { chooseKey, rowNumbersInstead, type KeyChoice } from './plan-key.ts';
import { freeName, renamed, type TargetNames } from './target-names.ts';

/**
 * Chooses the key of a table that is copied, and a kind for every column.
 * @param wanted kinds that overrides ask for, by column name
 */
export function chooseColumns(
  table: SourceTable,
  facts: TableFacts,
  keys: ResolvedKey[],
  wanted: ReadonlyMap<string, ColumnKind>,
  policy: Policies['keys'],
): { key: KeyChoice; chosen: Choices } {
  const indexed = new Set([
    ...table.primaryKey,
    ...table.indexes.flatMap((index) => index.terms.map((term) => term.column)),
    ...keys.filter((key) => key.child === table).flatMap((key) => key.columns),
    ...keys.filter((key) => key.parent === table).flatMap((key) => key.parentColumns),
  ]);
  const key = chooseKey(table, facts);
  const chosen = choicesOf(table, facts, indexed, key, wanted);
  const instead =
    policy === 'refuse'
      ? null
      : rowNumbersInstead(table, key, facts, chosen, (index) => isTooLarge(facts, index));
  if (instead === null) return { key, chosen };
  return { key: instead, chosen: choicesOf(table, facts, indexed, instead, wanted) };
}

function choicesOf(
  table: SourceTable,
  facts: TableFacts,
  indexed: Set<string | undefined>,
  key: KeyChoice,
  wanted: ReadonlyMap<string, ColumnKind>,
): Choices {
  const choices: Choices = new Map();
  for (const column of table.columns) {
    if (column.generated !== 'no') continue;
    const subject = {
      column,
      facts: facts.columns.get(column.name)!,
      default: readDefault(column.defaultText, column.affinity),
      indexed: indexed.has(column.name),
      keyed: key.columns.includes(column.name),
      rowid: table.rowidAlias && column.name === table.primaryKey[0],
      strict: table.strict,
    };
    const own = chooseKind(subject);
    const asked = wanted.get(column.name);
    const kind = asked === undefined ? undefined : momentWanted(asked, subject);
    choices.set(
      column.name,
      kind === undefined
        ? { subject, choice: own }
        : { subject, choice: chosenKind(kind, own, subject), fixed: true },
    );
  }
  return choices;
}

/** What becomes of a column, with findings about its type and default. */
export function planColumn(
  table: SourceTable,
  { subject, choice, fixed }: Chosen,
  facts: TableFacts,
  onTarget: TargetNames,
  findings: Findings,
): ColumnPlan {
  const { column, default: value } = subject;
  const odd = oddValues(column, facts.columns.get(column.name)!);
  const rows = odd === undefined ? undefined : { table, condition: odd.condition };
  if (choice.obstacle !== undefined) {
    const { code, count, what, remedy } = choice.obstacle;
    const message = `${named(table.name, column.name)}: ${what}; ${remedy}`;
    findings.block(
      { code, table: table.name, column: column.name, ...(count === undefined ? {} : { count }), message },
      code === 'override' ? misfits(table, column, choice.kind, count) : rows,
    );
  }
  if (choice.kind === 'mixed' && choice.obstacle === undefined) {
    findings.note(
      {
        code: mixedCode(facts.columns.get(column.name)!),
        table: table.name,
        column: column.name,
        ...(odd === undefined ? {} : { count: odd.count }),
        message: `${named(table.name, column.name)}: ${choice.why}; it is varchar on the target, and DatabaseConnection gives every value back as it was, but SQL there cannot compute with it or order it as numbers`,
      },
      rows,
    );
  }
  if (choice.obstacle === undefined) {
    reportChosen(table, column, choice.kind, findings);
    if (fixed !== true) reportValues(table, subject, choice, findings);
  }
  const identity = table.rowidAlias && column.name === table.primaryKey[0];
  const plan: ColumnPlan = {
    name: column.name,
    ...renamed(column.name, onTarget.columns.get(column.name)!),
    declared: column.declared,
    kind: choice.kind,
    targetType: targetType(choice.kind, subject),
    why: identity ? `${choice.why}; numbered by the target` : choice.why,
    census: censusOf(facts.columns.get(column.name)!),
    notNull: column.notNull || identity,
    identity,
  };
  const sql = identity ? null : defaultSql(value, choice.kind, column.affinity);
  if (sql === undefined) reportDefault(table, column.name, column.defaultText ?? '', plan, findings);
  else if (sql !== null) plan.defaultSql = sql;
  return plan;
}

/** CHECKs of the target that keep out what could not go back. */
export function guardsOf(
  choices: Choices,
  generated: GeneratedPlans,
  onTarget: TargetNames,
): TablePlan['guards'] {
  // Names of constraints are only unique within their table.
  const taken = new Set<string>();
  const guards = (name: string, conditions: string[]): TablePlan['guards'] =>
    conditions.map((sql) => ({ name: freeName(`crossfade_${name}`, taken), sql }));
  return [
    ...[...choices.values()].flatMap(({ subject, choice }) => {
      const name = onTarget.columns.get(subject.column.name)!;
      return guards(name, checksFor(name, subject, choice.kind));
    }),
    ...generated.guards.flatMap(({ name, conditions }) => guards(name, conditions)),
  ];
}

/**
 * A default that is left out: where NULL is allowed, an insert that relies on it stores NULL, which a notice can tell.
 * Where it is not, every such insert would fail after the cutover, which is for the operator to decide before.
 */
function reportDefault(
  table: SourceTable,
  column: string,
  text: string,
  plan: ColumnPlan,
  findings: Findings,
): void {
  const zone = /'localtime'/i.test(text)
    ? ', because it depends on the time zone of the process that inserts'
    : '';
  const what = `${named(table.name, column)}: its default ${text} has no certain form as ${plan.targetType}${zone}`;
  if (plan.notNull) {
    findings.decide({
      code: 'default-not-null',
      table: table.name,
      column,
      what: `${what}, and the column is NOT NULL, so inserts that leave it out would fail`,
      mend: `let the application write ${quoted(column)} itself and take the default out of the schema`,
      chosen: 'it is left out of the target',
    });
  } else {
    findings.note({
      code: 'default-left-out',
      table: table.name,
      column,
      message: `${what}: an insert that leaves it out stores NULL on the target`,
    });
  }
}
