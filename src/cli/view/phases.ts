/** The list of phases: which are done, which runs and how far it is, which are to come. */
import { PHASES, type MigrationStatus, type Phase, type PhaseRecord } from '../../contract.ts';
import { differencesText } from '../../verdict-text.ts';
import { bar, bytes, count, counted, duration, fit, percent, spread, type Paint } from './format.ts';
import { progressOf, type Snapshot } from './snapshot.ts';

const NAMES: Partial<Record<Phase, string>> = {
  backup: 'back up',
  tables: 'create tables',
  capture: 'start capture',
  indexes: 'create indexes',
  shift: 'shift reads',
  'foreign-keys': 'foreign keys',
  cutover: 'cut over',
};
const NAME_WIDTH = 15;
const SPINNER = '⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏';

export function phaseName(phase: Phase): string {
  return NAMES[phase] ?? phase;
}

export function phaseLines(
  snapshot: Snapshot,
  status: MigrationStatus,
  width: number,
  paint: Paint,
): string[] {
  return PHASES.flatMap((phase) => {
    const record = status.phases.findLast((one) => one.phase === phase);
    const over = status.outcome !== 'running';
    if (record === undefined) {
      const passed = PHASES.indexOf(phase) < PHASES.indexOf(status.phase);
      return [paint('dim', `${over || passed ? '–' : '○'} ${phaseName(phase)}`)];
    }
    const took = paint('dim', timeOf(record, snapshot.now, over));
    if (record.endedAt !== undefined) {
      const line = `${paint('green', '✔')} ${fit(phaseName(phase), NAME_WIDTH)} ${doneDetail(phase, status)}`;
      return [spread(line, took, width)];
    }
    const mark = over
      ? paint('red', '✖')
      : status.paused
        ? paint('yellow', '‖')
        : paint('cyan', SPINNER[Math.floor(snapshot.now / 100) % SPINNER.length]!);
    const [detail, ...more] = runningDetail(phase, snapshot, status, width, paint);
    const name = paint('bold', fit(phaseName(phase), NAME_WIDTH));
    const indent = ' '.repeat(NAME_WIDTH + 3);
    return [spread(`${mark} ${name} ${detail ?? ''}`, took, width), ...more.map((line) => indent + line)];
  });
}

function timeOf(record: PhaseRecord, now: number, over: boolean): string {
  if (record.endedAt === undefined && over) return '';
  const end = record.endedAt === undefined ? now : Date.parse(record.endedAt);
  return duration(end - Date.parse(record.startedAt));
}

/** What a phase that is over has brought. */
function doneDetail(phase: Phase, status: MigrationStatus): string {
  const { plan, backup, copy, verdict, stages, cutover } = status;
  if (phase === 'plan' && plan !== undefined) {
    return `${counted(plan.tables, 'table')} · ${counted(plan.rows, 'row')} · ${bytes(plan.bytes)}`;
  }
  if (phase === 'backup' && backup !== undefined)
    return backup.bytes === 0 ? 'Time Travel bookmark' : bytes(backup.bytes);
  if (phase === 'copy' && copy !== undefined) {
    const rate = copy.ms > 0 ? ` · ${count((copy.rows / copy.ms) * 1_000)} rows/s` : '';
    return `${counted(copy.rows, 'row')} · ${bytes(copy.bytes)}${rate}`;
  }
  if (phase === 'verify' && verdict !== undefined) {
    return verdict.equal
      ? `${counted(verdict.rows, 'row')} agree`
      : `${differencesText(verdict)} in ${counted(verdict.rows, 'row')}`;
  }
  if (phase === 'shift') return `${stages.map(({ percent: share }) => share).join(' → ')} %`;
  if (phase === 'cutover' && cutover !== undefined) return `writes paused for ${count(cutover.pauseMs)} ms`;
  return '';
}

/** How far the activities are that run, where no workflow answers for its phases. */
export function progressLines({ progress }: Snapshot): string[] {
  return progress.map((one) => {
    switch (one.kind) {
      case 'copy':
        return `copy: ${count(one.rows)} of ${counted(one.rowsTotal, 'row')} · now ${one.table}`;
      case 'verify':
        return `verify: ${count(one.rows)} of ${counted(one.rowsTotal, 'row')} compared · now ${one.table}`;
      case 'replay':
        return `replay: lag ${duration(one.lagMs)} · ${counted(one.changes, 'change')} replayed`;
      case 'backup':
        return `back up: ${bytes(one.bytes)}`;
    }
  });
}

/** How far the phase is that runs; further lines stand below the first. */
function runningDetail(
  phase: Phase,
  snapshot: Snapshot,
  status: MigrationStatus,
  width: number,
  paint: Paint,
): string[] {
  const cells = Math.max(10, Math.min(40, width - 45));
  const meter = (share: number): string => `${paint('cyan', bar(share, cells))} ${percent(share)}`;
  if (phase === 'copy') {
    const copy = progressOf(snapshot, 'copy');
    if (copy === undefined) return [''];
    const left = copy.rowsPerSecond > 0 ? (copy.rowsTotal - copy.rows) / copy.rowsPerSecond : undefined;
    return [
      meter(copy.rowsTotal > 0 ? copy.rows / copy.rowsTotal : 0),
      `${count(copy.rows)} of ${counted(copy.rowsTotal, 'row')} · ${bytes(copy.bytes)} · now ${copy.table}`,
      `${count(copy.rowsPerSecond)} rows/s · ${bytes(copy.bytesPerSecond)}/s` +
        (left === undefined ? '' : ` · ${duration(left * 1_000)} left`),
    ];
  }
  if (phase === 'verify') {
    const verify = progressOf(snapshot, 'verify');
    if (verify === undefined) return [''];
    return [
      meter(verify.rowsTotal > 0 ? verify.rows / verify.rowsTotal : 0),
      `${count(verify.rows)} of ${counted(verify.rowsTotal, 'row')} compared · now ${verify.table}`,
    ];
  }
  if (phase === 'backup') {
    const backup = progressOf(snapshot, 'backup');
    return [backup === undefined ? '' : bytes(backup.bytes)];
  }
  if (phase === 'shift') {
    const stage = status.stages.at(-1);
    const since = stage === undefined ? '' : ` · for ${duration(snapshot.now - Date.parse(stage.startedAt))}`;
    return [`${status.readPercent} % of reads on PostgreSQL${since}`];
  }
  return [''];
}
