/** Verification schedules for people: how the last run ended, and when the next one is due. */
import type { EndedRun, RunningRun, ScheduleStatus } from '../schedule-status.ts';
import { count, counted, duration, wrap, type Paint } from './format.ts';

/**
 * A headline and what stands below it, at most `width` cells wide.
 * @param now milliseconds since 1970
 */
export function scheduleLines(schedule: ScheduleStatus, now: number, width: number, paint: Paint): string[] {
  const { id, last, running, paused, note } = schedule;
  const lines = wrap(`${id}: ${planText(schedule, now)}`, width).map((line) => paint('bold', line));
  const add = (colour: 'green' | 'yellow' | 'red', text: string): void => {
    const [first = '', ...more] = wrap(text, width - 4);
    lines.push(paint(colour, `  ${first}`), ...more.map((line) => paint(colour, `    ${line}`)));
  };
  if (paused) {
    const why = note === undefined ? '' : ` (${note})`;
    add('yellow', `‖ paused${why}: temporal schedule toggle --schedule-id ${id} --unpause`);
  }
  if (last !== undefined) add(COLOURS[last.verdict], endedText(last, now));
  if (running !== undefined) add('yellow', runningText(running, now));
  if (last === undefined && running === undefined) add('yellow', '○ no run yet: crossfade schedule --now');
  return lines;
}

const COLOURS = { equal: 'green', different: 'red', failed: 'red' } as const;

function planText({ input, everyMs, next }: ScheduleStatus, now: number): string {
  const what =
    input === undefined
      ? 'an input that no worker accepts'
      : `${input.source} against ${input.target}` +
        (input.mode === 'full' ? ', every row' : `, ${counted(input.sampleRows, 'random row')} per table`);
  const often = everyMs === undefined ? '' : `, every ${duration(everyMs).replace(/ 00[ms]$/, '')}`;
  const due = next === undefined ? '' : `, next in ${duration(Date.parse(next) - now)}`;
  return what + often + due;
}

function endedText(
  { verdict, rows, message, endedAt, startedAt, workflowId }: EndedRun,
  now: number,
): string {
  const ago = `${duration(now - Date.parse(endedAt))} ago`;
  const took = `took ${duration(Date.parse(endedAt) - Date.parse(startedAt))}`;
  if (verdict === 'equal')
    return `✔ equal: ${rows === undefined ? '' : `${count(rows)} rows, `}${ago}, ${took}`;
  const what = verdict === 'different' ? '✖ DIFFERENT' : '✖ could not compare';
  return `${what}, ${ago}: ${message ?? 'no reason given'} (workflow ${workflowId})`;
}

function runningText({ startedAt, waitingFor }: RunningRun, now: number): string {
  const since = `▶ runs for ${duration(now - Date.parse(startedAt))}`;
  return waitingFor === undefined ? since : `${since}, waiting for ${waitingFor}`;
}
