/** What the checker may find, by the name under which reports count it. */
export type Check =
  /** A client's rows are not those that its acknowledged operations left. */
  | 'values'
  /** An operation on shared rows is missing, doubled, or there although it was refused. */
  | 'operations'
  /** Balances and counters are not what the operations make them. */
  | 'sums'
  /** Rows that nobody changes have changed. */
  | 'untouched rows'
  /** An application has written nothing, so that the run shows nothing. */
  | 'traffic'
  /** A read did not see what had been written under its key before. */
  | 'reads'
  /** A database took a write that was not the primary. */
  | 'primary'
  /** The other database lacks what it had to have, or has what it must not. */
  | 'secondary'
  /** Objects, triggers or keys are not as the outcome says. */
  | 'remains'
  /** The migration itself found a difference, which nothing that is injected makes. */
  | 'own verdict'
  /** It did not end, or in a state that it should not end in. */
  | 'ending';

export interface Violation {
  check: Check;
  what: string;
}

export function violations(check: Check, lines: readonly string[]): Violation[] {
  return lines.map((what) => ({ check, what }));
}

export function violationText({ check, what }: Violation): string {
  return `${check}: ${what}`;
}
