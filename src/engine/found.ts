/** The differences that a verification has found: counted all, kept only the first, however many there are. */
import type { Mismatch, TablePlan } from '../contract.ts';

/** Differences that a verdict shows. */
export const MISMATCHES_SHOWN = 20;
/** Of one table, the keys that are remembered, so that what two ways of looking find counts once. */
const KEYS_KEPT = 5_000;
const KEY_BYTES_KEPT = 2_000_000;

export interface FoundDifference {
  /** See `keyText`. */
  key: string;
  mismatch: Mismatch;
}

export class Found {
  /** The first of them. */
  readonly mismatches: Mismatch[] = [];
  count = 0;

  private table = 0;
  private readonly keys = new Set<string>();
  private bytes = 0;

  /** Table by table: what was remembered of the table before is forgotten. */
  add({ id }: TablePlan, { key, mismatch }: FoundDifference): void {
    if (id !== this.table) {
      this.table = id;
      this.keys.clear();
      this.bytes = 0;
    }
    if (this.keys.has(key)) return;
    // Beyond what is remembered, a key that is found twice counts twice: a table that differs so much is no near miss.
    if (this.keys.size < KEYS_KEPT && this.bytes < KEY_BYTES_KEPT) {
      this.keys.add(key);
      this.bytes += key.length;
    }
    this.count++;
    if (this.mismatches.length < MISMATCHES_SHOWN) this.mismatches.push(mismatch);
  }
}
