/** What measurements give back; plain JSON. */
import type { Bench } from './bench.ts';
import type { SideResult } from './interleave.ts';
import type { Spread } from './statistics.ts';

export interface Ratio {
  /** Time of this side … */
  of: string;
  /** … as a multiple of the time of that one. */
  to: string;
  spread: Spread;
  /** Largest multiple that is aimed at. */
  goal?: number;
}

export interface Figure {
  name: string;
  value: number;
  unit: string;
  /** Largest value that is aimed at. */
  goal?: number;
}

export interface Section {
  title: string;
  /** What one unit of the sides' work is, e.g. "rows". */
  unit: string;
  sides: SideResult[];
  ratios: Ratio[];
  figures: Figure[];
  notes: string[];
}

/** One thing to measure. A new one is a file in `measurements/` and a line in its `index.ts`. */
export interface Measurement {
  /** Word for `--only`. */
  name: string;
  /** @throws Error where a side fails, or where the sides did not do the same work */
  run(bench: Bench): Promise<Section>;
}
