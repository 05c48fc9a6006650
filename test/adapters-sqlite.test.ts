import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { SqliteAdapter } from '../src/router/adapters/sqlite.ts';

let directory: string;
let path: string;
const open: { close(): unknown }[] = [];

const adapter = (options: ConstructorParameters<typeof SqliteAdapter>[1] = {}): SqliteAdapter => {
  const db = new SqliteAdapter(path, options);
  open.push(db);
  return db;
};

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'crossfade-sqlite-'));
  path = join(directory, 'app.db');
});

afterEach(async () => {
  for (const db of open.splice(0)) await db.close();
  rmSync(directory, { recursive: true });
});

describe('SqliteAdapter', () => {
  it('waits for another writer without stopping the process, and then goes on', async () => {
    const db = adapter();
    await db.write('CREATE TABLE t (a)');
    const other = new Database(path);
    open.push(other);
    other.exec('BEGIN IMMEDIATE');
    let turns = 0;
    const ticking = setInterval(() => (turns += 1), 1);
    const write = db.write('INSERT INTO t VALUES (1)');
    const reads = await db.query('SELECT * FROM t');
    while (turns < 20) await new Promise((resolve) => setImmediate(resolve));
    other.exec('COMMIT');
    await write;
    clearInterval(ticking);
    expect(reads).toEqual([]);
    expect(await db.query('SELECT a FROM t')).toEqual([{ a: 1 }]);
  });

  it('gives up on another writer after its time', async () => {
    const db = adapter({ busyTimeoutMs: 30 });
    await db.write('CREATE TABLE t (a)');
    const other = new Database(path);
    open.push(other);
    other.exec('BEGIN IMMEDIATE');
    await expect(db.write('INSERT INTO t VALUES (1)')).rejects.toMatchObject({ code: 'SourceBusy' });
    other.exec('COMMIT');
    await db.write('INSERT INTO t VALUES (2)');
    expect(await db.query('SELECT a FROM t')).toEqual([{ a: 2 }]);
  });

  it('tells a callback that waits for its own connection', async () => {
    const db = adapter({ busyTimeoutMs: 30 });
    await db.write('CREATE TABLE t (a)');
    await expect(db.transaction(() => db.write('INSERT INTO t VALUES (1)'))).rejects.toThrow(
      /inside its callback/,
    );
    await db.write('INSERT INTO t VALUES (2)');
    expect(await db.query('SELECT a FROM t')).toEqual([{ a: 2 }]);
  });

  it('opens in WAL mode, with commits as durable as asked', async () => {
    const full = adapter();
    await full.write('CREATE TABLE t (a)');
    expect(full.writer.pragma('journal_mode', { simple: true })).toBe('wal');
    expect(full.writer.pragma('synchronous', { simple: true })).toBe(2);
    const normal = adapter({ synchronous: 'normal' });
    expect(normal.writer.pragma('synchronous', { simple: true })).toBe(1);
  });

  it('creates the file with the first statement and leaves no log behind', async () => {
    const db = adapter();
    expect(existsSync(path)).toBe(false);
    await db.write('CREATE TABLE t (a)');
    await db.close();
    expect(existsSync(path)).toBe(true);
    expect(existsSync(`${path}-wal`)).toBe(false);
    await expect(db.query('SELECT 1')).rejects.toMatchObject({ code: 'BadConnection' });
  });

  it('waits at its close for the transaction that runs', async () => {
    const db = adapter();
    await db.write('CREATE TABLE t (a)');
    let proceed = (): void => undefined;
    const running = db.transaction(async (tx) => {
      await new Promise<void>((resolve) => (proceed = resolve));
      return tx.write('INSERT INTO t VALUES (1)');
    });
    const closed = db.close();
    proceed();
    expect(await running).toMatchObject({ changes: 1 });
    await closed;
  });

  it('keeps query() for what only reads', async () => {
    const db = adapter();
    await db.write('CREATE TABLE t (a)');
    for (const sql of ['INSERT INTO t VALUES (1) RETURNING a', 'DELETE FROM t', 'PRAGMA user_version = 3']) {
      await expect(db.query(sql)).rejects.toMatchObject({ code: 'InvalidInput' });
    }
  });

  it('sees columns that were added after a statement was prepared', async () => {
    const db = adapter();
    await db.write('CREATE TABLE t (a)');
    await db.write('INSERT INTO t VALUES (1)');
    expect(await db.query('SELECT * FROM t')).toEqual([{ a: 1 }]);
    await db.write('ALTER TABLE t ADD COLUMN b DEFAULT 2');
    expect(await db.query('SELECT * FROM t')).toEqual([{ a: 1, b: 2 }]);
  });

  it.each([':memory:', ''])('refuses %p', (name) => {
    expect(() => new SqliteAdapter(name)).toThrow(expect.objectContaining({ code: 'BadConnection' }));
  });

  it('refuses what is no database, and a directory that is not there', async () => {
    writeFileSync(
      path,
      'this is a text file, long enough to hold the header of a database file. '.repeat(20),
    );
    await expect(adapter().query('SELECT 1')).rejects.toMatchObject({ code: 'SourceNotSqlite' });
    path = join(directory, 'missing', 'app.db');
    await expect(adapter().query('SELECT 1')).rejects.toMatchObject({ code: 'BadConnection' });
  });
});
