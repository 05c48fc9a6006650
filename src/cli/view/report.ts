/** What a finished run has done, for people. */
import type { CutoverReport, MigrationReport } from '../../contract.ts';
import { differencesText, mismatchText, schemaText } from '../../verdict-text.ts';
import { box, labelled } from './box.ts';
import { bytes, count, counted, duration, fit, gateText, plain, spread, wrap, type Paint } from './format.ts';
import { phaseName } from './phases.ts';

/** @param width cells of the terminal @returns text without a trailing newline */
export function renderReport(report: MigrationReport, width = 80, paint: Paint = plain): string {
  const cells = Math.min(100, Math.max(60, width));
  const inner = cells - 4;
  const good = report.outcome === 'complete';
  const took = duration(Date.parse(report.endedAt) - Date.parse(report.startedAt));
  const sections = [
    tableLines(report, inner, paint),
    report.phases.map(({ phase, ms }) => spread(`  ${phaseName(phase)}`, duration(ms), Math.min(inner, 40))),
    factLines(report, inner, paint),
    rollbackLines(report, inner, paint),
  ];
  return box(
    `${paint(['bold', 'cyan'], 'crossfade')} migration ${report.migration}`,
    `${paint(good ? 'green' : 'red', report.outcome)} in ${took}`,
    sections,
    cells,
    paint,
  );
}

function tableLines({ copy, verdict }: MigrationReport, width: number, paint: Paint): string[] {
  if (copy === undefined) return [];
  const line = (table: string, rows: string, size: string, equal: string): string =>
    `${fit(table, Math.min(32, width - 34))} ${rows.padStart(14)} ${size.padStart(9)}  ${equal}`;
  return [
    paint('dim', line('table', 'rows copied', 'bytes', verdict === undefined ? '' : 'verified')),
    ...copy.tables.map(({ table, rows, bytes: size }) => {
      const found = verdict?.tables.find((one) => one.table === table);
      const equal = found === undefined ? '' : found.equal ? paint('green', '✔') : paint('red', '✖ differs');
      return line(table, count(rows), bytes(size), equal);
    }),
    line('all', count(copy.rows), bytes(copy.bytes), ''),
  ];
}

function factLines(report: MigrationReport, width: number, paint: Paint): string[] {
  const { copy, views, verdict, cutover, backup, stages, plan } = report;
  const lines: string[] = [];
  if (copy !== undefined && copy.ms > 0) {
    lines.push(
      labelled('copy', `${count((copy.rows / copy.ms) * 1_000)} rows/s · ${duration(copy.ms)}`, paint),
    );
  }
  if (verdict !== undefined) {
    const equal = verdict.equal ? paint('green', 'every row agrees') : paint('red', differencesText(verdict));
    const mode = verdict.mode === 'full' ? 'compared in full' : 'sampled';
    lines.push(
      labelled(
        'verified',
        `${equal} · ${counted(verdict.rows, 'row')} ${mode} · ${duration(verdict.ms)}`,
        paint,
      ),
    );
    if (verdict.quarantined > 0)
      lines.push(labelled('', paint('red', `${count(verdict.quarantined)} quarantined`), paint));
    for (const one of verdict.mismatches.slice(0, 5)) lines.push(labelled('', mismatchText(one), paint));
    for (const one of verdict.schema.slice(0, 5)) lines.push(labelled('', schemaText(one), paint));
  }
  for (const { percent: share, figures, decision } of stages) {
    if (figures === undefined) continue;
    lines.push(
      labelled(`reads ${share} %`, `${decision?.verdict ?? 'not judged'} · ${gateText(figures)}`, paint),
    );
  }
  if (cutover !== undefined) lines.push(labelled('cutover', switchText(cutover), paint));
  if (backup !== undefined) {
    const [first = '', ...rest] = wrap(backup.path, width - 13);
    // A bookmark of D1's has no size.
    if (backup.bytes > 0) lines.push(labelled('backup', bytes(backup.bytes), paint));
    lines.push(labelled(backup.bytes > 0 ? '' : 'backup', first, paint));
    for (const part of rest) lines.push(labelled('', part, paint));
  }
  if (views !== undefined && views.created + views.leftOutCount > 0) {
    lines.push(
      labelled('views', `${count(views.created)} created · ${count(views.leftOutCount)} left out`, paint),
    );
    for (const { message } of views.leftOut)
      for (const part of wrap(message, width - 13)) lines.push(labelled('', part, paint));
  }
  if (plan.noticeCount > 0)
    lines.push(labelled('notices', `${count(plan.noticeCount)} (crossfade plan shows them)`, paint));
  return lines;
}

function switchText({ outcome, pauseMs, drained, reason }: CutoverReport): string {
  const pause = `writes paused for ${count(pauseMs)} ms · ${counted(drained, 'change')} drained`;
  return outcome === 'moved' ? pause : `returned (${reason ?? 'no reason given'}) · ${pause}`;
}

function rollbackLines({ rollback, plan, outcome }: MigrationReport, width: number, paint: Paint): string[] {
  const lines: string[] = [];
  if (outcome === 'refused') {
    for (const { message } of plan.blockers)
      lines.push(...wrap(message, width).map((line) => paint('red', line)));
    const more = plan.blockerCount - plan.blockers.length;
    if (more > 0) lines.push(`… and ${count(more)} more (crossfade plan shows them)`);
  }
  if (rollback !== undefined) {
    lines.push(...wrap(`rolled back: ${rollback.reason}`, width).map((line) => paint('yellow', line)));
    for (const step of rollback.steps) lines.push(`  ${step}`);
    if (rollback.writesBack !== undefined)
      lines.push(labelled('writes back', switchText(rollback.writesBack), paint));
  }
  return lines;
}
