/** Shadow reads: the same read on both databases, answered by the source, so that differences are found before users find them. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Sql, Value } from '../databases/adapter.ts';
import { reasonOf, shortened, type Alerts } from './alerts.ts';
import type { Target } from './target.ts';

export interface ShadowStatistics {
  compared: number;
  mismatches: number;
  /** Reads that the target refused. */
  errors: number;
  /** Neither equal nor certainly different: the rows kept changing, or replay did not catch up in time. */
  undecided: number;
}

/** The source as comparisons need it. */
export interface ComparedSource {
  query(sql: Sql, params: readonly Value[]): Promise<unknown[]>;
  /** Highest position of the change log. */
  head(): number | Promise<number>;
}

/** Comparisons at a time; further reads are not shadowed. */
const MAX_RUNNING = 8;
const ATTEMPTS = 4;
/** A difference must stand this often before it is told. */
const CONFIRMATIONS = 2;
const CATCH_UP_MS = 2_000;
const POLL_MS = 5;

export class ShadowReads {
  readonly statistics: ShadowStatistics = { compared: 0, mismatches: 0, errors: 0, undecided: 0 };
  readonly #source: ComparedSource;
  readonly #target: Target;
  readonly #alerts: Alerts;
  readonly #timeoutMs: number;
  readonly #running = new Set<Promise<void>>();
  #closed = false;

  /** @param timeoutMs for a read of the target */
  constructor(source: ComparedSource, target: Target, alerts: Alerts, timeoutMs: number) {
    this.#source = source;
    this.#target = target;
    this.#alerts = alerts;
    this.#timeoutMs = timeoutMs;
  }

  /** Compares the source's answer with the target's in the background. */
  start(sql: Sql, params: readonly Value[], answer: unknown[]): void {
    if (this.#closed || this.#running.size >= MAX_RUNNING) return;
    const work = this.#compare(sql, params, answer)
      .catch((error: unknown) => {
        this.statistics.errors += 1;
        this.#alerts.log.warn({ sql: shortened(sql), reason: reasonOf(error) }, 'a shadow read failed');
      })
      .finally(() => this.#running.delete(work));
    this.#running.add(work);
  }

  /** Waits for the comparisons that are running. */
  async idle(): Promise<void> {
    await Promise.all(this.#running);
  }

  /** Ends them early. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.idle();
  }

  async #compare(sql: Sql, params: readonly Value[], answer: unknown[]): Promise<void> {
    const onTarget = (): Promise<unknown[]> => this.#target.adapter.query(sql, params, this.#timeoutMs);
    const onSource = (): Promise<unknown[]> => this.#source.query(sql, params);

    if (sameRows(sql, answer, await onTarget())) {
      this.statistics.compared += 1;
      return;
    }
    // The rows may have been changed between the two reads, here or not yet there: that is no difference. It is one
    // if it stands with replay caught up and a source that stayed as it was.
    let confirmed = 0;
    for (let attempt = 0; attempt < ATTEMPTS && !this.#closed; attempt += 1) {
      const before = await onSource();
      if (!(await this.#caughtUp(await this.#source.head()))) break;
      const there = await onTarget();
      if (sameRows(sql, before, there)) {
        this.statistics.compared += 1;
        return;
      }
      if (sameRows(sql, before, await onSource())) confirmed += 1;
      if (confirmed < CONFIRMATIONS) continue;
      this.statistics.compared += 1;
      this.statistics.mismatches += 1;
      this.#alerts.raise(
        'shadow_mismatch',
        `source and target answer differently (${before.length} and ${there.length} rows): ${shortened(sql)}`,
      );
      return;
    }
    this.statistics.undecided += 1;
  }

  async #caughtUp(position: number): Promise<boolean> {
    const giveUpAt = performance.now() + CATCH_UP_MS;
    while (this.#target.position < position) {
      if (this.#closed || performance.now() > giveUpAt) return false;
      await this.#target.look();
      if (this.#target.position < position) await sleep(POLL_MS);
    }
    return true;
  }
}

/** Equal answers; without ORDER BY the order of rows means nothing. */
function sameRows(sql: Sql, a: unknown[], b: unknown[]): boolean {
  if (a.length !== b.length) return false;
  const [left, right] = [a.map(exactly), b.map(exactly)];
  if (!/\border\s+by\b/i.test(typeof sql === 'string' ? sql : sql.sqlite)) {
    left.sort();
    right.sort();
  }
  return left.every((row, i) => row === right[i]);
}

/** A row as text, the same only for rows that are deep-equal. */
function exactly(row: unknown): string {
  return JSON.stringify(row, (_, value: unknown) =>
    typeof value === 'bigint' || typeof value === 'number'
      ? `${typeof value} ${Object.is(value, -0) ? '-0' : value}`
      : typeof value === 'string'
        ? `string ${value}`
        : value,
  );
}
