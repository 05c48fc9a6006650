/**
 * A local SQLite file with what a D1 database holds: the same schema, rows, row numbers and storage classes. The rows are
 * read page by page while the application writes, so they are those of several moments.
 */
import Database from 'better-sqlite3';
import { CrossfadeError, messageOf } from '../../errors.ts';
import { quoted } from '../identifiers.ts';
import type { KeyValue } from '../key.ts';
import { RowStatement } from '../sqlite/bind.ts';
import { isApplications, readSchema } from '../sqlite/schema.ts';
import type { D1Client } from './client.ts';
import { TableReader } from './table-reader.ts';

interface Item {
  type: 'table' | 'index' | 'view' | 'trigger';
  name: string;
  sql: string;
}

export interface MirrorProgress {
  rows: number;
  requests: number;
}

/**
 * Makes the file.
 * @param path of a file that does not exist yet
 * @throws CrossfadeError SourceMissing, SourceDenied, SourceBusy, PlanRefused where SQLite here does not accept the schema
 */
export async function makeMirror(
  client: D1Client,
  path: string,
  onProgress: (progress: MirrorProgress) => void = () => undefined,
): Promise<void> {
  const db = new Database(path);
  try {
    // The file can be made again at any time.
    db.pragma('synchronous = OFF');
    db.pragma('journal_mode = WAL');
    db.pragma('foreign_keys = OFF');
    db.pragma('ignore_check_constraints = ON');
    const items = await readItems(client);
    const create = (type: Item['type']): void => {
      for (const item of items) if (item.type === type) createItem(db, client.name, item);
    };
    create('table');
    let rows = 0;
    for (const table of readSchema(db).tables) {
      const reader = new TableReader(client, table);
      const insert = new RowStatement(db, insertSql(table.name, reader.columns));
      for (let page = await reader.next(); page !== null; page = await reader.next()) {
        insertRows(db, insert, page.rows);
        rows += page.rows.length;
        onProgress({ rows, requests: client.counts.requests });
      }
    }
    await copySequences(db, client);
    create('index');
    create('view');
    // Last, so that they do not fire.
    create('trigger');
  } finally {
    db.close();
  }
}

/** The application's objects that CREATE statements make, virtual tables before what they are made of. */
async function readItems(client: D1Client): Promise<Item[]> {
  const [answer] = await client.read([
    `SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid`,
  ]);
  return answer!.rows
    .map(([type, name, sql]) => ({ type, name, sql }) as Item)
    .filter(({ name }) => isApplications(name));
}

function createItem(db: Database.Database, source: string, { type, name, sql }: Item): void {
  // A virtual table has made its shadow tables itself.
  if (db.prepare('SELECT 1 FROM sqlite_master WHERE type = ? AND name = ?').get(type, name) !== undefined)
    return;
  try {
    db.exec(sql);
  } catch (error) {
    throw new CrossfadeError(
      'PlanRefused',
      `source ${source}: SQLite ${sqliteVersion(db)} here does not accept ${type} ${quoted(name)} (${messageOf(error)}): ` +
        'drop it, or make it anew in a form that both accept',
      error,
    );
  }
}

function sqliteVersion(db: Database.Database): string {
  return db.prepare<[], string>('SELECT sqlite_version()').pluck().get()!;
}

/** A row that moved to another key between two pages is met twice, with the same unique values: the later one stays. */
function insertSql(table: string, columns: string[]): (marks: string[]) => string {
  const names = columns.map(quoted).join(', ');
  return (marks) => `INSERT OR REPLACE INTO ${quoted(table)} (${names}) VALUES (${marks.join(', ')})`;
}

function insertRows(db: Database.Database, insert: RowStatement, rows: KeyValue[][]): void {
  db.transaction(() => {
    for (const row of rows) insert.run(row);
  })();
}

/** What AUTOINCREMENT has given out. */
async function copySequences(db: Database.Database, client: D1Client): Promise<void> {
  const named = db.prepare(`SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'`);
  if (named.get() === undefined) return;
  const [answer] = await client.read([`SELECT name, CAST(seq AS TEXT) AS seq FROM sqlite_sequence`]);
  const write = db.transaction(() => {
    db.exec('DELETE FROM sqlite_sequence');
    const insert = db.prepare('INSERT INTO sqlite_sequence (name, seq) VALUES (?, CAST(? AS INTEGER))');
    for (const row of answer!.rows) insert.run(...row);
  });
  write();
}
