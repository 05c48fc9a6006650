/**
 * Verification of the target's schema: every object of the plan is there, and is what the plan says.
 *
 * Expressions (defaults, generated columns, CHECKs, indexes) cannot be compared as texts, because PostgreSQL writes them
 * in its own way. So the server is given the plan's text once more, for a table that is rolled back at once, and what it
 * makes of it is compared. That table is built here, not by the code that built the real one.
 */
import { randomBytes } from 'node:crypto';
import type Database from 'better-sqlite3';
import type pg from 'pg';
import type { ForeignKeyPlan, IndexPlan, Plan, SchemaFinding, TablePlan } from '../contract.ts';
import { quoted } from '../databases/identifiers.ts';
import {
  describeTable,
  type FoundColumn,
  type FoundConstraint,
  type FoundForeignKey,
  type FoundIndex,
  type FoundTable,
} from '../databases/postgres/catalog.ts';
import { nameOnTarget, targetKey, targetTable } from '../databases/postgres/names.ts';
import { sqliteSequences } from '../databases/sqlite/sequences.ts';
import { asRead } from './generated.ts';
import type { BuiltPhase } from './store.ts';

/** What may rightly be missing depends on how far the migration has come. */
export interface Stage {
  /** Phases whose objects are all there. */
  built: Set<BuiltPhase>;
  /** Sequences count from the cutover on. */
  targetIsPrimary: boolean;
  /** The way back has ended, and with it the CHECKs that guarded it. */
  finished: boolean;
}

export interface SchemaVerdict {
  /** Everything in which the target's schema is not the plan's, in the plan's order. */
  findings: SchemaFinding[];
  /** Numbers of the tables whose rows cannot be read by the plan, because the table or a column is missing. */
  unreadable: Set<number>;
}

/** Leaves nothing behind. */
export async function verifySchema(
  client: pg.Client,
  db: Database.Database,
  plan: Plan,
  stage: Stage,
): Promise<SchemaVerdict> {
  const handedOut = stage.targetIsPrimary ? sqliteSequences(db) : null;
  const findings: SchemaFinding[] = [];
  const unreadable = new Set<number>();
  for (const table of plan.tables) {
    const found = await describeTable(client, targetTable(table));
    const whats =
      found === null
        ? ['the table is missing']
        : [
            ...tableDeviations(table, found, await planned(client, table, stage), stage),
            ...(handedOut === null || !hasSequence(table, found)
              ? []
              : await sequenceDeviations(client, table, handedOut.get(table.name) ?? 0n)),
          ];
    findings.push(...whats.map((what) => ({ table: table.name, what })));
    const names = new Set(found?.columns.map(({ name }) => name));
    if (asRead(table).columns.some((column) => !names.has(nameOnTarget(column)))) unreadable.add(table.id);
  }
  return { findings, unreadable };
}

/** What the server makes of the plan's types and expressions. */
async function planned(client: pg.Client, table: TablePlan, stage: Stage): Promise<FoundTable> {
  const suffix = randomBytes(6).toString('hex');
  const name = `crossfade.planned_${suffix}`;
  const parts = asRead(table).columns.map((column) => {
    const collation = column.kind === 'text' || column.kind === 'mixed' ? ' COLLATE "C"' : '';
    const generated = table.generated?.find((one) => one.name === column.name);
    const value =
      generated !== undefined
        ? ` GENERATED ALWAYS AS (${generated.expressionSql}) STORED`
        : column.defaultSql !== undefined && !column.identity
          ? ` DEFAULT ${column.defaultSql}`
          : '';
    return `${quoted(nameOnTarget(column))} ${column.targetType}${collation}${value}`;
  });
  for (const check of table.checks) parts.push(`CHECK (${check})`);
  for (const guard of table.guards) parts.push(`CONSTRAINT ${quoted(guard.name)} CHECK (${guard.sql})`);
  const statements = [`CREATE TABLE ${name} (${parts.join(', ')})`];
  const indexes = stage.built.has('indexes') ? table.indexes : [];
  for (const [i, index] of indexes.entries()) {
    const where = index.predicateSql === undefined ? '' : ` WHERE ${index.predicateSql}`;
    statements.push(`CREATE INDEX planned_${suffix}_${i} ON ${name} (${index.targetSql})${where}`);
  }
  await client.query('BEGIN');
  try {
    await client.query(statements.join(';\n'));
    const model = (await describeTable(client, name))!;
    for (const one of model.indexes) one.name = indexes[Number(one.name.split('_')[2])]!.name;
    return model;
  } finally {
    await client.query('ROLLBACK').catch(() => undefined);
  }
}

function tableDeviations(table: TablePlan, found: FoundTable, model: FoundTable, stage: Stage): string[] {
  return [
    ...columnDeviations(table, found, model),
    ...keyDeviations(table, found.constraints),
    ...checkDeviations(table, found.constraints, model.constraints, stage),
    ...(stage.built.has('indexes')
      ? table.indexes.flatMap((index) =>
          indexDeviations(
            index,
            found.indexes.find(({ name }) => name === index.name),
            model.indexes.find(({ name }) => name === index.name)!,
          ),
        )
      : []),
    ...(stage.built.has('foreign-keys')
      ? table.foreignKeys.flatMap((key) =>
          foreignKeyDeviations(
            key,
            found.foreignKeys.find(({ name }) => name === key.name),
          ),
        )
      : []),
  ];
}

function columnDeviations(table: TablePlan, found: FoundTable, model: FoundTable): string[] {
  return asRead(table).columns.flatMap((column) => {
    const name = nameOnTarget(column);
    const one = found.columns.find((candidate) => candidate.name === name);
    const like = model.columns.find((candidate) => candidate.name === name)!;
    const what = `column ${quoted(name)}`;
    if (one === undefined) return [`${what} is missing`];
    const whats: string[] = [];
    if (one.type !== like.type) whats.push(`${what} has type ${one.type} instead of ${like.type}`);
    else if (one.collation !== like.collation)
      whats.push(
        `${what} sorts by collation ${one.collation ?? 'none'} instead of ${like.collation ?? 'none'}`,
      );
    const notNull = column.notNull || column.identity || table.key.includes(column.name);
    if (one.notNull !== notNull)
      whats.push(notNull ? `${what} lacks NOT NULL` : `${what} is NOT NULL, and was not in the source`);
    if (one.identity !== column.identity)
      whats.push(`${what} is ${column.identity ? 'not ' : ''}numbered by the target`);
    return [...whats, ...expressionDeviations(what, one, like)];
  });
}

function expressionDeviations(what: string, one: FoundColumn, like: FoundColumn): string[] {
  if (one.generated !== like.generated)
    return [`${what} is ${like.generated ? 'not ' : ''}a generated column`];
  if (one.expression === like.expression) return [];
  const kind = one.generated ? 'expression' : 'default';
  return [`${what} has ${one.expression ?? 'none'} as its ${kind} instead of ${like.expression ?? 'none'}`];
}

function keyDeviations(table: TablePlan, found: FoundConstraint[]): string[] {
  if (table.key.length === 0) return [];
  const columns = targetKey(table).join(', ');
  const key = found.find(({ kind }) => kind === 'p');
  if (key === undefined) return [`primary key (${columns}) is missing`];
  const there = key.columns.map(quoted).join(', ');
  const whats: string[] = [];
  if (there !== columns) whats.push(`primary key is over (${there}) instead of (${columns})`);
  if (table.keyName !== undefined && key.name !== table.keyName)
    whats.push(`primary key is named ${quoted(key.name)} instead of ${quoted(table.keyName)}`);
  if (!key.valid) whats.push(`primary key (${there}) has an index that is not valid`);
  return whats;
}

/** The application's CHECKs have whatever name the server chose; ours go by their names. */
function checkDeviations(
  table: TablePlan,
  found: FoundConstraint[],
  model: FoundConstraint[],
  stage: Stage,
): string[] {
  const guards = new Set(table.guards.map(({ name }) => name));
  return model
    .filter(({ kind, name }) => kind === 'c' && !(stage.finished && guards.has(name)))
    .flatMap((like) => {
      const named = guards.has(like.name);
      const same = found.find(
        (one) => one.kind === 'c' && bare(one) === bare(like) && (!named || one.name === like.name),
      );
      const what = named ? `CHECK ${quoted(like.name)}` : like.definition;
      if (same === undefined) return [`${what} is missing`];
      return same.valid ? [] : [`${what} is not validated`];
    });
}

function bare({ definition }: FoundConstraint): string {
  return definition.replace(/ NOT VALID$/, '');
}

function indexDeviations(index: IndexPlan, found: FoundIndex | undefined, model: FoundIndex): string[] {
  const what = `${index.unique ? 'unique ' : ''}index ${quoted(index.name)}`;
  if (found === undefined) return [`${what} is missing`];
  const whats: string[] = [];
  if (found.unique !== index.unique) whats.push(`${what} is ${index.unique ? 'not ' : ''}unique`);
  if (!found.valid) whats.push(`${what} is not valid`);
  if (found.terms !== model.terms) whats.push(`${what} is over (${found.terms}) instead of (${model.terms})`);
  else if (found.options !== model.options)
    whats.push(`${what} has another direction, collation or operator class than (${index.targetSql})`);
  if (found.predicate !== model.predicate) {
    const rows = (predicate: string | null): string => (predicate === null ? 'all rows' : predicate);
    whats.push(`${what} holds ${rows(found.predicate)} instead of ${rows(model.predicate)}`);
  }
  return whats;
}

function foreignKeyDeviations(key: ForeignKeyPlan, found: FoundForeignKey | undefined): string[] {
  const what = `foreign key ${quoted(key.name)}`;
  if (found === undefined) return [`${what} is missing`];
  const same =
    found.parent === key.parent &&
    found.columns.join('\0') === key.columns.join('\0') &&
    found.parentColumns.join('\0') === key.parentColumns.join('\0') &&
    found.onDelete === key.onDelete &&
    found.onUpdate === key.onUpdate &&
    found.deferred === key.deferrable;
  const whats = same ? [] : [`${what} is another than planned: ${found.definition}`];
  // Rows that break it stay there by the operator's choice; an administrator who has mended them may validate it.
  return found.valid || key.notValid === true ? whats : [...whats, `${what} is not validated`];
}

function hasSequence(table: TablePlan, found: FoundTable): boolean {
  return table.columns.some(
    (column) =>
      column.identity &&
      found.columns.some(({ name, identity }) => identity && name === nameOnTarget(column)),
  );
}

/** The next number must be one that neither database has ever given out. */
async function sequenceDeviations(client: pg.Client, table: TablePlan, handedOut: bigint): Promise<string[]> {
  const column = nameOnTarget(table.columns.find(({ identity }) => identity)!);
  const greatest = await client.query<{ id: string | null }>(
    `SELECT max(${quoted(column)}) AS id FROM ${targetTable(table)}`,
  );
  // After the ids: a writer moves the sequence before it commits its row.
  const sequence = await client.query<{ last: string | null }>(
    'SELECT pg_sequence_last_value(pg_get_serial_sequence($1, $2)::regclass) AS last',
    [targetTable(table), column],
  );
  const last = BigInt(sequence.rows[0]?.last ?? 0);
  const id = BigInt(greatest.rows[0]?.id ?? 0);
  const whats: string[] = [];
  if (last < id)
    whats.push(`the sequence of column ${quoted(column)} stands at ${last}, and id ${id} is taken`);
  if (last < handedOut)
    whats.push(
      `the sequence of column ${quoted(column)} stands at ${last}, and the source had given out ${handedOut}`,
    );
  return whats;
}
