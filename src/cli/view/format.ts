/** Numbers, times and colours as the terminal shows them. */
import { stripVTControlCharacters, styleText } from 'node:util';
import type { GateFigures, TrafficFigures } from '../../contract.ts';
import { count } from '../../counts.ts';

export { count, counted } from '../../counts.ts';

type Style = Parameters<typeof styleText>[0];

/** Colours a text, or does not. */
export type Paint = (style: Style, text: string) => string;

export const plain: Paint = (_style, text) => text;
// Without validation: whether to colour was decided by `paintFor`, for the stream that is written to.
export const coloured: Paint = (style, text) => styleText(style, text, { validateStream: false });

/** Colours for a terminal, unless NO_COLOR (https://no-color.org) or a dumb terminal forbids; FORCE_COLOR overrides. */
export function paintFor(stream: { isTTY?: boolean }, env: NodeJS.ProcessEnv): Paint {
  if (env['NO_COLOR'] !== undefined && env['NO_COLOR'] !== '') return plain;
  if (env['FORCE_COLOR'] !== undefined && env['FORCE_COLOR'] !== '0') return coloured;
  return stream.isTTY === true && env['TERM'] !== 'dumb' ? coloured : plain;
}

/** Cells of a line; 80 where the stream is no terminal, or one that does not know its size. */
export function widthOf(stream: { columns?: number }): number {
  return stream.columns === undefined || stream.columns === 0 ? 80 : stream.columns;
}

/** 143000000 → 143 MB */
export function bytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let size = value;
  let unit = 0;
  while (size >= 999.5 && unit < units.length - 1) {
    size /= 1_000;
    unit++;
  }
  return `${unit === 0 || size >= 99.5 ? Math.round(size) : size.toFixed(1)} ${units[unit]}`;
}

/** 350 → 0.35 s, 62000 → 1m 02s, 3700000 → 1h 02m */
export function duration(ms: number): string {
  const seconds = Math.max(0, ms) / 1_000;
  if (seconds < 10) return `${seconds.toFixed(seconds < 0.995 ? 2 : 1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const total = Math.round(seconds);
  const two = (value: number): string => String(value).padStart(2, '0');
  if (total < 3_600) return `${Math.floor(total / 60)}m ${two(total % 60)}s`;
  return `${Math.floor(total / 3_600)}h ${two(Math.floor((total % 3_600) / 60))}m`;
}

/** A latency in milliseconds: 0.42 ms, 12 ms. */
export function latency(ms: number): string {
  return `${ms < 10 ? ms.toFixed(ms < 1 ? 2 : 1) : count(ms)} ms`;
}

/** What a gate looked at. A side that answered nothing has no latency. */
export function gateText({ reads: { source, target }, judgedBy }: GateFigures): string {
  const p95 = (side: TrafficFigures): string => (side.count === 0 ? '–' : latency(side.p95Ms));
  const errors = target.count > 0 ? target.errors / target.count : 0;
  return (
    `p95 ${p95(source)} → ${p95(target)} · errors ${percent(errors, 2)} · ` +
    `${count(target.count)} ${judgedBy === 'probes' ? 'probes' : 'reads'}`
  );
}

/** 0.0123 → 1.23 % */
export function percent(share: number, digits = 0): string {
  return `${(share * 100).toFixed(digits)} %`;
}

/** A bar of `width` cells, an eighth of a cell exact. */
export function bar(share: number, width: number): string {
  const eighths = Math.round(Math.min(1, Math.max(0, share)) * width * 8);
  const full = Math.floor(eighths / 8);
  const rest = ' ▏▎▍▌▋▊▉'[eighths % 8]!;
  const filled = '█'.repeat(full) + (eighths % 8 === 0 ? '' : rest);
  return filled + '░'.repeat(width - [...filled].length);
}

/** Cells that a text takes, colours left out. Names in scripts that take two cells each may be counted short. */
export function visibleLength(text: string): number {
  return [...stripVTControlCharacters(text)].length;
}

/** Fills up with blanks, or cuts with an ellipsis; a text that is cut loses its colours. */
export function fit(text: string, width: number): string {
  const length = visibleLength(text);
  if (length <= width) return text + ' '.repeat(width - length);
  return `${[...stripVTControlCharacters(text)].slice(0, Math.max(0, width - 1)).join('')}…`;
}

/** `left` and `right` on one line of `width` cells. */
export function spread(left: string, right: string, width: number): string {
  const room = width - visibleLength(right);
  return right === '' ? fit(left, width) : fit(left, room - 1) + ' ' + right;
}

/** Breaks a text without colours into lines of at most `width` cells, between words where there are any. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(/\s+/)) {
    const last = lines.at(-1);
    if (last !== undefined && visibleLength(last) + 1 + visibleLength(word) <= width) {
      lines[lines.length - 1] = `${last} ${word}`;
      continue;
    }
    const cells = [...word];
    for (let at = 0; at === 0 || at < cells.length; at += width)
      lines.push(cells.slice(at, at + width).join(''));
  }
  return lines;
}
