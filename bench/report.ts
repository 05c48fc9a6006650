/** The report as a person reads it. */
import { count, seconds } from './bench.ts';
import type { SideResult } from './interleave.ts';
import type { Machine } from './machine.ts';
import type { Section } from './results.ts';
import { spreadOf } from './statistics.ts';

const MIB = 2 ** 20;

export function renderMachine(machine: Machine): string {
  return [
    `${machine.command}    ${machine.at}`,
    `machine     ${machine.cores} cores (${machine.processor}), ${machine.memoryGiB} GiB, ${machine.platform}, load ${machine.load.toFixed(1)}`,
    `Node        ${machine.node}`,
    `SQLite      ${machine.sqlite}`,
    `PostgreSQL  ${machine.postgres}`,
  ].join('\n');
}

export function renderSection(section: Section): string {
  const lines = [section.title];
  if (section.sides.length > 0) {
    lines.push(...table([header(section.unit), ...section.sides.map(sideRow)]));
  }
  for (const { of, to, spread, goal } of section.ratios) {
    const aim = goal === undefined ? '' : `   goal ≤ ${goal.toFixed(2)}: ${verdict(spread.median, goal)}`;
    lines.push(
      `  ${spread.median.toFixed(2)} (${spread.min.toFixed(2)}–${spread.max.toFixed(2)}) × the time of ${to}: ${of}${aim}`,
    );
  }
  for (const { name, value, unit, goal } of section.figures) {
    const aim = goal === undefined ? '' : `   limit ${goal} ${unit}: ${verdict(value, goal)}`;
    lines.push(`  ${name}: ${value.toFixed(0)} ${unit}${aim}`);
  }
  lines.push(...section.notes.map((note) => `  ${note}`));
  return lines.join('\n');
}

function verdict(value: number, goal: number): string {
  return value <= goal ? 'reached' : 'MISSED';
}

function header(unit: string): string[] {
  return ['', 'median', 'min–max', `${unit}/s`, 'MiB/s', 'peak memory'];
}

function sideRow(side: SideResult): string[] {
  if (side.unavailable !== undefined) return [side.name, side.unavailable];
  const time = spreadOf(side.runs.map(({ ms }) => ms));
  const rate = spreadOf(side.runs.map(({ ms, units }) => (units / ms) * 1_000)).median;
  const [first] = side.runs;
  const peaks = side.runs.flatMap(({ peakRss }) => (peakRss === undefined ? [] : [peakRss]));
  return [
    side.name,
    seconds(time.median),
    `${seconds(time.min)}–${seconds(time.max)}`,
    count(rate),
    first?.bytes === undefined ? '' : ((first.bytes / MIB / time.median) * 1_000).toFixed(1),
    peaks.length === 0 ? '' : `${(Math.max(...peaks) / MIB).toFixed(0)} MiB`,
  ];
}

/** Columns as wide as their widest cell; a row with a single text cell does not count. */
function table(rows: string[][]): string[] {
  const widths = rows[0]!.map((_, i) =>
    Math.max(...rows.map((row) => (i === 0 || row.length > 2 ? (row[i]?.length ?? 0) : 0))),
  );
  return rows.map((row) => {
    const cells = row.map((cell, i) =>
      i === 0 || row.length === 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!),
    );
    return `  ${cells.join('   ')}`.trimEnd();
  });
}
