import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { generateDatabase } from '../demo/database/generate.ts';
import { SHAPES } from '../demo/database/schema.ts';

describe("the demo's database", () => {
  let directory: string;
  let db: Database.Database;
  const path = (name: string): string => join(directory, name);

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'crossfade-demo-'));
    await generateDatabase({ path: path('a.sqlite'), users: 2_000, seed: 7 });
    db = new Database(path('a.sqlite'), { readonly: true });
  });

  afterAll(() => {
    db.close();
    rmSync(directory, { recursive: true });
  });

  /** A digest of every value with its storage class, in key order. */
  function digest(database: Database.Database): string {
    const hash = createHash('sha256');
    for (const { name, key, columns } of SHAPES) {
      const cells = columns.map((column) => `typeof(${column.name}), quote(${column.name})`).join(', ');
      for (const row of database
        .prepare(`SELECT ${cells} FROM ${name} ORDER BY ${key.join(', ')}`)
        .raw()
        .iterate()) {
        hash.update(JSON.stringify(row));
      }
    }
    return hash.digest('hex');
  }

  async function digestOf(name: string, users: number, seed: number): Promise<string> {
    await generateDatabase({ path: path(name), users, seed });
    const other = new Database(path(name), { readonly: true });
    try {
      return digest(other);
    } finally {
      other.close();
    }
  }

  it('is the same for the same seed, and another for another', async () => {
    expect(await digestOf('b.sqlite', 2_000, 7)).toBe(digest(db));
    expect(await digestOf('c.sqlite', 2_000, 8)).not.toBe(digest(db));
  });

  it('has ten rows per user, keeps its foreign keys and is in WAL mode', () => {
    const total = SHAPES.reduce(
      (sum, { name }) => sum + (db.prepare(`SELECT count(*) FROM ${name}`).pluck().get() as number),
      0,
    );
    expect(total).toBe(20_000);
    expect(db.pragma('foreign_key_check')).toEqual([]);
    expect(db.pragma('integrity_check', { simple: true })).toBe('ok');
    expect(db.pragma('journal_mode', { simple: true })).toBe('wal');
  });

  it('holds in each column the storage classes that its type promises, and NULL where it may', () => {
    const classes = (table: string, column: string): string[] =>
      db.prepare(`SELECT DISTINCT typeof(${column}) FROM ${table} ORDER BY 1`).pluck().all() as string[];
    expect(classes('users', 'email_verified')).toEqual(['integer']);
    expect(db.prepare(`SELECT DISTINCT email_verified FROM users ORDER BY 1`).pluck().all()).toEqual([0, 1]);
    expect(classes('users', 'rating')).toEqual(['null', 'real']);
    expect(classes('users', 'avatar')).toEqual(['blob', 'null']);
    expect(classes('users', 'bio')).toEqual(['null', 'text']);
    expect(classes('users', 'created_at')).toEqual(['text']);
    expect(classes('subscriptions', 'price')).toEqual(['integer', 'real']);
    expect(classes('analytics', 'revenue')).toEqual(expect.arrayContaining(['null', 'real']));
    const forms = db
      .prepare(`SELECT count(*) FROM content WHERE created_at NOT GLOB '????-??-?? ??:??:??'`)
      .pluck()
      .get();
    expect(forms).toBe(0);
  });

  it('has text that careless exports break', () => {
    const having = (pattern: string): unknown =>
      db.prepare(`SELECT count(*) > 0 FROM content WHERE instr(body, ?) > 0`).pluck().get(pattern);
    for (const awkward of ['\t', '\n', '\\N', '\\.', "'", '"', '🚀', '\u200b'])
      expect(having(awkward)).toBe(1);
  });

  it("has the strategy's indexes, partial and descending ones included", () => {
    const sql = (name: string): unknown =>
      db.prepare(`SELECT sql FROM sqlite_master WHERE type = 'index' AND name = ?`).pluck().get(name);
    expect(sql('idx_active_users')).toMatch(/WHERE status = 'active'/);
    expect(sql('idx_user_content_analytics')).toMatch(/\(user_id, content_id, date DESC\)/);
    expect(sql('idx_content_status_created')).toMatch(/created_at DESC/);
    expect(() => db.prepare(`SELECT 1 FROM users INDEXED BY idx_users_email WHERE email = ''`)).not.toThrow();
  });
});
