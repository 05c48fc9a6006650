/** The report as a person reads it. */
import { count, seconds } from './bench.ts';
import type { SideResult } from './interleave.ts';
import type { Machine } from './machine.ts';
import type { Ratio, Section } from './results.ts';
import { spreadOf } from './statistics.ts';

const MIB = 2 ** 20;

export function renderMachine(machine: Machine): string {
  return [
    `${machine.command}    ${machine.at}`,
    `machine     ${machine.cores} cores (${machine.processor}), ${machine.memoryGiB} GiB, ${machine.platform}, load ${machine.load.toFixed(1)}`,
    `Node        ${machine.node}`,
    `SQLite      ${machine.sqlite}`,
    `PostgreSQL  ${machine.postgres}`,
    ...(machine.load > machine.cores / 2
      ? ['The machine is busy with other things: ratios count, times do not.']
      : []),
  ].join('\n');
}

export function renderSection(section: Section): string {
  const lines = [section.title];
  const ran = section.sides.filter(({ runs }) => runs.length > 0);
  if (ran.length > 0) lines.push(...table(header(section.unit), ran.map(sideRow)));
  for (const { name, unavailable } of section.sides) {
    if (unavailable !== undefined) lines.push(`  ${name}: ${unavailable}`);
  }
  if (section.ratios.length > 0) {
    lines.push(...table(['time, paired by run', 'median', 'min–max', ''], section.ratios.map(ratioRow)));
  }
  for (const { name, value, unit, goal } of section.figures) {
    const aim = goal === undefined ? '' : `   limit ${goal} ${unit}: ${verdict(value, goal)}`;
    lines.push(`  ${name}: ${value.toFixed(value < 100 ? 1 : 0)} ${unit}${aim}`);
  }
  lines.push(...section.notes.map((note) => `  ${note}`));
  return lines.join('\n');
}

function ratioRow({ of, to, spread, goal }: Ratio): string[] {
  const { median, min, max } = spread;
  const aim = goal === undefined ? '' : `goal ≤ ${goal.toFixed(2)}: ${verdict(median, goal)}`;
  return [`${of} ÷ ${to}`, median.toFixed(2), `${min.toFixed(2)}–${max.toFixed(2)}`, aim];
}

function verdict(value: number, goal: number): string {
  return value <= goal ? 'reached' : 'missed';
}

function header(unit: string): string[] {
  return ['', 'median', 'min–max', `${unit}/s`, 'MiB/s', 'peak memory'];
}

function sideRow(side: SideResult): string[] {
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

/** Columns as wide as their widest cell, the first to the left; those with nothing below their head are left out. */
function table(head: string[], body: string[][]): string[] {
  const shown = head.map((_, i) => body.some((row) => row[i] !== ''));
  const rows = [head, ...body].map((row) => row.filter((_, i) => shown[i]));
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  return rows.map((row) => {
    const cells = row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)));
    return `  ${cells.join('   ')}`.trimEnd();
  });
}
