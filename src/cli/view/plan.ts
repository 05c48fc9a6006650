/** The plan for people: a summary, every table with what becomes of its parts, and last what an operator has to decide. */
import type { ColumnCensus, ColumnPlan, Finding, Plan, TablePlan } from '../../contract.ts';
import { sameName } from '../../databases/identifiers.ts';
import { bytes, count, counted, duration, fit, visibleLength, wrap } from './format.ts';

export interface PlanView {
  /** Cells of a line. */
  width: number;
  /** Every table and finding, however many they are. */
  all?: boolean;
  /** This table alone, by its name on the source. */
  table?: string;
}

/** With more tables than this a table is a line, unless something was found in it that stands against the migration. */
const TABLES_IN_FULL = 20;
/** Findings of one kind that are told in full. */
const OF_ONE_KIND = 5;
/** Of a million rows in eleven columns: one run, on a busy machine, planned for 12 s and copied, indexed and verified for 44 s. */
const TIMES_CENSUS = 4;

/** @returns text that ends with the verdict and a newline */
export function renderPlan(plan: Plan, view: PlanView): string {
  const chosen = plan.tables.filter(({ name }) => view.table === undefined || sameName(name, view.table));
  const concerns = ({ table }: Finding): boolean =>
    view.table === undefined || (table !== undefined && sameName(table, view.table));
  const [blockers, notices] = [plan.blockers.filter(concerns), plan.notices.filter(concerns)];
  const blocked = new Set(blockers.map(({ table }) => table));
  const inFull = view.all === true || chosen.length <= TABLES_IN_FULL;
  const lines = [...summaryLines(plan, view.width), ''];
  if (!inFull) lines.push(...chosen.map((table) => tableLine(table, view.width)), '');
  for (const table of chosen)
    if (inFull || blocked.has(table.name)) lines.push(...tableLines(table, view.width), '');
  lines.push(
    ...viewLines(plan, view),
    ...findingLines('Notices', notices, view),
    ...findingLines('Blockers', blockers, view),
    ...(inFull ? [] : ['--table NAME shows one table, --all everything, --json the whole plan.']),
    verdict(plan),
  );
  return `${lines.join('\n')}\n`;
}

function verdict({ blockers }: Plan): string {
  return blockers.length === 0
    ? 'Nothing stands against this migration.'
    : `This migration is refused: ${counted(blockers.length, 'blocker')}.`;
}

function summaryLines(plan: Plan, width: number): string[] {
  const rows = plan.tables.reduce((sum, table) => sum + table.rows, 0);
  const found = [counted(plan.blockers.length, 'blocker'), counted(plan.notices.length, 'notice')];
  const facts = [
    counted(plan.tables.length, 'table'),
    counted(rows, 'row'),
    bytes(plan.sourceBytes),
    ...found,
  ];
  return [
    facts.join(', '),
    ...wrap(
      `Expected: ${duration(plan.censusMs * TIMES_CENSUS)} to copy, index and verify, estimated as ${TIMES_CENSUS} times what this census took; then the stages of the reads, and the soak.`,
      width,
    ),
  ];
}

function tableLine(table: TablePlan, width: number): string {
  return `${fit(bothNames(table), Math.max(20, width - 48))} ${counted(table.rows, 'row').padStart(18)}  ${fit(keyText(table), 28).trimEnd()}`;
}

function tableLines(table: TablePlan, width: number): string[] {
  const parts = [
    ...table.indexes.map((index) => {
      const where = index.predicateSql === undefined ? '' : ` WHERE ${index.predicateSql}`;
      return `${index.unique ? 'unique index' : 'index'} ${index.name} (${index.targetSql})${where}`;
    }),
    ...table.foreignKeys.map((foreign) => {
      const actions = [
        ...(foreign.onDelete === 'NO ACTION' ? [] : [`ON DELETE ${foreign.onDelete}`]),
        ...(foreign.onUpdate === 'NO ACTION' ? [] : [`ON UPDATE ${foreign.onUpdate}`]),
        ...(foreign.deferrable ? ['DEFERRED'] : []),
      ];
      const to = `${foreign.parent} (${foreign.parentColumns.join(', ')})`;
      return [`foreign key ${foreign.name} (${foreign.columns.join(', ')}) → ${to}`, ...actions].join(' ');
    }),
    ...table.checks.map((check) => `check ${check}`),
    ...table.triggers.map(({ name }) => `trigger ${name}: not on the target`),
  ];
  return [
    ...hanging(`${bothNames(table)}  (${counted(table.rows, 'row')}, ${keyText(table)})`, width, 0),
    ...columnLines([...table.columns, ...(table.generated ?? [])], width),
    ...parts.flatMap((part) => hanging(part, width, 2)),
  ];
}

function viewLines({ views = [] }: Plan, { table }: PlanView): string[] {
  const told = views.filter(({ name }) => table === undefined || sameName(name, table));
  if (told.length === 0) return [];
  return [
    'Views, tried after the copy, and kept if they return the same rows',
    ...told.map((view) => `  ${bothNames(view)}`),
    '',
  ];
}

function keyText({ key }: TablePlan): string {
  return key.length === 0 ? 'no key' : `key ${key.join(', ')}`;
}

/** Name, type and reason side by side, or the reason below where that would be too narrow. */
function columnLines(columns: ColumnPlan[], width: number): string[] {
  const cells = columns.map((column) => [bothNames(column), typeText(column), reasonText(column)] as const);
  const widest = (texts: string[], most: number): number =>
    Math.min(most, Math.max(...texts.map(visibleLength)));
  const nameWidth = widest(
    cells.map(([name]) => name),
    32,
  );
  const typeWidth = widest(
    cells.map(([, type]) => type),
    36,
  );
  const beside = width - nameWidth - typeWidth - 6;
  return cells.flatMap(([name, type, why]) => {
    const left = `  ${name.padEnd(nameWidth)}  ${type.padEnd(typeWidth)}  `;
    if (beside < 36 || visibleLength(left) > width - beside) {
      const above = visibleLength(left.trimEnd()) > width ? hanging(left.trim(), width, 2) : [left.trimEnd()];
      return [...above, ...wrap(why, width - 6).map((line) => `      ${line}`)];
    }
    return wrap(why, beside).map((line, i) => (i === 0 ? left : ' '.repeat(left.length)) + line);
  });
}

/** The source's name, and the target's where it is another. */
function bothNames({ name, targetName }: { name: string; targetName?: string }): string {
  return targetName === undefined ? name : `${name} → ${targetName}`;
}

function typeText(column: ColumnPlan): string {
  return [
    column.targetType,
    ...(column.identity ? ['identity'] : []),
    ...(column.notNull && !column.identity ? ['NOT NULL'] : []),
    ...(column.defaultSql === undefined ? [] : [`DEFAULT ${column.defaultSql}`]),
  ].join(' ');
}

function reasonText({ why, census }: ColumnPlan): string {
  return [why, ...(census === undefined ? [] : censusTexts(census))].join('; ');
}

function censusTexts({
  nulls,
  texts,
  blobs,
  least,
  greatest,
  longestBytes,
  dateForms,
}: ColumnCensus): string[] {
  const forms = Object.entries(dateForms ?? {});
  return [
    ...(nulls === undefined ? [] : [`${count(nulls)} NULL`]),
    ...(least === undefined ? [] : [`from ${least} to ${greatest}`]),
    ...(longestBytes === undefined || (texts ?? blobs) === undefined
      ? []
      : [`longest ${bytes(longestBytes)}`]),
    ...(forms.length < 2 ? [] : [`written ${forms.map(([form, n]) => `${form} (${count(n)})`).join(', ')}`]),
  ];
}

/** By kind, the first of each kind in full. */
function findingLines(title: string, findings: Finding[], { width, all }: PlanView): string[] {
  if (findings.length === 0) return [];
  const kinds = new Map<string, Finding[]>();
  for (const finding of findings) kinds.set(finding.code, [...(kinds.get(finding.code) ?? []), finding]);
  return [
    `${title} (${count(findings.length)})`,
    ...[...kinds].flatMap(([code, same]) => {
      const told = all === true ? same : same.slice(0, OF_ONE_KIND);
      const more = same.length - told.length;
      return [
        ...told.flatMap(({ message }) => hanging(`${code}: ${message}`, width, 2)),
        ...(more === 0 ? [] : [`  ${code}: … and ${count(more)} more; --all shows them`]),
      ];
    }),
    '',
  ];
}

function hanging(text: string, width: number, indent: number): string[] {
  return wrap(text, width - indent - 4).map((line, i) => ' '.repeat(indent + (i === 0 ? 0 : 4)) + line);
}
