/** The live screen: phases above, what the databases and the application do below. */
import {
  DEFAULT_INPUT,
  type GateFigures,
  type MigrationStatus,
  type Side,
  type StageRecord,
  type TrafficSnapshot,
} from '../../contract.ts';
import { box, labelled } from './box.ts';
import { bar, count, counted, duration, gateText, latency, plain, type Paint } from './format.ts';
import { noteLines } from './notes.ts';
import { phaseLines, progressLines } from './phases.ts';
import { progressOf, type Snapshot } from './snapshot.ts';

const MIN_WIDTH = 60;
const MAX_WIDTH = 100;
const SIDES: Record<Side, string> = { source: 'SQLite', target: 'PostgreSQL' };

/** Cells of the screen, its frame of four included, on a terminal of this width. */
export function screenWidth(width: number): number {
  return Math.min(MAX_WIDTH, Math.max(MIN_WIDTH, width));
}

/**
 * One screen of text without a trailing newline.
 * @param width cells of the terminal; the screen takes 60 to 100 of them
 */
export function renderScreen(snapshot: Snapshot, width: number, paint: Paint = plain): string {
  const cells = screenWidth(width);
  const inner = cells - 4;
  const { status } = snapshot;
  const title = `${paint(['bold', 'cyan'], 'crossfade')} ${snapshot.title ?? titleOf(snapshot)}`;
  const sections =
    status === undefined
      ? [[snapshot.unanswered ? 'waiting for a worker …' : 'starting …'], progressLines(snapshot)]
      : [phaseLines(snapshot, status, inner, paint), stateLines(snapshot, status, paint)];
  sections.push(noteLines(snapshot, inner, paint), snapshot.extra ?? []);
  const frame = box(title, stateOf(snapshot, paint), sections, cells, paint);
  // Outside the frame and never cut: terminals make it a link.
  return snapshot.uiUrl === undefined ? frame : `${frame}\n  ${paint('underline', snapshot.uiUrl)}`;
}

function titleOf({ status, workflowId }: Snapshot): string {
  if (status === undefined) return workflowId;
  // The default names say nothing.
  if (status.source === DEFAULT_INPUT.source && status.target === DEFAULT_INPUT.target) return workflowId;
  return `${status.source} → ${status.target}`;
}

function stateOf({ status, now }: Snapshot, paint: Paint): string {
  if (status === undefined) return '';
  const started = status.phases[0]?.startedAt;
  const ended = status.outcome === 'running' ? now : lastTime(status, now);
  const time = started === undefined ? '' : ` ${duration(ended - Date.parse(started))}`;
  if (status.outcome === 'running') {
    const word = status.paused ? 'paused' : status.waitingFor === undefined ? 'running' : 'waiting';
    return paint(word === 'running' ? 'cyan' : 'yellow', word) + time;
  }
  return paint(status.outcome === 'complete' ? 'green' : 'red', status.outcome) + time;
}

function lastTime(status: MigrationStatus, now: number): number {
  const ends = status.phases.flatMap(({ endedAt }) => (endedAt === undefined ? [] : [Date.parse(endedAt)]));
  return ends.length > 0 ? Math.max(...ends) : now;
}

function stateLines(snapshot: Snapshot, status: MigrationStatus, paint: Paint): string[] {
  const { traffic } = snapshot;
  const lines = [
    labelled('primary', paint('bold', SIDES[status.primary]), paint),
    labelled(
      'reads',
      `${paint('cyan', bar(status.readPercent / 100, 20))} ${status.readPercent} % on PostgreSQL`,
      paint,
    ),
  ];
  const replay = progressOf(snapshot, 'replay');
  const lagMs = replay?.lagMs ?? snapshot.lagMs;
  if (lagMs !== undefined) {
    const changes = replay === undefined ? '' : ` · ${counted(replay.changes, 'change')} replayed`;
    lines.push(labelled('lag', `${duration(lagMs)}${changes}`, paint));
  }
  const stage = status.stages.findLast((one) => one.figures !== undefined);
  if (stage !== undefined && stage.figures !== undefined)
    lines.push(...gateLines(stage, stage.figures, paint));
  if (traffic !== undefined && traffic.routers > 0) lines.push(...trafficLines(traffic, paint));
  return lines;
}

/** The last stage that was judged, and by which figures. */
function gateLines(stage: StageRecord, figures: GateFigures, paint: Paint): string[] {
  const verdict = stage.decision?.verdict;
  const colour = verdict === 'pass' ? 'green' : verdict === 'breach' ? 'red' : 'yellow';
  const lines = [
    labelled(
      `gate ${stage.percent} %`,
      (verdict === undefined ? '' : `${paint(colour, verdict)} · `) + gateText(figures),
      paint,
    ),
  ];
  if (verdict !== undefined && verdict !== 'pass') {
    for (const reason of stage.decision?.reasons ?? [])
      lines.push(labelled('', paint(colour, reason), paint));
  }
  return lines;
}

function trafficLines(traffic: TrafficSnapshot, paint: Paint): string[] {
  const { reads, writes } = traffic;
  const all = [reads.source, reads.target, writes.source, writes.target];
  const perSecond = all.reduce((sum, one) => sum + one.count, 0) / Math.max(0.001, traffic.windowMs / 1_000);
  const errors = all.reduce((sum, one) => sum + one.errors, 0);
  const p95 = (['source', 'target'] as const)
    .filter((side) => reads[side].count > 0)
    .map((side) => `${latency(reads[side].p95Ms)} ${SIDES[side]}`);
  const lines = [
    labelled(
      'application',
      `${count(perSecond)} ops/s · ${errors === 0 ? 'no errors' : paint('red', counted(errors, 'error'))}`,
      paint,
    ),
  ];
  if (p95.length > 0) lines.push(labelled('', `reads, p95: ${p95.join(', ')}`, paint));
  if (traffic.fallbacks > 0)
    lines.push(labelled('', `${counted(traffic.fallbacks, 'read')} fell back`, paint));
  if (traffic.dualWriteFailures > 0) {
    lines.push(
      labelled('', paint('yellow', `dual_write_failure × ${count(traffic.dualWriteFailures)}`), paint),
    );
  }
  return lines;
}
