/** Reads the application's journal. */
import { readFileSync } from 'node:fs';
import type { Attempt, JournalLine, Outcome } from '../application/journal.ts';

type Acknowledged = Extract<Outcome, { type: 'ack' }>;

export interface JournalContent {
  attempts: Map<number, Attempt>;
  /** In the order in which the application was told. */
  acknowledged: Acknowledged[];
  refused: number[];
  /** Answered with an unknown outcome, or never answered. */
  unknown: number[];
}

/** @throws Error where a line is not a journal line; a last line that was cut off counts as not written */
export function readJournal(path: string): JournalContent {
  const attempts = new Map<number, Attempt>();
  const acknowledged: Acknowledged[] = [];
  const refused: number[] = [];
  const open = new Set<number>();
  const text = readFileSync(path, 'utf8');
  const lines = text.split('\n');
  // What follows the last newline was being written when the application ended.
  lines.pop();
  for (const [index, line] of lines.entries()) {
    let entry: JournalLine;
    try {
      entry = JSON.parse(line) as JournalLine;
    } catch (error) {
      throw new Error(`${path}, line ${index + 1} is not JSON`, { cause: error });
    }
    if (entry.type === 'attempt') {
      attempts.set(entry.n, entry);
      open.add(entry.n);
      continue;
    }
    if (!attempts.has(entry.n)) throw new Error(`${path}, line ${index + 1}: an outcome without its attempt`);
    if (entry.type === 'unknown') continue;
    open.delete(entry.n);
    if (entry.type === 'ack') acknowledged.push(entry);
    else refused.push(entry.n);
  }
  return { attempts, acknowledged, refused, unknown: [...open] };
}
