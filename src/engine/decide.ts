/** Decides suspicions: looks at the keys again until replay has passed the moment of the read, and has them healed where asked. */
import type pg from 'pg';
import type { TablePlan } from '../contract.ts';
import { keyText, type KeyValue } from '../databases/key.ts';
import { quarantinedAmong } from '../databases/postgres/apply.ts';
import { readableKey } from './compare.ts';
import { pause } from './endpoints.ts';
import { Found, type FoundDifference } from './found.ts';
import { keysOf, type Moment, type Pair, type PairedRead } from './paired-read.ts';

/** Keys that are looked at in one pair of snapshots. */
const STEP_KEYS = 500;
/** A key that is touched each time that replay has passed it was written whole each time: it is as replay makes it. */
const LOOKS = 3;
const POLL_MS = 10;
const ALIVE_EVERY_MS = 1_000;

/** Looks at keys on paired snapshots. */
export type Look = (keys: KeyValue[][]) => Promise<PairedRead<FoundDifference>>;

/** Has the primary's rows of these keys written again on the secondary. @returns when that is done */
export type Heal = (table: TablePlan, keys: KeyValue[][]) => Promise<Moment>;

export class Decider {
  readonly found = new Found();
  /** What differed, and agrees now. */
  readonly healed = new Found();
  /** Keys that differ and that replay has not reached, because none runs. */
  readonly undecided = new Found();

  private readonly pair: Pair;
  private readonly graceMs: number;
  private readonly heal: Heal | undefined;

  /** @param graceMs for so long replay may be gone, as while another worker takes it over */
  constructor(pair: Pair, graceMs: number, heal?: Heal) {
    this.pair = pair;
    this.graceMs = graceMs;
    this.heal = heal;
  }

  /** Ends early where the signal aborts. */
  async decide(table: TablePlan, keys: KeyValue[][], look: Look, signal?: AbortSignal): Promise<void> {
    for (let i = 0; i < keys.length && signal?.aborted !== true; i += STEP_KEYS) {
      const different = await this.different(table, keys.slice(i, i + STEP_KEYS), look, signal);
      await this.report(table, different, look, signal);
    }
  }

  /** Has rows written that are in quarantine, which is told by itself as long as they are there. */
  async retry(table: TablePlan, keys: KeyValue[][], look: Look, signal?: AbortSignal): Promise<void> {
    const { left, quarantined } = await this.healedKeys(table, keys, look, signal);
    for (const key of keys.map(keyText)) {
      if (left.has(key) || quarantined.has(key)) continue;
      const mismatch = {
        table: table.name,
        key: readableKey(key, table),
        kind: 'missing-on-secondary',
      } as const;
      this.healed.add(table, { key, mismatch });
    }
  }

  /** Heals, and looks again. @returns the keys that still differ, and those that the secondary refuses */
  private async healedKeys(
    table: TablePlan,
    keys: KeyValue[][],
    look: Look,
    signal: AbortSignal | undefined,
  ): Promise<{ left: Set<string>; quarantined: Set<string> }> {
    const names = keys.map(keyText);
    const moment = await this.heal!(table, keys);
    const done = await this.passed(moment, signal);
    const left = done ? (await this.different(table, keys, look, signal)).map(({ key }) => key) : names;
    return { left: new Set(left), quarantined: await quarantinedAmong(this.pair.client, table, names) };
  }

  private async different(
    table: TablePlan,
    keys: KeyValue[][],
    look: Look,
    signal: AbortSignal | undefined,
  ): Promise<FoundDifference[]> {
    const all: FoundDifference[] = [];
    let suspects = keys;
    for (let looks = 1; ; looks++) {
      const { different, undecided, moment } = await look(suspects);
      all.push(...different);
      if (undecided.length === 0 || looks === LOOKS) return all;
      if (!(await this.passed(moment, signal))) {
        if (signal?.aborted !== true) for (const one of undecided) this.undecided.add(table, one);
        return all;
      }
      suspects = keysOf(undecided);
    }
  }

  private async report(
    table: TablePlan,
    different: FoundDifference[],
    look: Look,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    if (this.heal === undefined || different.length === 0) {
      for (const one of different) this.found.add(table, one);
      return;
    }
    const { left, quarantined } = await this.healedKeys(table, keysOf(different), look, signal);
    for (const one of different) {
      if (left.has(one.key)) this.found.add(table, one);
      else if (!quarantined.has(one.key)) this.healed.add(table, one);
    }
  }

  /** Waits until replay has passed the moment. @returns false where none runs, or the signal aborts */
  private async passed(moment: Moment, signal: AbortSignal | undefined): Promise<boolean> {
    const { client } = this.pair;
    let [aliveAt, askedAt] = [performance.now(), performance.now()];
    while (signal?.aborted !== true) {
      if (await hasPassed(client, moment)) return true;
      const now = performance.now();
      if (now - askedAt > Math.min(ALIVE_EVERY_MS, this.graceMs)) {
        askedAt = now;
        if (await isReplaying(client)) aliveAt = now;
      } else if (now - aliveAt > this.graceMs) return false;
      await pause(POLL_MS, signal ?? new AbortController().signal);
    }
    return false;
  }
}

/** A cutover, or the way back, has drained the log of the database that was primary before it. */
async function hasPassed(client: pg.Client, moment: Moment): Promise<boolean> {
  const passed =
    'position' in moment
      ? `k.position >= ${moment.position} OR c.state IN ('open', 'fencing')`
      : `c.state NOT IN ('open', 'fencing') OR NOT EXISTS (SELECT 1 FROM crossfade.log WHERE seq <= ${moment.sequence})`;
  const { rows } = await client.query<{ passed: boolean }>(
    `SELECT ${passed} AS passed FROM crossfade.checkpoint k, crossfade.control c WHERE k.id = 1 AND c.id = 1`,
  );
  return rows[0]?.passed === true;
}

/** Is the holder of the lease connected? */
export async function isReplaying(client: pg.Client): Promise<boolean> {
  const { rowCount } = await client.query(
    `SELECT 1 FROM crossfade.lease l JOIN pg_catalog.pg_stat_activity a
         ON a.application_name = left('crossfade replay ' || l.holder, 63) AND a.datname = current_database()
      WHERE l.role = 'replay' AND l.holder <> ''`,
  );
  return rowCount !== 0;
}
