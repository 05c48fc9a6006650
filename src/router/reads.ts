/** Where a read goes: the primary, or by percentage the target, and what happens when that fails. */
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { Sql, Value } from '../databases/adapter.ts';
import { CrossfadeError } from '../errors.ts';
import { reasonOf, shortened, type Alerts } from './alerts.ts';
import { targetUnknown } from './not-primary.ts';
import type { NeededPosition } from './own-writes.ts';
import { hasOpened, type Route } from './route.ts';
import type { ShadowReads } from './shadow.ts';
import type { Statistics } from './statistics.ts';
import type { Switchboard } from './switchboard.ts';
import type { Target } from './target.ts';

/** Whose reads and writes these are, e.g. a user's id; 7 and '7' are the same. */
export type ReaderKey = string | number | bigint;

export function keyName(key: ReaderKey | undefined): string | undefined {
  return key === undefined ? undefined : String(key);
}

export interface ReadOptions {
  /** Whose read this is: the same side answers it at the same percentage, with that key's own writes. */
  key?: ReaderKey;
  /** Stay on the primary. */
  primary?: boolean;
}

/** The source as reads need it. */
export interface ReadableSource {
  /** Share of reads that go to the target, 0 to 100; null where the source is known to have stopped being what the route says. */
  readPercent(route: Route): number | null;
  /** @returns the rows, and whether the source was still what the route says when they had been read */
  read<T>(sql: Sql, params: readonly Value[], route: Route): Promise<{ rows: T[]; inRole: boolean }>;
}

interface ReadParts {
  source: ReadableSource;
  target: Target | undefined;
  switchboard: Switchboard;
  statistics: Statistics;
  ownWrites: NeededPosition;
  shadow: ShadowReads | undefined;
  alerts: Alerts;
  shadowReads: number;
  readTimeoutMs: number;
  fenceTimeoutMs: number;
  /** Pause before a read is tried again while neither database is found to be the primary. */
  retryMs: number;
  /**
   * Whether others may have given the route, so that the user's last write may have been on another primary since: the
   * first read of a target that can hand its role back then asks whether it still has it.
   */
  sharedRoute: boolean;
  /** The route of the first attempt. */
  route: () => Promise<Route> | Route;
}

/** The position that a decision rests on is not older than this. */
const POSITION_AGE_MS = 5;

export class Reads {
  /** Reads kept on the source because the target did not have their key's writes yet. */
  heldBack = 0;
  /** The target has been found to be the primary since these reads began. */
  #confirmed = false;
  readonly #parts: ReadParts;

  constructor(parts: ReadParts) {
    this.#parts = parts;
  }

  async query<T>(sql: Sql, params: readonly Value[], options: ReadOptions): Promise<T[]> {
    const { switchboard, source } = this.#parts;
    const key = keyName(options.key);
    const giveUpAt = performance.now() + this.#parts.fenceTimeoutMs;
    for (let attempt = 0; ; attempt += 1) {
      if (attempt > 0) {
        if (performance.now() > giveUpAt) throw this.#noPrimary();
        if (attempt > 1) await sleep(this.#parts.retryMs);
        await switchboard.refresh();
      }
      const known = this.#parts.route();
      const route = known instanceof Promise ? await known : known;
      if (route.primary === 'target') {
        const rows = await this.#onPrimaryTarget<T>(sql, params, route, options.primary === true);
        if (rows !== undefined) return rows;
        continue;
      }
      let shadowed = false;
      if (route.following && options.primary !== true) {
        const percent = source.readPercent(route);
        if (percent === null) continue;
        shadowed = this.#parts.shadowReads > 0 && (await this.#isShadowed(key));
        if (!shadowed) {
          const rows = await this.#byPercentage<T>(sql, params, key, percent);
          if (rows !== undefined) return rows;
        }
      }
      const { rows, inRole } = await this.#onSource<T>(sql, params, route);
      // What was read before a look that still finds the source in its role was read on the primary. A switch back
      // that nobody could finish yet has left the source with everything, too.
      if (inRole || route.rollForward?.open === 'source') {
        if (shadowed) this.#parts.shadow?.start(sql, params, rows);
        return rows;
      }
    }
  }

  async #onSource<T>(
    sql: Sql,
    params: readonly Value[],
    route: Route,
  ): Promise<{ rows: T[]; inRole: boolean }> {
    const { source, statistics } = this.#parts;
    const started = performance.now();
    try {
      const read = await source.read<T>(sql, params, route);
      statistics.done('source', 'read', performance.now() - started);
      return read;
    } catch (error) {
      statistics.failed('source', 'read');
      throw error;
    }
  }

  /** @param strict whether the rows are to be those of the primary, whatever the route rests on; undefined where the target is it no longer */
  async #onPrimaryTarget<T>(
    sql: Sql,
    params: readonly Value[],
    { mayMoveBack }: Route,
    strict: boolean,
  ): Promise<T[] | undefined> {
    const { target, statistics, sharedRoute } = this.#parts;
    if (target === undefined) throw this.#noPrimary();
    const started = performance.now();
    let rows: T[];
    try {
      rows = await target.adapter.query<T>(sql, params);
    } catch (error) {
      // After the way back its tables may be gone.
      if (mayMoveBack && error instanceof pg.DatabaseError && !(await this.#stillPrimary(target)))
        return undefined;
      statistics.failed('target', 'read');
      throw error;
    }
    statistics.done('target', 'read', performance.now() - started);
    const check = mayMoveBack && (strict || (sharedRoute && !this.#confirmed));
    return !check || (await this.#stillPrimary(target)) ? rows : undefined;
  }

  /** Asked after this call. A target that does not answer was the last that was known to be primary. */
  async #stillPrimary(target: Target): Promise<boolean> {
    const view = await target.lookAnew();
    if (view.control === 'unreachable') return true;
    this.#confirmed = view.control === 'present' && hasOpened(view.row);
    return this.#confirmed;
  }

  /** A read while the source is primary; undefined where the source is to answer it. */
  async #byPercentage<T>(
    sql: Sql,
    params: readonly Value[],
    key: string | undefined,
    percent: number,
  ): Promise<T[] | undefined> {
    const { target, statistics, alerts, readTimeoutMs } = this.#parts;
    if (target === undefined) return undefined;
    if (share(key) >= percent) return undefined;
    if (!target.reachable) {
      statistics.fellBack();
      return undefined;
    }
    if (!(await this.#hasOwnWrites(target, key))) {
      this.heldBack += 1;
      return undefined;
    }
    const started = performance.now();
    try {
      const rows = await target.adapter.query<T>(sql, params, readTimeoutMs);
      statistics.done('target', 'read', performance.now() - started);
      return rows;
    } catch (error) {
      statistics.fellBack();
      alerts.log.warn(
        { sql: shortened(sql), reason: reasonOf(error) },
        'a read of the target falls back to the source',
      );
      // Unreachable? Then the next reads need not find out by waiting.
      if (!(error instanceof pg.DatabaseError)) void target.look();
      return undefined;
    }
  }

  /** A share of the reads is answered by the source and compared; not where the target cannot have the answer yet. */
  async #isShadowed(key: string | undefined): Promise<boolean> {
    const { target, shadowReads } = this.#parts;
    if (target === undefined || Math.random() >= shadowReads) return false;
    return target.reachable && this.#hasOwnWrites(target, key);
  }

  async #hasOwnWrites(target: Target, key: string | undefined): Promise<boolean> {
    const needed = this.#parts.ownWrites.needed(key);
    if (needed <= target.position) return true;
    if (performance.now() - target.seenAt > POSITION_AGE_MS) await target.look();
    return needed <= target.position;
  }

  #noPrimary(): CrossfadeError {
    const { target, switchboard } = this.#parts;
    if (target === undefined) return targetUnknown();
    return new CrossfadeError(
      'Fenced',
      `neither database is the primary. ${switchboard.route?.situation ?? ''}`,
    );
  }
}

/** A number from 0 up to 100, the same for the same key in every process. */
function share(key: string | undefined): number {
  if (key === undefined) return Math.random() * 100;
  // FNV-1a, and MurmurHash3's finalizer, because keys that differ in their last letters only must scatter.
  let hash = 0x811c9dc5;
  for (let i = 0; i < key.length; i += 1) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32) * 100;
}
