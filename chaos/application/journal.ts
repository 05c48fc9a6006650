/**
 * A client's own record of what it was told, one JSON line each: the attempt before the operation is sent, its outcome
 * after the answer. An attempt without outcome is unknown, which is what the journal of a killed process ends with.
 */
import { closeSync, existsSync, openSync, readFileSync, writeSync } from 'node:fs';
import type { Operation } from './operations.ts';

export type Side = 'source' | 'target';

export type Outcome = 'acknowledged' | 'refused' | 'unknown';

export type Line =
  | { client: number; number: number; at: number; attempt: Operation }
  | {
      client: number;
      number: number;
      at: number;
      outcome: Outcome;
      error?: string;
      /** Where it was written, by a client that chooses for itself. */
      side?: Side;
    }
  /** A read that did not give what this client had just been told was written. */
  | { client: number; at: number; stale: string };

export class Journal {
  readonly #file: number;

  /** @param path a file that does not exist yet */
  constructor(path: string) {
    this.#file = openSync(path, 'ax');
  }

  /** Synchronous, so that the line is with the operating system before anything is sent. */
  write(line: Line): void {
    writeSync(this.#file, `${JSON.stringify(line)}\n`);
  }

  close(): void {
    closeSync(this.#file);
  }
}

/**
 * A process that is killed may leave its last line cut short: nothing was sent or told after it. One that was killed before
 * it opened its journal has sent nothing.
 */
export function readJournal(path: string): Line[] {
  if (!existsSync(path)) return [];
  const text = readFileSync(path, 'utf8');
  const lines = text.split('\n').slice(0, -1);
  return lines.map((line) => JSON.parse(line) as Line);
}
