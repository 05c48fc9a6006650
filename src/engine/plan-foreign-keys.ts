/** Foreign keys: resolved as SQLite resolves them, both sides of one type, and only where the data satisfy them. */
import type Database from 'better-sqlite3';
import type { ColumnKind, ForeignKeyPlan, Policies, TablePlan } from '../contract.ts';
import { asciiLower, quoted, sameName } from '../databases/identifiers.ts';
import { findOrphans } from '../databases/sqlite/orphans.ts';
import type { SourceForeignKey, SourceIndex, SourceTable } from '../databases/sqlite/schema.ts';
import { fittingCount, holds, valueCount, type Choice, type ColumnCase } from './column-types.ts';
import { named, type Findings } from './findings.ts';
import { misfits } from './odd-values.ts';
import { freeName, type ReservedNames } from './target-names.ts';

/** A foreign key whose parent exists, with the names of both sides as the tables spell them. */
export interface ResolvedKey {
  child: SourceTable;
  key: SourceForeignKey;
  columns: string[];
  parent: SourceTable;
  parentColumns: string[];
}

/** A column with the kind that it gets; `fixed` where the operator chose it. */
export interface Chosen {
  subject: ColumnCase;
  choice: Choice;
  fixed?: true;
}

/** Column choices of one table, by column name. */
export type Choices = Map<string, Chosen>;

/**
 * Resolves every foreign key; one that SQLite itself can never enforce is left out with a notice, and so is one to a table
 * that stays behind.
 * @param skipped lower case names of tables that stay behind
 */
export function resolveForeignKeys(
  tables: SourceTable[],
  skipped: ReadonlySet<string>,
  findings: Findings,
): ResolvedKey[] {
  const resolved: ResolvedKey[] = [];
  for (const child of tables) {
    for (const key of child.foreignKeys) {
      if (skipped.has(asciiLower(key.parent))) {
        findings.note({
          code: 'foreign-key-left-out',
          table: child.name,
          message: `foreign key (${key.columns.join(', ')}) of ${named(child.name)} is left out: ${named(key.parent)} is not migrated, as overrides ask`,
        });
        continue;
      }
      const found = resolve(tables, child, key);
      if (typeof found === 'string') {
        findings.note({
          code: 'foreign-key-left-out',
          table: child.name,
          message: `foreign key (${key.columns.join(', ')}) of ${named(child.name)} is left out: ${found}, so SQLite cannot enforce it either`,
        });
      } else if (!reportCollation(found, findings)) {
        resolved.push(found);
      }
    }
  }
  return resolved;
}

function resolve(tables: SourceTable[], child: SourceTable, key: SourceForeignKey): ResolvedKey | string {
  const spelled = (table: SourceTable, names: string[]): (string | undefined)[] =>
    names.map((name) => table.columns.find((column) => sameName(column.name, name))?.name);
  const parent = tables.find((table) => sameName(table.name, key.parent));
  if (parent === undefined) return `there is no table ${quoted(key.parent)}`;
  const columns = spelled(child, key.columns);
  const parentColumns = spelled(parent, key.parentColumns ?? parent.primaryKey);
  if (parentColumns.length !== columns.length || [...columns, ...parentColumns].includes(undefined)) {
    return `its columns do not match those of ${named(parent.name)}`;
  }
  if (!isUnique(parent, parentColumns as string[])) {
    return `(${parentColumns.join(', ')}) of ${named(parent.name)} is not unique`;
  }
  return { child, key, columns: columns as string[], parent, parentColumns: parentColumns as string[] };
}

function isUnique(table: SourceTable, columns: string[]): boolean {
  return covers(table.primaryKey, columns) || uniqueIndexes(table, columns).length > 0;
}

function covers(names: (string | undefined)[], columns: string[]): boolean {
  return names.length === columns.length && columns.every((column) => names.includes(column));
}

function uniqueIndexes(table: SourceTable, columns: string[]): SourceIndex[] {
  return table.indexes.filter(
    (index) =>
      index.unique &&
      index.plain &&
      index.predicate === undefined &&
      covers(
        index.terms.map((term) => term.column),
        columns,
      ),
  );
}

/** Is it unique only under a collation that takes different texts for the same? */
function isFoldedParent({ parent, parentColumns }: ResolvedKey): boolean {
  const isBinary = (index: SourceIndex): boolean =>
    index.terms.every((term) => term.collation.toUpperCase() === 'BINARY');
  const rowid = parent.rowidAlias && covers(parent.primaryKey, parentColumns);
  return !rowid && !uniqueIndexes(parent, parentColumns).some(isBinary);
}

/**
 * A unique index over lower(…), which is what NOCASE becomes, cannot be referred to; a primary key is unique by its bytes too.
 * @returns whether the target cannot have the key
 */
function reportCollation(found: ResolvedKey, findings: Findings): boolean {
  const { child, parent, parentColumns } = found;
  if (!isFoldedParent(found) || covers(parent.primaryKey, parentColumns)) return false;
  findings.decide({
    code: 'nocase-parent',
    table: child.name,
    what:
      `a foreign key of ${named(child.name)} refers to (${parentColumns.join(', ')}) of ${named(parent.name)}, which is ` +
      `unique only without regard to case or trailing spaces`,
    mend: 'add a unique index over it with COLLATE BINARY',
    chosen: 'it is left out',
  });
  return true;
}

/**
 * PostgreSQL compares a foreign key with its parent only within one type, so one side may take the other's.
 * @returns the keys whose sides have one type
 */
export function unifyKeyKinds(
  keys: ResolvedKey[],
  choices: Map<string, Choices>,
  findings: Findings,
): ResolvedKey[] {
  const pairs = keys.flatMap((key) =>
    key.columns.map((column, i) => ({
      key,
      column,
      child: choices.get(key.child.name)?.get(column),
      parent: choices.get(key.parent.name)?.get(key.parentColumns[i]!),
      parentColumn: key.parentColumns[i]!,
    })),
  );
  // A parent's change reaches its other children in a later round; each round settles at least one level.
  for (let round = 0; round <= pairs.length; round++) {
    let changed = false;
    for (const { child, parent } of pairs) {
      if (child === undefined || parent === undefined || child.choice.kind === parent.choice.kind) continue;
      if (child.choice.obstacle !== undefined || parent.choice.obstacle !== undefined) continue;
      if (canTake(child, parent)) take(child, parent.choice.kind, 'as the key that it refers to');
      else if (canTake(parent, child)) take(parent, child.choice.kind, 'as the key that refers to it');
      else continue;
      changed = true;
    }
    if (!changed) break;
  }
  const unlike = new Set<ResolvedKey>();
  for (const { key, column, child, parent, parentColumn } of pairs) {
    if (child === undefined || parent === undefined) continue;
    if (child.choice.obstacle !== undefined || parent.choice.obstacle !== undefined) continue;
    const why = unlikeness(child, parent);
    if (why === null) continue;
    unlike.add(key);
    const { kind } = parent.choice;
    const count = valueCount(child.subject.facts) - fittingCount(kind, child.subject);
    findings.decide(
      {
        code: 'key-type-mismatch',
        table: key.child.name,
        column,
        ...(count === 0 ? {} : { count }),
        what: `${named(key.child.name, column)} refers to ${named(key.parent.name, parentColumn)}, ${why}`,
        mend: 'store both in one storage class, choose one type for both in overrides',
        chosen: 'the foreign key is left out',
      },
      count === 0 ? undefined : misfits(key.child, child.subject.column, kind, count),
    );
  }
  return keys.filter((key) => !unlike.has(key));
}

/** Why values that SQLite takes for equal may differ on the target; null where they do not. */
function unlikeness(child: Chosen, parent: Chosen): string | null {
  const [mine, theirs] = [child.choice.kind, parent.choice.kind];
  if (mine !== theirs) return `which holds ${theirs}, and holds ${mine}`;
  if (mine !== 'mixed' || conversion(child.subject) === conversion(parent.subject)) return null;
  return (
    `which converts what is written into it to another storage class (affinity ${parent.subject.column.affinity}, not ` +
    `${child.subject.column.affinity}), so that one number may be a text there`
  );
}

/**
 * May the column be held as the other side is? Of a mixed one only where both store equal values in one storage class:
 * the text '5' in a TEXT column refers to the integer 5 of an INTEGER one, and would stand as another text.
 */
function canTake({ subject, fixed }: Chosen, other: Chosen): boolean {
  const { kind } = other.choice;
  if (fixed || !holds(kind, subject)) return false;
  return kind !== 'mixed' || conversion(subject) === conversion(other.subject);
}

function conversion({ column }: ColumnCase): string {
  return column.affinity === 'INTEGER' ? 'NUMERIC' : column.affinity;
}

function take(side: Chosen, kind: ColumnKind, why: string): void {
  side.choice = { kind, why: `${side.choice.why}; ${kind} ${why}` };
}

/**
 * References that SQLite finds only because it takes letters of either case for the same.
 * @returns whether rows keep the target from having the key
 */
async function reportFolded(
  db: Database.Database,
  { child, columns, parent, parentColumns }: ResolvedKey,
  findings: Findings,
): Promise<boolean> {
  const { count, keys } = await findOrphans(db, child, columns, parent, parentColumns, 'folded');
  const what = `a foreign key of ${named(child.name)} refers to (${parentColumns.join(', ')}) of ${named(parent.name)} without regard to case or trailing spaces`;
  if (count > 0) {
    findings.decide({
      code: 'nocase-parent',
      table: child.name,
      count,
      keys,
      what: `${what}, and ${count} rows write it otherwise, which PostgreSQL would not find`,
      mend: `UPDATE them to the parent's spelling`,
      chosen: 'the foreign key is left out',
    });
  } else {
    findings.note({
      code: 'nocase-parent',
      table: child.name,
      message: `${what}; on PostgreSQL a reference must have the parent's spelling`,
    });
  }
  return count > 0;
}

/** Plans the foreign keys of one table and counts the rows that break them. */
export async function planForeignKeys(
  db: Database.Database,
  table: TablePlan,
  resolvedKeys: ResolvedKey[],
  names: ReservedNames,
  orphans: Policies['orphans'],
  findings: Findings,
): Promise<ForeignKeyPlan[]> {
  // Names of constraints are only unique within their table.
  const taken = new Set(table.guards.map(({ name }) => name));
  if (table.keyName !== undefined) taken.add(table.keyName);
  const plans: ForeignKeyPlan[] = [];
  for (const resolved of resolvedKeys) {
    const { child, key, columns, parent, parentColumns } = resolved;
    const { count, keys } = await findOrphans(db, child, columns, parent, parentColumns);
    if (isFoldedParent(resolved) && covers(parent.primaryKey, parentColumns)) {
      if (await reportFolded(db, resolved, findings)) continue;
    }
    if (count > 0) {
      findings.decide({
        code: 'orphans',
        table: child.name,
        ...(columns.length === 1 ? { column: columns[0]! } : {}),
        count,
        keys,
        what:
          `${count} rows of ${named(child.name)} refer by (${columns.join(', ')}) to rows of ` +
          `${named(parent.name)} that do not exist`,
        mend: 'delete them, set the reference to NULL',
        chosen: {
          'leave-out': 'the foreign key is left out',
          'not-valid':
            'the foreign key is NOT VALID on the target, where only new and changed references are checked',
        },
      });
      if (orphans === 'leave-out') continue;
    }
    const [from, to] = [names.of(child), names.of(parent)];
    const fromColumns = columns.map((column) => from.columns.get(column)!);
    plans.push({
      // A name may be empty in SQLite, and not on PostgreSQL.
      name: freeName(key.name || `${from.name}_${fromColumns.join('_')}_fkey`, taken),
      columns: fromColumns,
      parent: to.name,
      parentColumns: parentColumns.map((column) => to.columns.get(column)!),
      onDelete: key.onDelete,
      onUpdate: key.onUpdate,
      deferrable: key.deferred,
      ...(count > 0 ? { notValid: true as const } : {}),
    });
  }
  return plans;
}
