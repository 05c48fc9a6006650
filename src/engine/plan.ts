/** The plan: what every table, column, index and constraint of the source becomes, and what stands against it. */
import type Database from 'better-sqlite3';
import { asciiLower, sameName } from '../databases/identifiers.ts';
import type { MigrationInput, Plan, TablePlan } from '../contract.ts';
import { tableFacts, type TableFacts } from '../databases/sqlite/census.ts';
import { sourceError } from '../databases/sqlite/connection.ts';
import { nameOnTarget } from '../databases/postgres/names.ts';
import { schemaFingerprint } from '../databases/sqlite/fingerprint.ts';
import { rowidName } from '../databases/sqlite/ranges.ts';
import { readSchema, type SourceSchema, type SourceTable } from '../databases/sqlite/schema.ts';
import { CrossfadeError } from '../errors.ts';
import { reportDigits } from './declared-limits.ts';
import { settleEmptyColumns } from './empty-columns.ts';
import { Findings, named } from './findings.ts';
import { settleMoments } from './moment-choice.ts';
import { provedNotNull } from './not-null.ts';
import { reportSkipped, resolveOverrides, type Resolved } from './overrides.ts';
import { planChecks } from './plan-checks.ts';
import { chooseColumns, guardsOf, planColumn } from './plan-columns.ts';
import { planForeignKeys, resolveForeignKeys, unifyKeyKinds, type Choices } from './plan-foreign-keys.ts';
import { checkKey, isFolded, planIndexes, reportCaptureScan } from './plan-indexes.ts';
import { keyIndexOf, reportKey, rowNumberColumn, type KeyChoice } from './plan-key.ts';
import { keysOverGenerated, planGenerated, type GeneratedPlans } from './plan-generated.ts';
import { reportSchema, reportTable } from './plan-reports.ts';
import { planViews } from './plan-views.ts';
import { reportWidth } from './plan-width.ts';
import { renamed, reserveNames, type ReservedNames } from './target-names.ts';

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
  const findings = new Findings(policies);
  const whole = readSchema(db);
  const overrides = resolveOverrides(whole, choices.overrides);
  const schema = withoutSkipped(whole, overrides);
  reportSkipped(whole, overrides, findings);
  reportSchema(db, schema, findings);
  const started = performance.now();
  const facts = await census(db, schema, overrides, findings, onProgress);
  const censusMs = Math.round(performance.now() - started);
  const tables = provedNotNull(
    schema.tables.filter((table) => facts.has(table.name)),
    facts,
    findings,
  );

  const keys = resolveForeignKeys(tables, overrides.skipped, findings);
  const kinds = new Map<string, Choices>();
  const rowKeys = new Map<string, KeyChoice>();
  for (const table of tables) {
    const found = facts.get(table.name)!;
    const { key, chosen } = chooseColumns(table, found, keys, overrides.kindsOf(table), policies.keys);
    rowKeys.set(table.name, key);
    kinds.set(table.name, chosen);
  }
  // Before, because columns without values follow the others; after, because their defaults may ask for another form.
  settleMoments(kinds.values());
  settleEmptyColumns(kinds.values());
  const moments = settleMoments(kinds.values());
  const likeKeys = unifyKeyKinds(keys, kinds, findings);
  const names = reserveNames(tables, schema.views, policies.identifiers);
  const generated = new Map<string, GeneratedPlans>();
  for (const table of tables) {
    const [found, chosen] = [facts.get(table.name)!, kinds.get(table.name)!];
    const plans = await planGenerated(db, table, found, chosen, names.of(table), moments, findings);
    generated.set(table.name, plans);
  }
  const possibleKeys = keysOverGenerated(likeKeys, generated, kinds, findings);

  const plans: TablePlan[] = [];
  for (const [i, table] of tables.entries()) {
    const plan = planTable(
      i + 1,
      table,
      facts.get(table.name)!,
      rowKeys.get(table.name)!,
      kinds.get(table.name)!,
      generated.get(table.name)!,
      schema,
      names,
      findings,
    );
    reportCaptureScan(db, table, plan, findings);
    await reportDigits(db, table, facts.get(table.name)!, plan.columns, findings);
    plan.checks.push(
      ...(await planChecks(db, table, [...plan.columns, ...(plan.generated ?? [])], findings)),
    );
    plan.foreignKeys = await planForeignKeys(
      db,
      plan,
      possibleKeys.filter((key) => key.child === table),
      names,
      policies.orphans,
      findings,
    );
    await reportWidth(db, table, plan, findings);
    plans.push(plan);
  }
  await findings.locate(db);
  const views = planViews(db, schema, plans, names, moments, findings);
  return {
    fingerprint,
    sourceBytes:
      Number(db.pragma('page_count', { simple: true })) * Number(db.pragma('page_size', { simple: true })),
    censusMs,
    tables: plans,
    ...(views.length === 0 ? {} : { views }),
    blockers: findings.blockers,
    notices: findings.notices,
  };
}

/** The schema without the tables that stay behind; triggers on them stay with them. */
function withoutSkipped(schema: SourceSchema, { skipped }: Resolved): SourceSchema {
  const stays = (name: string): boolean => skipped.has(asciiLower(name));
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

function planTable(
  id: number,
  table: SourceTable,
  facts: TableFacts,
  key: KeyChoice,
  choices: Choices,
  generated: GeneratedPlans,
  schema: SourceSchema,
  names: ReservedNames,
  findings: Findings,
): TablePlan {
  const onTarget = names.of(table);
  const numbered = key.columns.length === 0;
  reportTable(table, facts, numbered, onTarget, findings);
  const columns = [...choices.values()].map((chosen) => planColumn(table, chosen, facts, onTarget, findings));
  reportKey(table, key, findings);
  if (numbered) columns.push(rowNumberColumn(table, key, findings));
  const keyColumns = numbered ? [columns.at(-1)!.name] : key.columns;
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
    key: keyColumns,
    // A unique index that serves as the key keeps its name as the constraint's.
    keyName:
      key.index?.origin === 'c' && !folded
        ? names.indexes.get(key.index.name)!
        : names.ours(`${onTarget.name}_pkey`),
    ...(folded || columns.some((column) => column.kind === 'mixed' && keyColumns.includes(column.name))
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
      .filter((trigger) => sameName(trigger.table, table.name))
      .map(({ name, sql }) => ({ name, sql })),
  };
}
