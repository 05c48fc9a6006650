/** Counts and latencies per database and operation, as the gates read them. */
import { LATENCY_BUCKET_GROWTH, type Side } from '../contract.ts';

type RouterOperation = 'read' | 'write';

/** Up to ten minutes; slower ones count as that. */
const BUCKETS = 415;
const PER_BUCKET = 1 / Math.log(LATENCY_BUCKET_GROWTH);

export interface OperationStatistics {
  count: number;
  errors: number;
  /** Reads that failed here and were answered by the primary. */
  fallbacks: number;
  /** Writes that were acknowledged before the target had them. */
  dualWriteFailures: number;
  p50Ms: number;
  p95Ms: number;
}

/** What a router has done so far, in the process or isolate that it runs in. */
export interface RoutingStatistics {
  primary: Side;
  readPercent: number;
  reads: Record<Side, OperationStatistics>;
  writes: Record<Side, OperationStatistics>;
  /** Writes that were refused by a fence and run again. */
  fenceRetries: number;
  /** Reads kept on the source because the target did not have their key's writes yet. */
  heldBack: number;
}

/** One row of `crossfade.report_traffic`. */
interface TrafficWindow {
  side: Side;
  operation: RouterOperation;
  count: number;
  errors: number;
  fallbacks: number;
  dualWriteFailures: number;
  /** Latency bucket → count, only those that are not 0. */
  histogram: Record<string, number>;
}

class Figures {
  count = 0;
  errors = 0;
  fallbacks = 0;
  dualWriteFailures = 0;
  readonly buckets = new Float64Array(BUCKETS);

  done(ms: number): void {
    this.count += 1;
    const us = ms * 1_000;
    const bucket = us <= 1 ? 0 : Math.min(Math.floor(Math.log(us) * PER_BUCKET), BUCKETS - 1);
    this.buckets[bucket] = (this.buckets[bucket] ?? 0) + 1;
  }

  add(other: Figures): void {
    this.count += other.count;
    this.errors += other.errors;
    this.fallbacks += other.fallbacks;
    this.dualWriteFailures += other.dualWriteFailures;
    for (let i = 0; i < BUCKETS; i += 1) this.buckets[i] = (this.buckets[i] ?? 0) + (other.buckets[i] ?? 0);
  }

  get empty(): boolean {
    return this.count === 0 && this.errors === 0 && this.fallbacks === 0 && this.dualWriteFailures === 0;
  }

  /** Upper bound of the bucket that holds the given share of all latencies, ms; 0 without any. */
  quantileMs(share: number): number {
    const total = this.buckets.reduce((sum, n) => sum + n, 0);
    if (total === 0) return 0;
    let seen = 0;
    for (let i = 0; i < BUCKETS; i += 1) {
      seen += this.buckets[i] ?? 0;
      if (seen >= share * total) return LATENCY_BUCKET_GROWTH ** (i + 1) / 1_000;
    }
    return LATENCY_BUCKET_GROWTH ** BUCKETS / 1_000;
  }
}

type Table = Record<Side, Record<RouterOperation, Figures>>;

const SIDES = ['source', 'target'] as const;
const OPERATIONS = ['read', 'write'] as const;

function emptyTable(): Table {
  const side = (): Record<RouterOperation, Figures> => ({ read: new Figures(), write: new Figures() });
  return { source: side(), target: side() };
}

function addTable(into: Table, from: Table): void {
  for (const side of SIDES)
    for (const operation of OPERATIONS) into[side][operation].add(from[side][operation]);
}

export class Statistics {
  /** Since the last report. */
  #window = emptyTable();
  /** Everything before `#window`. */
  readonly #before = emptyTable();

  /** An operation that was answered. */
  done(side: Side, operation: RouterOperation, ms: number): void {
    this.#window[side][operation].done(ms);
  }

  /** An operation that ended with an error; a refusal by a fence is none. */
  failed(side: Side, operation: RouterOperation): void {
    const figures = this.#window[side][operation];
    figures.count += 1;
    figures.errors += 1;
  }

  /** A read of the target that failed, or could not be tried, and goes to the primary. */
  fellBack(): void {
    this.failed('target', 'read');
    this.#window.target.read.fallbacks += 1;
  }

  dualWriteFailures(writes: number): void {
    this.#window.source.write.dualWriteFailures += writes;
  }

  /** The window that ends now; a new one begins. */
  take(): Window {
    const taken = this.#window;
    this.#window = emptyTable();
    addTable(this.#before, taken);
    return new Window(taken);
  }

  totals(): { reads: Record<Side, OperationStatistics>; writes: Record<Side, OperationStatistics> } {
    const sum = emptyTable();
    addTable(sum, this.#before);
    addTable(sum, this.#window);
    return {
      reads: { source: summary(sum.source.read), target: summary(sum.target.read) },
      writes: { source: summary(sum.source.write), target: summary(sum.target.write) },
    };
  }
}

/** What happened in one window, or in several whose reports failed. */
export class Window {
  readonly #table: Table;

  constructor(table: Table = emptyTable()) {
    this.#table = table;
  }

  add(later: Window): void {
    addTable(this.#table, later.#table);
  }

  rows(): TrafficWindow[] {
    const rows: TrafficWindow[] = [];
    for (const side of SIDES) {
      for (const operation of OPERATIONS) {
        const figures = this.#table[side][operation];
        if (figures.empty) continue;
        const { count, errors, fallbacks, dualWriteFailures } = figures;
        const histogram: Record<string, number> = {};
        figures.buckets.forEach((n, bucket) => {
          if (n > 0) histogram[String(bucket)] = n;
        });
        rows.push({ side, operation, count, errors, fallbacks, dualWriteFailures, histogram });
      }
    }
    return rows;
  }
}

function summary(figures: Figures): OperationStatistics {
  const { count, errors, fallbacks, dualWriteFailures } = figures;
  return {
    count,
    errors,
    fallbacks,
    dualWriteFailures,
    p50Ms: figures.quantileMs(0.5),
    p95Ms: figures.quantileMs(0.95),
  };
}
