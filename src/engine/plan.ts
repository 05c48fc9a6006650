/** The plan: what every table, column, index and constraint of the source becomes, and what stands against it. */
import type Database from 'better-sqlite3';
import type { ColumnKind, ColumnPlan, MigrationInput, Plan, TablePlan } from '../contract.ts';
import { quoted } from '../databases/identifiers.ts';
import { tableFacts, type TableFacts } from '../databases/sqlite/census.ts';
import { sourceError } from '../databases/sqlite/connection.ts';
import { nameOnTarget } from '../databases/postgres/names.ts';
import { schemaFingerprint } from '../databases/sqlite/fingerprint.ts';
import { rowidName } from '../databases/sqlite/ranges.ts';
import { readSchema, type SourceSchema, type SourceTable } from '../databases/sqlite/schema.ts';
import { CrossfadeError } from '../errors.ts';
import { checksFor } from './checks.ts';
import { chooseKind, mixedCode, TARGET_TYPES } from './column-types.ts';
import { defaultSql, readDefault } from './defaults.ts';
import { Findings, named } from './findings.ts';
import { misfits, oddValues } from './odd-values.ts';
import { chosen, reportChosen, reportSkipped, resolveOverrides, type Resolved } from './overrides.ts';
import { planChecks } from './plan-checks.ts';
import {
  planForeignKeys,
  resolveForeignKeys,
  unifyKeyKinds,
  type Choices,
  type ResolvedKey,
} from './plan-foreign-keys.ts';
import { checkKey, chooseKey, isFolded, keyIndexOf, planIndexes, rowNumberColumn } from './plan-indexes.ts';
import { keysOverGenerated, planGenerated, type GeneratedPlans } from './plan-generated.ts';
import { reportSchema, reportTable } from './plan-reports.ts';
import { freeName, renamed, reserveNames, type ReservedNames, type TargetNames } from './target-names.ts';

/** How often a plan is begun again because the schema changed under it. */
const ATTEMPTS = 3;

/** What the operator chose. */
export type PlanChoices = Pick<MigrationInput, 'policies' | 'overrides'>;

/**
 * Reads the schema and takes the census of every row, in short steps. Changes nothing.
 * @param onProgress told the number of rows counted so far
 * @throws CrossfadeError SourceBusy, SourceNotSqlite, SchemaChanged; InvalidInput where an override names what is not there
 */
export async function planMigration(
  db: Database.Database,
  choices: PlanChoices,
  onProgress?: (rows: number) => void,
): Promise<Plan> {
  try {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      const fingerprint = schemaFingerprint(db);
      const plan = await planOnce(db, fingerprint, choices, onProgress).catch((error: unknown) => {
        // A table or column that is gone fails as any SQL error does; only the fingerprint tells why.
        if (schemaFingerprint(db) === fingerprint) throw error;
        return null;
      });
      if (plan !== null && schemaFingerprint(db) === fingerprint) return plan;
    }
  } catch (error) {
    throw error instanceof CrossfadeError ? error : sourceError(db.name, error);
  }
  throw new CrossfadeError(
    'SchemaChanged',
    `source ${db.name}: its schema changed during each of ${ATTEMPTS} plans: wait until its migrations are done`,
  );
}

async function planOnce(
  db: Database.Database,
  fingerprint: string,
  choices: PlanChoices,
  onProgress?: (rows: number) => void,
): Promise<Plan> {
  const { policies } = choices;
  const findings = new Findings();
  const whole = readSchema(db);
  const overrides = resolveOverrides(whole, choices.overrides);
  const schema = withoutSkipped(whole, overrides);
  reportSkipped(whole, overrides, findings);
  reportSchema(db, schema, policies, findings);
  const facts = await census(db, schema, overrides, findings, onProgress);
  const tables = schema.tables.filter((table) => facts.has(table.name));

  const keys = resolveForeignKeys(tables, overrides.skipped, findings);
  const kinds = new Map(
    tables.map((table) => [
      table.name,
      choicesOf(table, facts.get(table.name)!, keys, overrides.kindsOf(table)),
    ]),
  );
  unifyKeyKinds(keys, kinds, findings);
  const names = reserveNames(tables, policies.identifiers);
  const generated = new Map<string, GeneratedPlans>();
  for (const table of tables) {
    const [found, chosen] = [facts.get(table.name)!, kinds.get(table.name)!];
    const plans = await planGenerated(
      db,
      table,
      found,
      chosen,
      names.of(table),
      policies.generatedColumns,
      findings,
    );
    generated.set(table.name, plans);
  }
  const possibleKeys = keysOverGenerated(keys, generated, kinds, findings);

  const plans: TablePlan[] = [];
  for (const [i, table] of tables.entries()) {
    const plan = planTable(
      i + 1,
      table,
      facts.get(table.name)!,
      kinds.get(table.name)!,
      generated.get(table.name)!,
      schema,
      names,
      findings,
    );
    plan.checks.push(
      ...(await planChecks(db, table, [...plan.columns, ...(plan.generated ?? [])], findings)),
    );
    plan.foreignKeys = await planForeignKeys(
      db,
      possibleKeys.filter((key) => key.child === table),
      names,
      findings,
    );
    plans.push(plan);
  }
  await findings.locate(db);
  return {
    fingerprint,
    sourceBytes:
      Number(db.pragma('page_count', { simple: true })) * Number(db.pragma('page_size', { simple: true })),
    tables: plans,
    blockers: findings.blockers,
    notices: findings.notices,
  };
}

/** The schema without the tables that stay behind; triggers on them stay with them. */
function withoutSkipped(schema: SourceSchema, { skipped }: Resolved): SourceSchema {
  const stays = (name: string): boolean => skipped.has(name.toLowerCase());
  return {
    ...schema,
    tables: schema.tables.filter(({ name }) => !stays(name)),
    virtualTables: schema.virtualTables.filter(({ name }) => !stays(name)),
    triggers: schema.triggers.filter(({ table }) => !stays(table)),
  };
}

async function census(
  db: Database.Database,
  schema: SourceSchema,
  overrides: Resolved,
  findings: Findings,
  onProgress?: (rows: number) => void,
): Promise<Map<string, TableFacts>> {
  const facts = new Map<string, TableFacts>();
  let counted = 0;
  for (const table of schema.tables) {
    if (!table.withoutRowid && rowidName(table) === null) {
      findings.block({
        code: 'hidden-rowid',
        table: table.name,
        message: `${named(table.name)} has columns called rowid, _rowid_ and oid, which hide its row numbers: rename one of them`,
      });
      continue;
    }
    const found = await tableFacts(db, table, {
      wanted: overrides.kindsOf(table),
      onRows: (rows) => {
        counted += rows;
        onProgress?.(counted);
      },
    });
    facts.set(table.name, found);
  }
  return facts;
}

/** Chooses a kind for every column of a table that is copied. */
function choicesOf(
  table: SourceTable,
  facts: TableFacts,
  keys: ResolvedKey[],
  wanted: ReadonlyMap<string, ColumnKind>,
): Choices {
  const indexed = new Set([
    ...table.primaryKey,
    ...table.indexes.flatMap((index) => index.terms.map((term) => term.column)),
    ...keys.filter((key) => key.child === table).flatMap((key) => key.columns),
    ...keys.filter((key) => key.parent === table).flatMap((key) => key.parentColumns),
  ]);
  const key = chooseKey(table).columns;
  const choices: Choices = new Map();
  for (const column of table.columns) {
    if (column.generated !== 'no') continue;
    const subject = {
      column,
      facts: facts.columns.get(column.name)!,
      default: readDefault(column.defaultText, column.affinity),
      indexed: indexed.has(column.name),
      keyed: key.includes(column.name),
      rowid: table.rowidAlias && column.name === table.primaryKey[0],
      strict: table.strict,
    };
    const own = chooseKind(subject);
    const kind = wanted.get(column.name);
    choices.set(
      column.name,
      kind === undefined
        ? { subject, choice: own }
        : { subject, choice: chosen(kind, own, subject), fixed: true },
    );
  }
  return choices;
}

function planTable(
  id: number,
  table: SourceTable,
  facts: TableFacts,
  choices: Choices,
  generated: GeneratedPlans,
  schema: SourceSchema,
  names: ReservedNames,
  findings: Findings,
): TablePlan {
  const onTarget = names.of(table);
  reportTable(table, facts, onTarget, findings);
  const columns = [...choices.values()].map(({ subject: { column, default: value }, choice }): ColumnPlan => {
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
    if (choice.obstacle === undefined) reportChosen(table, column, choice.kind, findings);
    const identity = table.rowidAlias && column.name === table.primaryKey[0];
    const plan: ColumnPlan = {
      name: column.name,
      ...renamed(column.name, onTarget.columns.get(column.name)!),
      declared: column.declared,
      kind: choice.kind,
      targetType: TARGET_TYPES[choice.kind],
      why: identity ? `${choice.why}; numbered by the target` : choice.why,
      notNull: column.notNull || identity,
      identity,
    };
    const sql = identity ? null : defaultSql(value, choice.kind, column.affinity);
    if (sql === undefined) reportDefault(table, column.name, column.defaultText ?? '', plan, findings);
    else if (sql !== null) plan.defaultSql = sql;
    return plan;
  });
  const key = chooseKey(table);
  const numbered = key.columns.length === 0;
  if (numbered) {
    const column = rowNumberColumn(table, findings);
    columns.push(column);
    key.columns = [column.name];
  }
  const subject = { table, facts, columns: [...columns, ...generated.columns] };
  checkKey(subject, key, findings);
  const folded = isFolded(subject, keyIndexOf(table, key));
  const indexes = planIndexes(subject, key, names, findings);
  for (const column of columns) {
    if (column.identity) column.sequenceName = names.ours(`${onTarget.name}_${nameOnTarget(column)}_seq`);
  }
  return {
    id,
    name: table.name,
    ...renamed(table.name, onTarget.name),
    columns,
    ...(generated.columns.length === 0 ? {} : { generated: generated.columns }),
    key: key.columns,
    // A unique index that serves as the key keeps its name as the constraint's.
    keyName:
      key.index?.origin === 'c' && !folded
        ? names.indexes.get(key.index.name)!
        : names.ours(`${onTarget.name}_pkey`),
    ...(folded || columns.some((column) => column.kind === 'mixed' && key.columns.includes(column.name))
      ? { ordered: false as const }
      : {}),
    ...(numbered ? { rowNumbered: true as const } : {}),
    rowidAlias: table.rowidAlias || numbered,
    withoutRowid: table.withoutRowid,
    autoincrement: table.autoincrement,
    rows: facts.rows,
    largestRow: facts.largestRow,
    indexes,
    foreignKeys: [],
    checks: [],
    guards: guardsOf(choices, generated, onTarget),
    triggers: schema.triggers
      .filter((trigger) => trigger.table.toLowerCase() === table.name.toLowerCase())
      .map(({ name, sql }) => ({ name, sql })),
  };
}

function guardsOf(choices: Choices, generated: GeneratedPlans, onTarget: TargetNames): TablePlan['guards'] {
  // Names of constraints are only unique within their table.
  const taken = new Set<string>();
  const guards = (name: string, conditions: string[]): TablePlan['guards'] =>
    conditions.map((sql) => ({ name: freeName(`crossfade_${name}`, taken), sql }));
  return [
    ...[...choices.values()].flatMap(({ subject: { column }, choice }) => {
      const name = onTarget.columns.get(column.name)!;
      return guards(name, checksFor(name, column, choice.kind));
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
  const what = `${named(table.name, column)}: its default ${text} has no certain form as ${plan.targetType}`;
  if (plan.notNull) {
    findings.block({
      code: 'default-not-null',
      table: table.name,
      column,
      message: `${what}, and the column is NOT NULL, so inserts that leave it out would fail: let the application write ${quoted(column)} itself and take the default out of the schema`,
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
