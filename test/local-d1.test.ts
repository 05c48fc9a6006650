import { spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import Database from 'better-sqlite3';
import pg from 'pg';
import { sqlitePath } from '../src/connections.ts';
import { CrossfadeError } from '../src/errors.ts';
import { DatabaseConnection } from '../src/index.ts';
import { LocalD1 } from './support/local-d1.ts';
import { createTestDatabase, type TestDatabase } from './support/postgres.ts';

const MAIN = fileURLToPath(new URL('../dist/src/cli/main.js', import.meta.url));
const SHOP = '5f3c9c1a-0000-4000-8000-000000000001';
const OTHER = '5f3c9c1a-0000-4000-8000-000000000002';
const UNUSED = '5f3c9c1a-0000-4000-8000-000000000003';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'crossfade-d1-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function find(text: string): string {
  return sqlitePath(`d1-local:${text}`, 'SOURCE_URL');
}

function refusal(text: string): CrossfadeError {
  try {
    find(text);
  } catch (error) {
    if (error instanceof CrossfadeError) return error;
  }
  throw new Error(`d1-local:${text} was not refused with a message of ours`);
}

describe('d1-local:PATH', () => {
  it('finds the one file from every place, and each of several by its id, among what workerd makes', async () => {
    const persist = join(root, '.wrangler', 'state', 'v3', 'd1');
    const objects = join(persist, 'miniflare-D1DatabaseObject');
    const d1 = await LocalD1.start(persist, [SHOP]);
    try {
      await d1.batch({ sql: 'CREATE TABLE shop (id INTEGER PRIMARY KEY)' });
      const [name] = readdirSync(objects).filter((file) => /^[^.]{64}\.sqlite$/.test(file));
      const path = join(objects, name!);
      const places = ['', '.wrangler', '.wrangler/state', '.wrangler/state/v3', '.wrangler/state/v3/d1'];
      for (const place of places) expect(find(join(root, place))).toBe(path);
      for (const exact of [objects, path, `${root}?database_id=${SHOP}`, `${path}?database_id=${SHOP}`]) {
        expect(find(exact)).toBe(path);
      }
      const router = new DatabaseConnection({ source: `d1-local:${root}` });
      expect(await router.query('SELECT * FROM shop')).toEqual([]);
      await router.close();
    } finally {
      await d1.stop();
    }

    const two = await LocalD1.start(persist, [OTHER, SHOP]);
    try {
      await two.batch({ sql: 'CREATE TABLE other (id INTEGER PRIMARY KEY)' });
      writeFileSync(
        join(root, 'wrangler.toml'),
        `[[d1_databases]]\nbinding = "DB"\ndatabase_id = "${SHOP}"\npreview_database_id = "x"\n`,
      );
      const several = refusal(root);
      expect(several).toMatchObject({ code: 'BadConnection', exit: 2 });
      expect(several.message).toMatch(/has 2 local D1 databases: .*database_id=ID/);
      expect(several.message).toMatch(/[0-9a-f]{64}\.sqlite: \d+ KB, tables other$/m);
      expect(several.message).toMatch(new RegExp(`\\.sqlite \\(${SHOP}\\): \\d+ KB, tables shop$`, 'm'));
      const other = find(`${root}?database_id=${OTHER}`);
      const db = new Database(other, { readonly: true });
      expect(db.prepare(`SELECT count(*) FROM other`).pluck().get()).toBe(0);
      db.close();
      const unused = refusal(`${root}?database_id=${UNUSED}`);
      expect(unused).toMatchObject({ code: 'SourceMissing', exit: 2 });
      expect(unused.message).toContain(UNUSED);
      expect(unused.message).toContain('tables shop');
      expect(refusal(`${other}?database_id=${SHOP}`)).toMatchObject({ code: 'BadConnection' });
    } finally {
      await two.stop();
    }
  });

  it('tells what it looked for where there is nothing, or nothing to read', () => {
    expect(refusal(root)).toMatchObject({ code: 'SourceMissing', exit: 2 });
    expect(refusal(root).message).toContain('.wrangler/state/v3/d1');
    expect(refusal(join(root, 'none')).message).toContain('does not exist');
    expect(refusal('').message).toContain('names no path');
    for (const query of ['?', '?database_id=', '?name=shop', '?database_id=a&b=c']) {
      expect(refusal(root + query)).toMatchObject({ code: 'BadConnection' });
    }
    const objects = join(root, 'miniflare-D1DatabaseObject');
    mkdirSync(objects);
    for (const digit of ['a', 'b']) {
      writeFileSync(
        join(objects, `${digit.repeat(64)}.sqlite`),
        'no database, but longer than a header of one '.repeat(9),
      );
    }
    copyFileSync(join(objects, `${'a'.repeat(64)}.sqlite`), join(objects, 'metadata.sqlite'));
    expect(refusal(root).message).toMatch(
      /has 2 local D1 databases: .*\n.*a\.sqlite: cannot be read: .*\n.*b\.sqlite/s,
    );
  });
});

/** Counts up through workerd until it is told to end, and remembers what was acknowledged. */
class Writer {
  acknowledged = 0;
  busy = 0;
  fenced = 0;
  private readonly ended: Promise<void>;
  private stopping = false;

  constructor(d1: LocalD1, id: number) {
    this.ended = this.write(d1, id);
    this.ended.catch(() => undefined);
  }

  private async write(d1: LocalD1, id: number): Promise<void> {
    while (!this.stopping) {
      try {
        const [, rows] = await d1.batch(
          {
            sql: 'INSERT INTO entry (counter_id, note) VALUES (?, ?)',
            params: [id, `n${this.acknowledged}`],
          },
          { sql: 'UPDATE counter SET n = n + 1 WHERE id = ? RETURNING n', params: [id] },
        );
        this.acknowledged = rows![0]!['n'] as number;
      } catch (error) {
        const { message } = error as Error;
        if (message.includes('SQLITE_BUSY')) this.busy++;
        else if (message.includes('crossfade: fenced')) this.fenced++;
        else throw error;
      }
      await sleep(3);
    }
  }

  async end(): Promise<void> {
    this.stopping = true;
    await this.ended;
  }
}

describe('a local D1 database', () => {
  let d1: LocalD1;
  let target: TestDatabase;
  beforeEach(async () => {
    d1 = await LocalD1.start(root, [SHOP]);
    target = await createTestDatabase();
  });
  afterEach(async () => {
    await d1.stop();
    await target.drop();
  });

  it('moves while workerd writes, cutover included, and refuses workerd from then on', async () => {
    await d1.batch(
      { sql: 'CREATE TABLE counter (id INTEGER PRIMARY KEY, n INTEGER NOT NULL)' },
      {
        sql: `CREATE TABLE entry (id INTEGER PRIMARY KEY AUTOINCREMENT, counter_id INTEGER NOT NULL REFERENCES counter (id),
                note TEXT NOT NULL, at TEXT DEFAULT CURRENT_TIMESTAMP)`,
      },
      { sql: 'CREATE INDEX entry_counter ON entry (counter_id)' },
      { sql: 'INSERT INTO counter (id, n) VALUES (1, 0), (2, 0), (3, 0)' },
      {
        sql: `WITH RECURSIVE i (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 5000)
                INSERT INTO entry (counter_id, note) SELECT 1 + n % 3, 'before ' || n FROM i`,
      },
    );
    const writers = [1, 2, 3].map((id) => new Writer(d1, id));
    const { TEMPORAL_ADDRESS: _address, ...env } = process.env;
    // What a busy machine does to latencies is not for this test.
    const input = join(root, 'input.json');
    writeFileSync(input, '{"shift":{"stages":[50,100]},"gates":{"latencyFloorMs":"1m","maxLagMs":"10m"}}');
    const run = spawn(
      process.execPath,
      [MAIN, 'run', '--source', `d1-local:${root}`, '--target', target.url, '--input', input].concat([
        '--stage-wait',
        '300ms',
        '--soak',
        '300ms',
        '--plain',
      ]),
      { env: { ...env, CROSSFADE_HOME: join(root, 'home') }, stdio: ['ignore', 'pipe', 'pipe'] },
    );
    let [out, err] = ['', ''];
    run.stdout.on('data', (chunk) => (out += String(chunk)));
    run.stderr.on('data', (chunk) => (err += String(chunk)));
    const status = await new Promise((resolve) => run.on('close', resolve));
    for (const writer of writers) await writer.end();
    expect({ status, err }).toEqual({ status: 0, err: '' });
    expect(out).toContain('every row agrees');

    const client = new pg.Client({ connectionString: target.url });
    await client.connect();
    try {
      const counters = await client.query('SELECT id::int, n::int FROM counter ORDER BY id');
      expect(counters.rows).toEqual(writers.map(({ acknowledged }, i) => ({ id: i + 1, n: acknowledged })));
      const entries = await client.query(
        `SELECT counter_id::int AS id, count(*)::int AS n FROM entry WHERE note NOT LIKE 'before%' GROUP BY 1 ORDER BY 1`,
      );
      expect(entries.rows).toEqual(counters.rows);
      const tables = await client.query(
        `SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1`,
      );
      expect(tables.rows).toEqual([{ relname: 'counter' }, { relname: 'entry' }]);
    } finally {
      await client.end();
    }
    for (const writer of writers) expect(writer.fenced).toBeGreaterThan(0);
    await expect(d1.batch({ sql: 'UPDATE counter SET n = 0 WHERE id = 1' })).rejects.toThrow(
      'crossfade: fenced',
    );
  }, 240_000);
});
