/**
 * The file of a live mirror: the application's tables, indexes and views, our control tables, the origin's master table
 * as a table, and one row that says how far the mirror is. Every change of it is one transaction that checks in that row
 * that no other process has gone on meanwhile.
 */
import Database from 'better-sqlite3';
import { CrossfadeError, messageOf } from '../../errors.ts';
import { quoted } from '../identifiers.ts';
import { CONTROL_TABLE, LEASE_TABLE, LOG_TABLE, readControl } from '../sqlite/control.ts';
import { MASTER_TABLE } from '../sqlite/origin.ts';
import { isApplications } from '../sqlite/schema.ts';
import { isBusy } from '../sqlite/transaction.ts';
import { registered } from '../sqlite/wal-file.ts';
import { isCaptured } from './captured.ts';
import { CONTROL_COLUMNS, type OriginState } from './chain.ts';

/** How far the mirror's rows are those of the origin. */
export type Filled =
  /** Not at all. */
  | 0
  /** Read while nothing logged what changed meanwhile: good enough for a plan. */
  | 1
  /** Read while every change was logged, so that with the log they are exact. */
  | 2;

export interface MirrorState {
  /** The origin's schema by `SCHEMA_SQL`, '' before the first look. */
  schema: string;
  digest: string;
  tables: string;
  control: string | null;
  lease: string | null;
  batch: string | null;
  filled: Filled;
  /** Names the attempt that fills the mirror, so that a stale one is refused. */
  filler: string | null;
}

/** An object of the origin's schema. */
export interface MasterItem {
  type: 'table' | 'index' | 'view' | 'trigger';
  name: string;
  table: string;
  sql: string | null;
}

/** Raised inside a transaction that another process has overtaken; nothing is changed, and the caller begins again. */
export class Overtaken extends Error {}

const STATE_TABLE = '_crossfade_mirror';
const BUSY_TIMEOUT_MS = 5_000;

export class MirrorFile {
  readonly path: string;
  readonly db: Database.Database;

  constructor(path: string) {
    this.path = path;
    this.db = new Database(path, { timeout: BUSY_TIMEOUT_MS });
    this.db.pragma('journal_mode = WAL');
    // The file can be made again at any time, but a process that dies must leave whole transactions: NORMAL does.
    this.db.pragma('synchronous = NORMAL');
    this.db.pragma('foreign_keys = OFF');
    this.db.pragma('ignore_check_constraints = ON');
    this.db.exec(`
      BEGIN IMMEDIATE;
      CREATE TABLE IF NOT EXISTS ${STATE_TABLE} (id INTEGER PRIMARY KEY CHECK (id = 1), schema TEXT, digest TEXT,
        tables TEXT, control TEXT, lease TEXT, batch TEXT, filled INTEGER, filler TEXT);
      INSERT OR IGNORE INTO ${STATE_TABLE} VALUES (1, '', '', '[]', NULL, NULL, NULL, 0, NULL);
      CREATE TABLE IF NOT EXISTS ${MASTER_TABLE} (type TEXT, name TEXT, tbl_name TEXT, sql TEXT);
      COMMIT`);
    registered(this.db);
  }

  close(): void {
    this.db.close();
  }

  state(): MirrorState {
    return this.db.prepare(`SELECT * FROM ${STATE_TABLE}`).get() as MirrorState;
  }

  /** The greatest number of the log that has arrived. */
  position(): bigint {
    if (!this.has(LOG_TABLE)) return 0n;
    return this.db
      .prepare(`SELECT coalesce(max(seq), 0) FROM ${LOG_TABLE}`)
      .pluck()
      .safeIntegers()
      .get() as bigint;
  }

  /** The random token of the log's row at the position; null where there is none. */
  token(): string | null {
    if (!this.has(LOG_TABLE)) return null;
    const sql = `SELECT CAST(token AS TEXT) FROM ${LOG_TABLE} ORDER BY seq DESC LIMIT 1`;
    return (this.db.prepare(sql).pluck().get() as string | undefined) ?? null;
  }

  /** Begins anew: the origin's log does not go on from the mirror's. */
  forget(): void {
    if (this.has(LOG_TABLE)) this.db.exec(`DELETE FROM ${LOG_TABLE}`);
    this.set({ filled: 0, filler: null });
  }

  /** Does the origin log every change, or does nobody but us change it, as after the cutover? */
  isFollowable(): boolean {
    return isCaptured(this.items()) || this.isMoved();
  }

  isMoved(): boolean {
    return readControl(this.db)?.state === 'moved';
  }

  has(table: string): boolean {
    return this.db.prepare('SELECT 1 FROM sqlite_master WHERE name = ?').get(table) !== undefined;
  }

  /** Runs a synchronous change. @throws what `work` throws, undone; CrossfadeError SourceBusy */
  change<T>(work: () => T): T {
    try {
      return this.db.transaction(work).immediate();
    } catch (error) {
      if (!isBusy(error)) throw error;
      throw new CrossfadeError(
        'SourceBusy',
        `the mirror ${this.path} is locked by another process: end what reads or copies it`,
        error,
      );
    }
  }

  /** @throws Overtaken where the state is not the one that the caller began with. Runs in the caller's change */
  prove(before: Pick<MirrorState, 'schema' | 'filled' | 'filler'>, position: bigint): void {
    const now = this.state();
    const same =
      now.schema === before.schema &&
      now.filled === before.filled &&
      now.filler === before.filler &&
      this.position() === position;
    if (!same) throw new Overtaken('another process has changed the mirror meanwhile');
  }

  set(changes: Partial<MirrorState>): void {
    const names = Object.keys(changes);
    this.db
      .prepare(`UPDATE ${STATE_TABLE} SET ${names.map((name) => `${name} = ?`).join(', ')}`)
      .run(...Object.values(changes));
  }

  items(): MasterItem[] {
    return this.db
      .prepare(`SELECT type, name, tbl_name AS "table", sql FROM ${MASTER_TABLE} ORDER BY rowid`)
      .all() as MasterItem[];
  }

  /**
   * Makes the mirror's schema the origin's. Rows of tables that are new or changed are missing then.
   * @param source for messages
   * @throws CrossfadeError PlanRefused where SQLite here does not accept it
   */
  setSchema(schema: string, digest: string, tables: string, source: string): void {
    const items = (JSON.parse(schema) as [MasterItem['type'], string, string, string | null][]).map(
      ([type, name, table, sql]): MasterItem => ({ type, name, table, sql }),
    );
    const before = this.items();
    const gone = changedItems(before, items);
    const come = changedItems(items, before);
    const old = this.state();
    for (const { type, name } of gone.filter(isMade).reverse()) {
      if (this.made(type, name)) this.db.exec(`DROP ${type.toUpperCase()} ${quoted(name)}`);
    }
    // A dropped table has taken its indexes along.
    for (const item of items.filter(isMade)) if (!this.made(item.type, item.name)) this.make(item, source);
    this.db.exec(`DELETE FROM ${MASTER_TABLE}`);
    const insert = this.db.prepare(`INSERT INTO ${MASTER_TABLE} VALUES (?, ?, ?, ?)`);
    for (const { type, name, table, sql } of items) insert.run(type, name, table, sql);
    // Whoever watches the count of schema changes looks at triggers too, which the mirror does not have.
    this.db.exec('CREATE TABLE _crossfade_changed (v); DROP TABLE _crossfade_changed');
    const rows = [...gone, ...come].some(({ type, name }) => type === 'table' && isApplications(name));
    this.set({ schema, digest, tables, ...(rows ? { filled: 0, filler: null } : {}) });
    if (old.schema === '') this.set({ filled: 0 });
  }

  private made(type: string, name: string): boolean {
    return (
      this.db.prepare('SELECT 1 FROM sqlite_master WHERE type = ? AND name = ?').get(type, name) !== undefined
    );
  }

  private make({ type, name, sql }: MasterItem, source: string): void {
    try {
      this.db.exec(sql!);
    } catch (error) {
      const version = this.db.prepare('SELECT sqlite_version()').pluck().get() as string;
      throw new CrossfadeError(
        'PlanRefused',
        `source ${source}: SQLite ${version} here does not accept ${type} ${quoted(name)} (${messageOf(error)}): ` +
          'drop it, or make it anew in a form that both accept',
        error,
      );
    }
  }

  /** Makes the control tables say what the origin's say. */
  setControl({ control, lease, batch }: Pick<OriginState, 'control' | 'lease' | 'batch'>): void {
    this.replaceRows(CONTROL_TABLE, CONTROL_COLUMNS, control);
    this.replaceRows(LEASE_TABLE, ['role', 'epoch', 'ordinal', 'holder'], lease);
    this.set({ control, lease, batch });
  }

  /** @param rows JSON of arrays; null where the table is missing */
  replaceRows(table: string, columns: string[], rows: string | null): void {
    if (rows === null || !this.has(table)) return;
    const values = columns.map((_, i) => `value ->> ${i}`).join(', ');
    this.db.exec(`DELETE FROM ${table}`);
    this.db
      .prepare(`INSERT INTO ${table} (${columns.map(quoted).join(', ')}) SELECT ${values} FROM json_each(?)`)
      .run(rows);
  }
}

/** Notes, in a transaction of another connection to the mirror, that its rows have what this batch did. */
export function noteBatch(db: Database.Database, batch: string): void {
  db.prepare(`UPDATE ${STATE_TABLE} SET batch = ?`).run(batch);
}

/** What the mirror has as an object of its own. */
function isMade({ type, name, sql }: MasterItem): boolean {
  if (type === 'trigger' || sql === null) return false;
  return !/^(?:sqlite_|_cf_)/i.test(name);
}

function changedItems(items: MasterItem[], others: MasterItem[]): MasterItem[] {
  const key = (item: MasterItem): string =>
    JSON.stringify([item.type, item.name, item.type === 'trigger' ? '' : item.sql]);
  const known = new Set(others.map(key));
  return items.filter((item) => !known.has(key(item)));
}
