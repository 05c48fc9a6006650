/** The demo's result: as JSON, and as text for a person. */
import { bytes, count, duration } from '../src/cli/view/format.ts';
import type { CutoverReport, MigrationReport, Outcome } from '../src/contract.ts';
import type { ApplicationFigures } from './application/figures.ts';
import type { CheckResult } from './checker/check.ts';
import type { DemoOptions } from './arguments.ts';
import { SOURCE_KINDS } from './sources/kinds.ts';

export interface DemoReport {
  /** Nothing lost, every row agrees, the migration ended as it was meant to, and the application was served well. */
  ok: boolean;
  /** Why not, a line each. */
  problems: string[];
  options: DemoOptions;
  workflow: { id: string; url?: string };
  outcome: Outcome;
  /** Rows of the generated database. */
  generatedRows: Record<string, number>;
  /** Rows per table in the final primary. */
  rows: Record<string, number>;
  phases: { phase: string; ms: number }[];
  durationMs: number;
  copy?: { rows: number; bytes: number; ms: number };
  verification?: { equal: boolean; mode: string; rows: number; ms: number; mismatches: number };
  /** Write pause of each switch of the primary: by the workflow's clock and as the application saw it. */
  pauses: { switch: 'cutover' | 'rollback'; workflowMs: number | null; applicationMs: number | null }[];
  application: ApplicationFigures & {
    /** Served while the workflow ran. */
    readsDuringMigration: number;
    writesDuringMigration: number;
  };
  writesLost: number;
  /** Of the final primary. */
  check: CheckResult;
  /** Of the source after a complete run: rows that PostgreSQL has not changed since the cutover. */
  sourceCheck?: CheckResult;
  /** The workflow's own report. */
  migration: MigrationReport;
  /** What the workflow waited for until the demo approved it: gates that breached or held. */
  holds: string[];
  /** How often the worker was started again after it had died. */
  workerRestarts: number;
  /** Where the files are, with --keep. */
  directory?: string;
}

export interface ReportParts {
  options: DemoOptions;
  workflow: { id: string; url?: string };
  migration: MigrationReport;
  holds: string[];
  generatedRows: Record<string, number>;
  /** At the start of the workflow, at its end, and after the last operation. */
  figures: Record<'before' | 'after' | 'last', ApplicationFigures>;
  check: CheckResult;
  sourceCheck?: CheckResult;
  workerRestarts: number;
  directory?: string;
}

export function makeReport(parts: ReportParts): DemoReport {
  const { options, migration, figures, check, sourceCheck } = parts;
  const { copy, verdict, cutover, rollback } = migration;
  const switches = figures.last.switches;
  const pauseOf = (to: 'source' | 'target', name: 'cutover' | 'rollback', report?: CutoverReport) => ({
    switch: name,
    workflowMs: report?.pauseMs ?? null,
    applicationMs: switches.find((one) => one.to === to)?.pauseMs ?? null,
  });
  const report: DemoReport = {
    ok: false,
    problems: [],
    options,
    workflow: parts.workflow,
    outcome: migration.outcome,
    generatedRows: parts.generatedRows,
    rows: Object.fromEntries(check.tables.map(({ table, rows }) => [table, rows])),
    phases: migration.phases.map(({ phase, ms }) => ({ phase, ms })),
    durationMs: Date.parse(migration.endedAt) - Date.parse(migration.startedAt),
    pauses: [
      ...(cutover?.outcome === 'moved' ? [pauseOf('target', 'cutover', cutover)] : []),
      ...(rollback?.writesBack === undefined ? [] : [pauseOf('source', 'rollback', rollback.writesBack)]),
    ],
    application: {
      ...figures.last,
      readsDuringMigration: figures.after.reads - figures.before.reads,
      writesDuringMigration: figures.after.writes - figures.before.writes,
    },
    writesLost: check.writesLost,
    check,
    migration,
    holds: parts.holds,
    workerRestarts: parts.workerRestarts,
  };
  if (copy !== undefined) report.copy = { rows: copy.rows, bytes: copy.bytes, ms: copy.ms };
  if (verdict !== undefined) {
    const { equal, mode, rows, ms, mismatchCount } = verdict;
    report.verification = { equal, mode, rows, ms, mismatches: mismatchCount };
  }
  if (sourceCheck !== undefined) report.sourceCheck = sourceCheck;
  if (parts.directory !== undefined) report.directory = parts.directory;
  report.problems = problemsOf(report, migration);
  report.ok = report.problems.length === 0;
  return report;
}

/** The strategy's criterion for success: fewer than 0.1 % errors. */
const MAX_ERROR_RATE = 0.001;

function problemsOf(report: DemoReport, migration: MigrationReport): string[] {
  const problems: string[] = [];
  const { check, sourceCheck, application, options } = report;
  const wanted = options.rollback ? 'rolled back' : 'complete';
  if (report.outcome !== wanted) {
    const reason = migration.rollback?.reason;
    problems.push(
      `the migration ended "${report.outcome}" instead of "${wanted}"${reason === undefined ? '' : `: ${reason}`}`,
    );
  }
  if (options.rollback && check.acknowledgedByTarget === 0) {
    problems.push('no write was made on PostgreSQL before the rollback, so that nothing had to come back');
  }
  if (migration.verdict?.equal === false) problems.push("crossfade's own verification found differences");
  for (const one of sourceCheck === undefined ? [check] : [check, sourceCheck]) {
    if (one.agrees) continue;
    problems.push(
      `${one.database}: ${one.writesLost} writes lost, ${one.phantoms} phantoms, ${one.damaged} rows damaged, ` +
        `${one.contradictions} contradictions`,
      ...one.findings.map((finding) => `  ${finding}`),
    );
  }
  const operations = application.reads + application.writes;
  if (application.wrongAnswers > 0 || application.errors > operations * MAX_ERROR_RATE) {
    problems.push(
      `the application saw ${application.errors} errors in ${operations} operations, ` +
        `${application.wrongAnswers} of them wrong answers, the last: ${application.lastError}`,
    );
  }
  return problems;
}

function milliseconds(ms: number | null): string {
  return ms === null ? 'not seen' : `${count(ms)} ms`;
}

/** The report as text, without trailing newline. */
export function renderDemoReport(report: DemoReport): string {
  const { application, check, sourceCheck, copy, verification } = report;
  const source = SOURCE_KINDS[report.options.source].name;
  const lines: string[] = [];
  const row = (label: string, value: string): void => void lines.push(`  ${label.padEnd(26)}${value}`);

  lines.push(`crossfade demo: ${report.outcome} in ${duration(report.durationMs)}`, '');
  for (const { table, rows } of check.tables) row(table, `${count(rows).padStart(11)} rows`);
  lines.push('');
  for (const { phase, ms } of report.phases) row(phase, duration(ms).padStart(11));
  lines.push('');
  if (copy !== undefined) {
    const rate = count(Math.round(copy.rows / Math.max(0.001, copy.ms / 1_000)));
    row('copied', `${count(copy.rows)} rows, ${bytes(copy.bytes)}, ${rate} rows/s`);
  }
  if (verification !== undefined) {
    const verdict = verification.equal ? 'equal' : `${verification.mismatches} differences`;
    row('verified', `${verdict}: ${count(verification.rows)} rows (${verification.mode})`);
  }
  for (const { switch: name, workflowMs, applicationMs } of report.pauses) {
    row(
      `write pause, ${name}`,
      `${milliseconds(workflowMs)}; seen by the application: ${milliseconds(applicationMs)}`,
    );
  }
  row(
    'served meanwhile',
    `${count(application.readsDuringMigration)} reads, ${count(application.writesDuringMigration)} writes`,
  );
  row('application errors', `${application.errors} (stale reads: ${application.staleReads})`);
  for (const hold of report.holds) row('held and approved', hold);
  if (report.workerRestarts > 0) row('worker restarts', String(report.workerRestarts));
  const alerts = Object.entries(application.alerts).map(([name, times]) => `${name} × ${count(times)}`);
  if (alerts.length > 0) row('alerts', alerts.join(', '));

  lines.push('', `Journal against ${check.database}, by code that shares nothing with the engine:`);
  row('acknowledged writes', count(check.acknowledged));
  row('writes lost', String(check.writesLost));
  row('phantom rows', String(check.phantoms));
  row('rows compared', `${count(check.rows)}: ${check.agrees ? 'every one agrees' : 'NOT all agree'}`);
  if (check.unknown > 0) row('unknown outcomes', `${check.unknown} (${check.leftOut} rows left out)`);
  row('sum of credits', check.credits.actual === check.credits.expected ? 'kept' : 'NOT kept');
  if (report.options.rollback) {
    const back = check.acknowledgedByTarget - check.targetWritesLost;
    row(
      'made on PostgreSQL',
      `${count(check.acknowledgedByTarget)} writes, ${count(back)} back in ${source}, ${check.targetWritesLost} missing`,
    );
  }
  if (sourceCheck !== undefined) {
    row(
      `${source} against the same`,
      `${count(sourceCheck.rows)} rows: ${sourceCheck.agrees ? 'every one agrees' : 'NOT all agree'} ` +
        `(${count(sourceCheck.leftOut)} changed since on PostgreSQL)`,
    );
  }
  if (report.directory !== undefined) lines.push('', `Files kept in ${report.directory}`);
  lines.push('');
  if (report.ok) {
    lines.push(
      report.options.rollback
        ? `OK: back on ${source}, ${count(check.acknowledgedByTarget)} writes made on PostgreSQL are all there, 0 writes lost`
        : 'OK: 0 writes lost, every row agrees',
    );
  } else {
    lines.push('NOT OK:', ...report.problems.map((problem) => `  ${problem}`));
  }
  return lines.join('\n');
}
