/** The source as the router uses it: nothing is read from or written to it unless its control row allows it at that moment. */
import { existsSync } from 'node:fs';
import type Database from 'better-sqlite3';
import { CONTROL_TABLE, hasControl, openAgainDurably, readControl } from '../databases/sqlite/control.ts';
import type { Value, Sql } from '../databases/adapter.ts';
import { SqliteAdapter, type SqliteAdapterOptions, type WriteHooks } from './adapters/sqlite.ts';
import { NotPrimary } from './not-primary.ts';
import type { ReadableSource } from './reads.ts';
import type { Route, SourceView } from './route.ts';
import { SourceControl, type Look } from './source-control.ts';
import type { SwitchableSource } from './switchboard.ts';
import type { Written } from './writes.ts';

/** Schema version of a file that does not exist. */
const NO_FILE = -1;

/** Admits one write: checks the control row after its BEGIN IMMEDIATE and notes its log position before its COMMIT. */
export class Admission implements WriteHooks, Written {
  position = 0;
  dualWrites = false;
  dualWriteTimeoutMs = 0;
  #head = 0;
  readonly #control: () => SourceControl;
  readonly #expectedVersion: number | null;

  constructor(control: () => SourceControl, expectedVersion: number | null) {
    this.#control = control;
    this.#expectedVersion = expectedVersion;
  }

  begun(): void {
    const look = this.#control().look();
    if (!isAsExpected(look, this.#expectedVersion)) throw new NotPrimary('source');
    if (!look.present) return;
    if (look.refuses) throw new NotPrimary('source');
    this.#head = look.head;
    this.dualWrites = look.dualWrites;
    this.dualWriteTimeoutMs = look.dualWriteTimeoutMs;
  }

  ending(): void {
    const head = this.#control().head();
    if (head > this.#head) this.position = head;
  }
}

/**
 * A control table that came or went since the route was decided, or any change of the schema while there is none: a
 * whole migration may have passed since this process looked last.
 */
function isAsExpected(look: Look, expectedVersion: number | null): boolean {
  return look.present ? expectedVersion === null : look.version === expectedVersion;
}

export class Source implements SwitchableSource, ReadableSource {
  readonly adapter: SqliteAdapter;
  #writerControl: SourceControl | undefined;
  #readerControl: SourceControl | undefined;

  constructor(path: string, options: SqliteAdapterOptions) {
    this.adapter = new SqliteAdapter(path, options);
  }

  /** The control row and what is around it. Synchronous, tens of microseconds; never creates the file. */
  view(): SourceView {
    if (this.#readerControl === undefined && !existsSync(this.adapter.path)) {
      return { control: 'absent', version: NO_FILE };
    }
    const { reader } = this.adapter;
    // One snapshot: the token belongs to the row.
    return reader.transaction(() => this.#viewOf(reader)).deferred();
  }

  #viewOf(reader: Database.Database): SourceView {
    if (!hasControl(reader)) {
      return { control: 'absent', version: reader.pragma('schema_version', { simple: true }) as number };
    }
    const row = readControl(reader);
    if (row === null) return { control: 'broken' };
    const token = reader.prepare(`SELECT open_token FROM ${CONTROL_TABLE} WHERE id = 1`).pluck().get();
    return { control: 'present', row, openToken: typeof token === 'string' ? token : null };
  }

  /** For one write, by a route whose source has `expectedVersion`. */
  admission(expectedVersion: number | null): Admission {
    return new Admission(
      () => (this.#writerControl ??= new SourceControl(this.adapter.writer)),
      expectedVersion,
    );
  }

  readPercent(route: Route): number | null {
    const look = this.#recheck(route.sourceVersion);
    if (look === null) return null;
    return look.present ? look.readPercent : 0;
  }

  async read<T>(sql: Sql, params: readonly Value[], route: Route): Promise<{ rows: T[]; inRole: boolean }> {
    const rows = await this.adapter.query<T>(sql, params);
    return { rows, inRole: this.#recheck(route.sourceVersion) !== null };
  }

  query(sql: Sql, params: readonly Value[]): Promise<unknown[]> {
    return this.adapter.query(sql, params);
  }

  /** What the control row says now, or null where the source has stopped being what the route said: it may have moved before. */
  #recheck(expectedVersion: number | null): Look | null {
    const look = this.#look();
    return isAsExpected(look, expectedVersion) && !(look.present && look.moved) ? look : null;
  }

  /** Highest position of the change log. */
  head(): number {
    const look = this.#look();
    return look.present ? look.head : 0;
  }

  dualWrites(): boolean {
    const look = this.#look();
    return look.present && look.dualWrites;
  }

  #look(): Look {
    return (this.#readerControl ??= new SourceControl(this.adapter.reader)).look();
  }

  openAgain(migration: string, epoch: number): Promise<boolean> {
    return this.adapter.exclusive((db) => openAgainDurably(db, migration, epoch));
  }
}
