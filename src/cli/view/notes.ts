/** What needs a person's eye, and what that person can do about it. */
import type { MigrationStatus } from '../../contract.ts';
import { counted, wrap, type Paint } from './format.ts';
import { progressOf, type Snapshot } from './snapshot.ts';

/** Lines of at most `width` cells; nothing of a note is cut. */
export function noteLines(snapshot: Snapshot, width: number, paint: Paint): string[] {
  const { status, retrying, unanswered, workflowId } = snapshot;
  const lines: string[] = [];
  const note = (colour: 'yellow' | 'red', text: string): void => {
    for (const line of wrap(text, width)) lines.push(paint(colour, line));
  };
  if (status?.paused === true) note('yellow', `paused: crossfade resume ${workflowId}`);
  if (status?.waitingFor !== undefined) {
    note('yellow', `waiting for ${status.waitingFor}`);
    note('yellow', `· crossfade approve ${workflowId}, or crossfade abort ${workflowId}`);
  }
  for (const one of retrying) note('red', retryText(one));
  if (unanswered) note('yellow', unansweredText(snapshot));
  const replay = progressOf(snapshot, 'replay');
  if (replay !== undefined && replay.quarantined > 0) {
    note('red', `${asideText(replay.quarantined, snapshot)}:`);
    for (const row of replay.quarantine ?? []) note('red', `· ${row}`);
  }
  if (status?.rollback !== undefined) {
    const { reason, steps } = status.rollback;
    note('yellow', rollbackText(status.outcome === 'running', reason));
    for (const step of steps) note('yellow', `· ${step}`);
    // Of a roll-back that is under way: what stands in the way of its next step.
    if (status.outcome === 'running' && status.reason !== undefined && status.reason !== reason) {
      note('red', status.reason);
    }
  } else if (status !== undefined) {
    const stage = stageText(status, workflowId);
    if (stage !== undefined) note('yellow', stage);
    else if (status.reason !== undefined && status.waitingFor?.includes(status.reason) !== true) {
      note('red', status.reason);
    }
    if (status.phase === 'soak' && status.outcome === 'running') {
      note('yellow', `the way back is open: crossfade abort ${workflowId} brings every write back to SQLite`);
    }
  }
  return lines;
}

/** What comes next where a stage did not pass; its gate's reasons stand elsewhere. */
function stageText(status: MigrationStatus, workflowId: string): string | undefined {
  const stage = status.stages.at(-1);
  if (status.phase !== 'shift' || status.outcome !== 'running' || status.waitingFor !== undefined)
    return undefined;
  if (stage?.decision?.verdict === 'hold') {
    return `too few reads to judge ${stage.percent} %: measuring on; crossfade approve ${workflowId} lets it pass`;
  }
  if (stage?.decision?.verdict === 'breach' && status.readPercent < stage.percent) {
    return `stepped back to ${status.readPercent} % of the reads; ${stage.percent} % is tried again after a stage's time`;
  }
  return undefined;
}

export function retryText({ activity, attempt, message }: Snapshot['retrying'][number]): string {
  return `${activity} failed and is tried again (attempt ${attempt}): ${message}`;
}

export function unansweredText({ taskQueue }: Snapshot): string {
  const queue = taskQueue === undefined ? '' : ` on queue "${taskQueue}"`;
  return `no worker${queue} answers; it goes on when one runs: crossfade worker`;
}

/** Rows in quarantine, and what they hold up. */
export function asideText(rows: number, { status }: Snapshot): string {
  const effect = status?.primary === 'target' ? 'stands against a roll-back' : 'blocks the cutover';
  return `${counted(rows, 'row')} set aside, which ${effect} until they are changed`;
}

export function rollbackText(running: boolean, reason: string): string {
  return `${running ? 'rolling' : 'rolled'} back: ${reason}`;
}
