/** Stands in for the person who would look at a workflow that waits: approves a few times, then gives up. */
import type { MigrationStatus } from '../src/contract.ts';
import { messageOf } from '../src/errors.ts';

/** A machine that is too busy for the gates will not become quiet by asking again. */
const APPROVALS = 5;

export interface Signals {
  approve(): Promise<void>;
  abort(reason: string): Promise<void>;
}

export class Operator {
  /** What the workflow waited for, in its words. */
  readonly holds: string[] = [];
  readonly #signals: Signals;
  readonly #onLine: (line: string) => void;
  #seen: string | undefined;

  constructor(signals: Signals, onLine: (line: string) => void) {
    this.#signals = signals;
    this.#onLine = onLine;
  }

  /** Looks at the workflow's status, again and again. */
  look(status: MigrationStatus | undefined): void {
    const { waitingFor } = status ?? {};
    if (waitingFor === this.#seen) return;
    this.#seen = waitingFor;
    if (waitingFor === undefined) return;
    this.holds.push(waitingFor);
    const sent =
      this.holds.length <= APPROVALS
        ? this.#signals.approve()
        : this.#signals.abort(`the demo approved ${APPROVALS} times in vain`);
    sent.catch((error: unknown) => this.#onLine(`the signal did not arrive: ${messageOf(error)}`));
  }
}
