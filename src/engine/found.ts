/** The differences that a verification has found. */
import type { Mismatch, TablePlan } from '../contract.ts';

export interface FoundDifference {
  /** See `keyText`. */
  key: string;
  mismatch: Mismatch;
}

/** Differences by table and key: what two ways of looking find counts once. */
export class Found {
  private readonly byKey = new Map<string, Mismatch>();

  get size(): number {
    return this.byKey.size;
  }

  add(table: TablePlan, { key, mismatch }: FoundDifference): void {
    const name = `${table.id} ${key}`;
    if (!this.byKey.has(name)) this.byKey.set(name, mismatch);
  }

  /** Those that are not in quarantine: those rows are absent on the target by design, and told by themselves. */
  outside(quarantined: Set<string>): Mismatch[] {
    return [...this.byKey].filter(([name]) => !quarantined.has(name)).map(([, mismatch]) => mismatch);
  }
}
