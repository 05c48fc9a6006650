/** The key and the indexes of a table on the target. */
import type Database from 'better-sqlite3';
import type { ColumnPlan, IndexPlan, TablePlan } from '../contract.ts';
import { asciiLower, quoted } from '../databases/identifiers.ts';
import type { TableFacts } from '../databases/sqlite/census.ts';
import { nameOnTarget } from '../databases/postgres/names.ts';
import { captureScan } from '../databases/sqlite/capture.ts';
import type { IndexTerm, SourceIndex, SourceTable } from '../databases/sqlite/schema.ts';
import { lookupOf } from './column-lookup.ts';
import type { ColumnLookup } from './expression-parser.ts';
import { translateCondition, translateValue } from './expressions.ts';
import { named, type Findings } from './findings.ts';
import { keyIndexOf, type KeyChoice } from './plan-key.ts';
import { type ReservedNames } from './target-names.ts';

/** PostgreSQL's limits: columns of an index, and bytes of an entry that is certain to fit (a third of a page). */
const INDEX_COLUMNS = 32;
const INDEX_BYTES = 2_600;

interface TableCase {
  table: SourceTable;
  facts: TableFacts;
  /** The columns as planned so far. */
  columns: ColumnPlan[];
}

/** Reports what keeps the key from being one on the target. */
export function checkKey(subject: TableCase, key: KeyChoice, findings: Findings): void {
  const { table, facts } = subject;
  for (const column of key.columns) {
    const nulls = facts.columns.get(column)?.nulls ?? 0;
    if (nulls === 0) continue;
    findings.block(
      {
        code: 'null-in-key',
        table: table.name,
        column,
        count: nulls,
        message: `${named(table.name, column)} is part of the primary key and NULL in ${nulls} rows, which PostgreSQL does not allow: give these rows a value`,
      },
      { table, condition: `t.${quoted(column)} IS NULL` },
    );
  }
  const index = keyIndexOf(table, key);
  if (index !== undefined) checkUnique(subject, index, true, findings);
}

/** What PostgreSQL compares bytewise where SQLite compares by a collation of its own. */
const FOLDS: Record<string, (sql: string) => string> = {
  // lower() of text in collation "C" folds ASCII only, which is the rule of NOCASE.
  NOCASE: (sql) => `lower(${sql})`,
  // Spaces only, in both.
  RTRIM: (sql) => `rtrim(${sql})`,
};

function foldOf(term: IndexTerm): ((sql: string) => string) | undefined {
  return FOLDS[term.collation.toUpperCase()];
}

/** Does the index take different texts for the same? */
export function isFolded(subject: TableCase, index: SourceIndex | undefined): boolean {
  return index?.terms.some((term) => isText(term, subject) && foldOf(term) !== undefined) === true;
}

/** Reports collations and sizes that a unique index cannot have on the target. NOCASE is folded there by an index over lower(…). */
function checkUnique(subject: TableCase, index: SourceIndex, isKey: boolean, findings: Findings): boolean {
  const name = index.origin === 'pk' ? 'the primary key' : `unique index ${quoted(index.name)}`;
  const foreign = index.terms.find(
    (term) =>
      isText(term, subject) && term.collation.toUpperCase() !== 'BINARY' && foldOf(term) === undefined,
  );
  if (foreign !== undefined) {
    const collation = foreign.collation.toUpperCase();
    findings.decide({
      code: 'collation-unique',
      table: subject.table.name,
      ...(foreign.column === undefined ? {} : { column: foreign.column }),
      what:
        `${named(subject.table.name)}: ${name} compares text with COLLATE ${collation}, so it forbids values that ` +
        `PostgreSQL would take for different ones`,
      mend: 'rebuild it with COLLATE BINARY, or over lower(…)',
      chosen: isKey ? 'the target compares bytewise' : 'it is left out',
    });
    return false;
  }
  const bytes = longest(subject, index);
  if (bytes <= INDEX_BYTES && index.terms.length <= INDEX_COLUMNS) return true;
  const finding = { table: subject.table.name, count: bytes };
  const what = `${named(subject.table.name)}: ${name} ${tooLarge(index, bytes)}`;
  const mend = 'shorten the values or index less of them';
  const rows = rowsTooLarge(subject.table, index, bytes);
  if (isKey) findings.block({ ...finding, code: 'key-too-large', message: `${what}: ${mend}` }, rows);
  else findings.decide({ ...finding, code: 'index-too-large', what, mend, chosen: 'it is left out' }, rows);
  return false;
}

/** Of an index over expressions no condition tells the rows. */
function rowsTooLarge(
  table: SourceTable,
  index: SourceIndex,
  bytes: number,
): { table: SourceTable; condition: string } | undefined {
  if (!index.plain || bytes <= INDEX_BYTES) return undefined;
  const sizes = index.terms.map(({ column }) => `ifnull(octet_length(t.${quoted(column!)}), 0)`);
  return { table, condition: `${sizes.join(' + ')} > ${INDEX_BYTES}` };
}

function tooLarge(index: SourceIndex, bytes: number): string {
  return index.terms.length > INDEX_COLUMNS
    ? `has ${index.terms.length} columns, and PostgreSQL allows ${INDEX_COLUMNS}`
    : `has entries of up to ${bytes} bytes, and PostgreSQL's are sure to fit only up to ${INDEX_BYTES}`;
}

function isText(term: IndexTerm, { columns }: Pick<TableCase, 'columns'>): boolean {
  if (term.column === undefined) return true;
  return ['text', 'mixed'].includes(columns.find((column) => column.name === term.column)?.kind ?? '');
}

/** Can the target not be sure to hold every entry of the index? */
export function isTooLarge(facts: TableFacts, index: SourceIndex): boolean {
  return longest({ facts }, index) > INDEX_BYTES || index.terms.length > INDEX_COLUMNS;
}

/** Bytes of the longest entry, at most. */
function longest({ facts }: Pick<TableCase, 'facts'>, index: SourceIndex): number {
  const columns = index.terms.flatMap((term) =>
    term.column !== undefined
      ? [term.column]
      : // An expression may be over any column that it names.
        [...facts.columns.keys()].filter((name) =>
          term.expression!.toLowerCase().includes(name.toLowerCase()),
        ),
  );
  return columns.reduce((sum, column) => sum + (facts.columns.get(column)?.longest ?? 0), 0);
}

/** Every index but the key's own, in name order, with findings for what is changed or left out. */
export function planIndexes(
  subject: TableCase,
  key: KeyChoice,
  names: ReservedNames,
  findings: Findings,
): IndexPlan[] {
  const plans: IndexPlan[] = [];
  const own = keyIndexOf(subject.table, key);
  for (const index of subject.table.indexes) {
    // The key is unique by its bytes; what else NOCASE forbids, an index of its own forbids.
    if (index === own && !isFolded(subject, index)) continue;
    const plan = planIndex(subject, index, names, findings);
    if (plan !== null) plans.push(plan);
  }
  return plans;
}

function planIndex(
  subject: TableCase,
  index: SourceIndex,
  names: ReservedNames,
  findings: Findings,
): IndexPlan | null {
  const { table } = subject;
  if (index.unique && !checkUnique(subject, index, false, findings)) return null;
  const lookup = lookupOf(table, subject.columns);
  const terms = index.terms.map((term) => termSql(term, subject, lookup));
  const predicate = index.predicate === undefined ? undefined : translateCondition(index.predicate, lookup);
  const bytes = longest(subject, index);
  if (terms.some((term) => term === null) || predicate === null || !index.understood) {
    return leaveOut(subject, index, untranslated(subject, index, terms), findings);
  }
  if (bytes > INDEX_BYTES || index.terms.length > INDEX_COLUMNS) {
    return leaveOut(subject, index, tooLarge(index, bytes), findings);
  }
  const folded = isFolded(subject, index);
  if (folded) reportFolded(table, index, findings);
  const name = indexName(table, index, names, findings);
  const plain = index.plain && !folded && predicate === undefined;
  return {
    name,
    unique: index.unique,
    targetSql: terms.join(', '),
    ...(predicate === undefined ? {} : { predicateSql: predicate }),
    ...(plain ? { columns: index.terms.map((term) => term.column!) } : {}),
  };
}

function reportFolded(table: SourceTable, index: SourceIndex, findings: Findings): void {
  for (const collation of new Set(index.terms.map((term) => term.collation.toUpperCase()))) {
    const fold = FOLDS[collation];
    if (fold === undefined) continue;
    const conflict = index.unique ? `, and ON CONFLICT (${fold('column')})` : '';
    findings.note({
      code: `${collation.toLowerCase()}-index`,
      table: table.name,
      message: `index ${quoted(index.name)} of ${named(table.name)} compares with COLLATE ${collation}: on PostgreSQL it is over ${fold('…')}, so ask for ${fold('column')} = ${fold('?')}${conflict}`,
    });
  }
}

function untranslated({ columns }: TableCase, index: SourceIndex, terms: (string | null)[]): string {
  const absent = index.terms.find(
    (term) => term.column !== undefined && !columns.some(({ name }) => name === term.column),
  );
  if (absent !== undefined) return `the generated column ${quoted(absent.column!)} is not on the target`;
  const untold = terms.includes(null) ? 'an expression' : 'its condition';
  return `${untold} has no certain meaning on PostgreSQL`;
}

function leaveOut(subject: TableCase, index: SourceIndex, why: string, findings: Findings): null {
  const table = subject.table.name;
  if (index.unique) {
    findings.decide({
      code: 'unique-index',
      table,
      what: `unique index ${quoted(index.name)} of ${named(table)}: ${why}, so what it forbids would be allowed there`,
      mend: 'drop it, replace it by one over plain columns',
      chosen: 'it is left out',
    });
  } else {
    findings.note({
      code: 'index-left-out',
      table,
      message: `index ${quoted(index.name)} of ${named(table)} is left out: ${why}; create it by hand on the target if queries need it`,
    });
  }
  return null;
}

/** One term with its direction; null where it has no certain meaning. */
function termSql(term: IndexTerm, { columns }: TableCase, lookup: ColumnLookup): string | null {
  const collation = term.collation.toUpperCase();
  const column = columns.find((candidate) => candidate.name === term.column);
  let sql: string | null;
  if (term.column === undefined)
    sql = collation === 'BINARY' ? translateValue(term.expression!, lookup) : null;
  else if (column === undefined) sql = null;
  else if ((column.kind !== 'text' && column.kind !== 'mixed') || collation === 'BINARY')
    sql = quoted(nameOnTarget(column));
  else sql = foldOf(term)?.(quoted(nameOnTarget(column))) ?? null;
  if (sql === null) return null;
  // SQLite sorts NULL first; where there is none, PostgreSQL's own order serves its queries as they are.
  const nullable = column === undefined || !column.notNull;
  if (term.descending) return `${sql} DESC${nullable ? ' NULLS LAST' : ''}`;
  return `${sql}${nullable ? ' NULLS FIRST' : ''}`;
}

function indexName(table: SourceTable, index: SourceIndex, names: ReservedNames, findings: Findings): string {
  if (index.origin !== 'c') {
    const { columns } = names.of(table);
    const terms = index.terms.map((term) => columns.get(term.column!)!);
    return names.ours(`${names.of(table).name}_${terms.join('_')}_key`);
  }
  const name = names.indexes.get(index.name)!;
  if (asciiLower(name) !== asciiLower(index.name)) {
    findings.note({
      code: 'index-renamed',
      table: table.name,
      message: `index ${quoted(index.name)} of ${named(table.name)} is called ${quoted(name)} on the target: its own name is empty, too long or taken there`,
    });
  }
  return name;
}

/** A unique index that SQLite itself does not look into, because its condition or expression is settled by NOT NULL. */
export function reportCaptureScan(
  db: Database.Database,
  table: SourceTable,
  plan: TablePlan,
  findings: Findings,
): void {
  // What is not understood has been refused for that.
  if (!table.understood || table.indexes.some((index) => !index.understood)) return;
  const scan = captureScan(db, plan);
  if (scan === null) return;
  findings.block({
    code: 'capture-scan',
    table: table.name,
    message:
      `${named(table.name)}: SQLite does not look into one of its unique indexes for the row that a write conflicts with (${scan}), ` +
      `so capture would read the whole table at every write: drop that index, or leave the test of a NOT NULL column for NULL out of it`,
  });
}
