/** A live D1 database and its mirror: the origin of the mirror's file for all that reads and changes a source. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type Database from 'better-sqlite3';
import type { Finding, TablePlan } from '../../contract.ts';
import { CrossfadeError, messageOf } from '../../errors.ts';
import { BATCH_TABLE, LOG_TABLE } from '../sqlite/control.ts';
import type { AuditDifference, Origin, StagedTable } from '../sqlite/origin.ts';
import { retryBusy } from '../sqlite/transaction.ts';
import { auditMirror } from './audit.ts';
import {
  batchText,
  chainSql,
  conditions,
  isConflict,
  isTooLate,
  linkOf,
  staysMs,
  type OriginState,
} from './chain.ts';
import { BULK_REQUESTS_PER_WINDOW, REQUESTS_PER_WINDOW, WINDOW_MS } from './budget.ts';
import { D1Error, UnknownOutcome, type D1Client, type Statement } from './client.ts';
import { Feed } from './feed.ts';
import { fillMirror, type FillProgress } from './fill.ts';
import { noteBatch, Overtaken, type MirrorFile } from './mirror-file.ts';
import { addForOrigin, makeRecordable, recorded, unrecorded, type Recording } from './recording.ts';
import { returningSql } from './reverse-batch.ts';

/** How often the origin is asked for news: at least so long after changes, at most after quiet. */
const SHORTEST_MS = 1_000;
const LONGEST_MS = 5_000;
/** How long to look for what became of a batch. */
const SETTLE_MS = 60_000;
/** A step whose conditions fail again and again has somebody else's changes against it. */
const CONFLICTS = 20;

/** Ends a trial run of a change on the mirror. */
class Undo extends Error {}

export class LiveD1 implements Origin {
  private readonly client: D1Client;
  private readonly mirror: MirrorFile;
  private readonly feed: Feed;
  /** One at a time: what is read from D1 is put into the mirror in that order. */
  private last: Promise<unknown> = Promise.resolve();
  private waiting: Promise<void> | null = null;
  private filling: Promise<void> | null = null;

  constructor(client: D1Client, mirror: MirrorFile) {
    this.client = client;
    this.mirror = mirror;
    this.feed = new Feed(client, mirror);
  }

  attach(db: Database.Database): void {
    makeRecordable(db);
  }

  putRows(db: Database.Database, staged: StagedTable[], put: () => Map<TablePlan, Set<bigint>>): void {
    const statements = unrecorded(db, () => returningSql(db, staged, put));
    addForOrigin(db, statements);
  }

  audit(tables: string[], signal?: AbortSignal): Promise<AuditDifference[]> {
    return auditMirror(this.client, this.mirror, { tables, refresh: () => this.refresh(), signal });
  }

  async backUp(): Promise<string> {
    const bookmark = await this.client.bookmark();
    return `Time Travel bookmark ${bookmark}: npx wrangler d1 time-travel restore ${this.client.id} --bookmark=${bookmark}`;
  }

  notices(): Finding[] {
    const { requests, repeated } = this.client.counts;
    const windows = Math.floor(requests / BULK_REQUESTS_PER_WINDOW);
    const wait =
      windows === 0
        ? 'within one window'
        : `for which it waits at least ${(windows * WINDOW_MS) / 60_000} minutes`;
    return [
      {
        code: 'd1-requests',
        message:
          `reading every row once took ${requests} requests to Cloudflare${repeated === 0 ? '' : ` (${repeated} of them sent again after an error)`}, and the copy reads them once more; crossfade sends at most ` +
          `${REQUESTS_PER_WINDOW} in ${WINDOW_MS / 60_000} minutes, ${BULK_REQUESTS_PER_WINDOW} of them for this, ${wait}`,
      },
    ];
  }

  refresh(): Promise<void> {
    // Whoever comes while one is about to begin shares it.
    this.waiting ??= this.exclusive(async () => {
      this.waiting = null;
      await this.feed.sync();
    });
    return this.waiting;
  }

  /** Brings the mirror up to date, and reads every row first where it has not or not exactly. @throws as `fillMirror` */
  async ready(onProgress?: (progress: FillProgress) => void): Promise<void> {
    for (let filled = false; ; filled = true) {
      await this.refresh();
      if (!this.isStale() && (filled || !this.isUnfollowed())) return;
      await this.fill(onProgress);
    }
  }

  /** Reads every row, or waits for whoever does so; where another process has overtaken that, the next look tells. */
  private async fill(onProgress?: (progress: FillProgress) => void): Promise<void> {
    this.filling ??= fillMirror(this.client, this.mirror, onProgress).finally(() => {
      this.filling = null;
    });
    try {
      await this.filling;
    } catch (error) {
      if (!(error instanceof Overtaken)) throw error;
      await sleep(100);
    }
  }

  /** Without a log nothing tells what has changed since the rows were read. */
  private isUnfollowed(): boolean {
    return !this.mirror.has(LOG_TABLE) && !this.mirror.isMoved();
  }

  private isStale(): boolean {
    const { filled } = this.mirror.state();
    return filled === 0 || (filled === 1 && this.mirror.isFollowable());
  }

  async change<T>(db: Database.Database, work: () => T, rows: boolean): Promise<T> {
    return this.exclusive(async () => {
      for (let attempt = 1; ; attempt++) {
        let state = await this.feed.sync();
        // What becomes of rows is decided by those that are there.
        while (rows && this.isStale()) {
          await this.fill();
          state = await this.feed.sync();
        }
        const { result, recording } = await trial(db, work);
        if (recording.statements.length === 0) return result;
        const name = randomUUID();
        if (await this.send(state, recording, name, rows)) {
          if (rows) await this.repeat(db, work, state, name);
          await this.feed.sync();
          return result;
        }
        if (attempt === CONFLICTS) {
          throw new CrossfadeError(
            'SourceBusy',
            `source ${this.client.name}: its control rows or its schema change faster than a batch reaches it`,
          );
        }
      }
    });
  }

  follow(onError: (error: unknown) => void): { stop(): Promise<void> } {
    const ended = new AbortController();
    const loop = async (): Promise<void> => {
      let wait = SHORTEST_MS;
      while (!ended.signal.aborted) {
        const before = this.mirror.position();
        try {
          await this.refresh();
        } catch (error) {
          onError(error);
        }
        wait = this.mirror.position() > before ? SHORTEST_MS : Math.min(LONGEST_MS, wait * 1.5);
        await sleep(wait, undefined, { signal: ended.signal }).catch(() => undefined);
      }
    };
    const running = loop();
    return {
      stop: async () => {
        ended.abort();
        await running;
      },
    };
  }

  /**
   * Sends a batch. @returns whether it was done; if not, it never will be
   * @throws CrossfadeError; D1Error where a statement fails whatever the state is
   */
  private async send(
    state: OriginState,
    { statements, read }: Recording,
    name: string,
    rows: boolean,
  ): Promise<boolean> {
    const last = statements.some(({ sql }) => sql.includes(`DROP TABLE IF EXISTS ${BATCH_TABLE}`));
    if (last) await sleep(staysMs(state));
    const batch: Statement[] = [
      ...conditions(state, this.mirror.state().schema, read, last),
      ...statements,
      ...(last ? [] : chainSql(state, name, rows)),
    ];
    try {
      await this.client.change(batch);
      return true;
    } catch (error) {
      if (error instanceof UnknownOutcome) return this.settle(state, name, error);
      if (error instanceof D1Error && isConflict(error)) return false;
      throw error;
    }
  }

  /**
   * Finds out whether a batch was done whose reply was lost. Where it was not, another link is put into the chain in its
   * place, after which it can never be done.
   */
  private async settle(before: OriginState, name: string, cause: UnknownOutcome): Promise<boolean> {
    const giveUpAt = performance.now() + SETTLE_MS;
    const instead = randomUUID();
    for (let wait = 50; performance.now() < giveUpAt; wait = Math.min(5_000, 2 * wait)) {
      try {
        const now = await this.feed.sync(name);
        if (now.batch !== before.batch || now.control !== before.control)
          return linkOf(now.batch)?.name === name || isGone(now, before);
        if (isTooLate(before, now)) return false;
        await this.client.change([
          ...conditions(before, '', { schema: false, head: false }),
          ...chainSql(before, instead, false),
        ]);
        return false;
      } catch (error) {
        if (!(error instanceof UnknownOutcome) && !(error instanceof D1Error && isConflict(error))) {
          if (!(error instanceof CrossfadeError && error.retryable)) throw error;
        }
      }
      await sleep(wait);
    }
    throw new CrossfadeError(
      'SourceBusy',
      `source ${this.client.name}: a batch was sent and not answered (${messageOf(cause.cause)}), and what became of it could not be ` +
        'asked: it is found out before anything else is done',
      cause,
    );
  }

  /** Does to the mirror's rows what was done to the origin's. */
  private async repeat<T>(
    db: Database.Database,
    work: () => T,
    state: OriginState,
    name: string,
  ): Promise<void> {
    // Rows are changed by the way back alone, for which the chain is there.
    const { rows, since } = linkOf(state.batch)!;
    await retryBusy(db, () =>
      db
        .transaction(() => {
          // Another process may have seen the new batch already, and wait for the rows to be read again.
          if (this.mirror.state().batch !== state.batch) return;
          work();
          noteBatch(db, batchText({ name, rows: rows + 1, since }));
        })
        .immediate(),
    );
  }

  private exclusive<T>(work: () => Promise<T>): Promise<T> {
    const next = this.last.then(work, work);
    this.last = next.catch(() => undefined);
    return next;
  }
}

/** What `work` would do to the mirror, which is left as it was. */
async function trial<T>(db: Database.Database, work: () => T): Promise<{ result: T; recording: Recording }> {
  let done: { result: T; recording: Recording } | undefined;
  await retryBusy(db, () => {
    try {
      db.transaction(() => {
        done = recorded(db, work);
        throw new Undo();
      }).immediate();
    } catch (error) {
      if (!(error instanceof Undo)) throw error;
    }
  });
  return done!;
}

/** The last batch takes the chain away with everything else. */
function isGone(now: OriginState, before: OriginState): boolean {
  return now.batch === null && before.batch !== null;
}
