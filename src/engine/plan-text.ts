/** The plan for people, and its summary for Temporal. */
import type { ColumnPlan, Finding, Plan, PlanSummary, TablePlan } from '../contract.ts';

const FIRST = 10;

export function summarise(plan: Plan): PlanSummary {
  return {
    tables: plan.tables.length,
    rows: plan.tables.reduce((sum, table) => sum + table.rows, 0),
    bytes: plan.sourceBytes,
    blockers: plan.blockers.slice(0, FIRST),
    notices: plan.notices.slice(0, FIRST),
    blockerCount: plan.blockers.length,
    noticeCount: plan.notices.length,
  };
}

/** The whole plan as plain text: per table its columns with type and reason, indexes and foreign keys; then the findings. */
export function renderPlan(plan: Plan): string {
  const { tables, rows, bytes } = summarise(plan);
  const lines = [`${counted(tables, 'table')}, ${counted(rows, 'row')}, ${size(bytes)}`, ''];
  for (const table of plan.tables) lines.push(...tableLines(table), '');
  lines.push(...findingLines('Notices', plan.notices), ...findingLines('Blockers', plan.blockers));
  lines.push(
    plan.blockers.length === 0
      ? 'Nothing stands against this migration.'
      : `This migration is refused: ${counted(plan.blockers.length, 'blocker')}.`,
  );
  return `${lines.join('\n')}\n`;
}

function tableLines(table: TablePlan): string[] {
  const key = table.key.length === 0 ? 'no key' : `key ${table.key.join(', ')}`;
  const columns = [...table.columns, ...(table.generated ?? [])].map((column) => [
    bothNames(column),
    typeText(column),
    column.why,
  ]);
  return [
    `${bothNames(table)}  (${counted(table.rows, 'row')}, ${key})`,
    ...aligned(columns).map((line) => `  ${line}`),
    ...table.indexes.map((index) => {
      const where = index.predicateSql === undefined ? '' : ` WHERE ${index.predicateSql}`;
      return `  ${index.unique ? 'unique index' : 'index'} ${index.name} (${index.targetSql})${where}`;
    }),
    ...table.foreignKeys.map((foreign) => {
      const actions = [
        ...(foreign.onDelete === 'NO ACTION' ? [] : [`ON DELETE ${foreign.onDelete}`]),
        ...(foreign.onUpdate === 'NO ACTION' ? [] : [`ON UPDATE ${foreign.onUpdate}`]),
        ...(foreign.deferrable ? ['DEFERRED'] : []),
      ];
      const to = `${foreign.parent} (${foreign.parentColumns.join(', ')})`;
      return [`  foreign key (${foreign.columns.join(', ')}) → ${to}`, ...actions].join(' ');
    }),
  ];
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

/** Columns padded to the widest cell, but not beyond 44 characters; the last is left as it is. */
function aligned(rows: string[][]): string[] {
  const width = (place: number): number =>
    Math.min(44, Math.max(0, ...rows.map((row) => row[place]!.length)));
  return rows.map((row) =>
    row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(width(i)))).join('  '),
  );
}

function findingLines(title: string, findings: Finding[]): string[] {
  if (findings.length === 0) return [];
  return [
    `${title} (${findings.length})`,
    ...findings.map((finding) => `  ${finding.code}: ${finding.message}`),
    '',
  ];
}

function counted(count: number, noun: string): string {
  return `${count.toLocaleString('en-US')} ${noun}${count === 1 ? '' : 's'}`;
}

function size(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  for (; value >= 1_000 && unit < units.length - 1; unit++) value /= 1_000;
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]!}`;
}
