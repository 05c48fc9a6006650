import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import Database from 'better-sqlite3';
import pg from 'pg';
import { runCommand, type Result } from './support/command-line.ts';
import { eventually } from './support/eventually.ts';
import { LocalD1 } from './support/local-d1.ts';
import { createTestDatabase, type TestDatabase } from './support/postgres.ts';

const MAIN = fileURLToPath(new URL('../dist/src/cli/main.js', import.meta.url));

let folder: string;
let temp: string;
let database: TestDatabase;
let target: pg.Client;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'crossfade-dump-'));
  temp = join(folder, 'temp');
  mkdirSync(temp);
  database = await createTestDatabase();
  target = new pg.Client({ connectionString: database.url });
  target.on('error', () => undefined);
  await target.connect();
});
afterEach(async () => {
  await target.end();
  await database.drop();
  rmSync(folder, { recursive: true, force: true });
});

function file(content: string | Buffer, name = 'dump.sql'): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

async function importing(from: string, ...more: string[]): Promise<Result> {
  const result = await runCommand(
    ['import', '--from', from, '--target', database.url, '--temp', temp, ...more],
    {},
  );
  expect(readdirSync(temp)).toEqual([]);
  return result;
}

/** Everything in the target that is not the server's own. */
async function objects(): Promise<string[]> {
  const { rows } = await target.query<{ name: string }>(
    `SELECT n.nspname || '.' || c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND c.relkind IN ('r', 'v')
      UNION ALL SELECT nspname FROM pg_namespace WHERE nspname = 'crossfade'
      UNION ALL SELECT tgname FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1`,
  );
  return rows.map(({ name }) => name);
}

async function rowsOf(sql: string): Promise<unknown[]> {
  return (await target.query(sql)).rows;
}

/** What sqlite3 3.53 writes for a database with a virtual table, a trigger, a view and texts that are hard to write. */
const SQLITE3_DUMP = `PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE note (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT, n INTEGER, r REAL, b BLOB);
INSERT INTO note VALUES(1,unistr('two\\u000alines; with ''quotes'''),9223372036854775807,0.10000000000000000555,X'00ff');
INSERT INTO note VALUES(2,replace('a\\012b \\n','\\012',char(10)),-9223372036854775808,-9.0e+999,NULL);
INSERT INTO note VALUES(3,'',NULL,4.9406564584124654e-324,X'');
CREATE TABLE part (note_id INTEGER REFERENCES note (id), word TEXT, PRIMARY KEY (note_id, word)) WITHOUT ROWID;
INSERT INTO part VALUES(1,'é'),(3,'z');
PRAGMA writable_schema=ON;
INSERT INTO sqlite_schema(type,name,tbl_name,rootpage,sql)VALUES('table','search','search',0,'CREATE VIRTUAL TABLE search USING fts5(body)');
CREATE TABLE IF NOT EXISTS 'search_data'(id INTEGER PRIMARY KEY, block BLOB);
INSERT INTO search_data VALUES(1,X'');
INSERT INTO search_data VALUES(10,X'00000000000000');
CREATE TABLE IF NOT EXISTS 'search_idx'(segid, term, pgno, PRIMARY KEY(segid, term)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS 'search_content'(id INTEGER PRIMARY KEY, c0);
CREATE TABLE IF NOT EXISTS 'search_docsize'(id INTEGER PRIMARY KEY, sz BLOB);
CREATE TABLE IF NOT EXISTS 'search_config'(k PRIMARY KEY, v) WITHOUT ROWID;
INSERT INTO search_config VALUES('version',4);
CREATE TRIGGER note_ai AFTER INSERT ON note BEGIN INSERT INTO part VALUES (new.id, 'x'); SELECT CASE WHEN 1 THEN 2 END; END;
CREATE VIEW words AS SELECT word FROM part;
CREATE INDEX note_n ON note (n);
ANALYZE sqlite_schema;
INSERT INTO sqlite_stat1 VALUES('note','note_n','3 1');
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('note',41);
PRAGMA writable_schema=OFF;
COMMIT;
`;

describe('crossfade import', () => {
  it('loads what wrangler exports of a real D1 database, and tells what the export has lost', async () => {
    const d1 = await LocalD1.start(join(folder, 'd1'), ['one']);
    let dump: string;
    try {
      await d1.batch(
        {
          sql: `CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, email TEXT NOT NULL UNIQUE COLLATE NOCASE, score REAL,
                  photo BLOB, big INTEGER, anything, at DATETIME DEFAULT CURRENT_TIMESTAMP)`,
        },
        {
          sql: 'CREATE TABLE posts (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id), body TEXT)',
        },
        { sql: 'CREATE INDEX posts_by_user ON posts (user_id)' },
        {
          sql: `INSERT INTO users (email, score, photo, big, anything, at) VALUES
                  ('a@x', 9e999, x'00ff', 9007199254740993, 5.0, '2026-01-01 00:00:00'),
                  ('it''s ; "b"@x', -9e999, zeroblob(70000), 5, 'text', '2026-01-02 00:00:00'),
                  ('c' || char(10) || 'd', 5.0, NULL, NULL, NULL, NULL)`,
        },
        {
          sql: `WITH RECURSIVE i (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 3000)
                  INSERT INTO posts SELECT n, 1 + n % 3, 'post ' || n || char(10) || hex(randomblob(20)) FROM i`,
        },
      );
      dump = await d1.export();
      const { status, out, err } = await importing(file(dump));
      expect({ status, err }).toEqual({ status: 0, err: '' });
      expect(out).toMatch(/notice: the dump: 1 integer beyond 2\^53 \(first at line \d+\)/);
      expect(out).toMatch(/notice: the dump: 3,001 texts written with replace/);
      expect(out).toMatch(/notice: the dump: integers in users\.anything/);
      expect(out).toMatch(/posts: 3,000 rows\n[^]*compared: 3,003 rows, every one agrees[^]*done: 2 tables/);

      expect(await objects()).toEqual(['public.posts', 'public.users']);
      // The database itself, read by D1 and by pg, is what the import must be equal to.
      const [posts] = await d1.batch({ sql: 'SELECT id, user_id, body FROM posts ORDER BY id' });
      expect(await rowsOf('SELECT id::int, user_id::int, body FROM posts ORDER BY id')).toEqual(posts);
      expect(
        await rowsOf(
          `SELECT email, score::text, length(photo) AS bytes, big::text, anything, at::text FROM users ORDER BY id`,
        ),
      ).toEqual([
        // Rounded by the export: 9007199254740993 and 5.0.
        {
          email: 'a@x',
          score: 'Infinity',
          bytes: 2,
          big: '9007199254740992',
          anything: '5',
          at: '2026-01-01 00:00:00',
        },
        {
          email: `it's ; "b"@x`,
          score: '-Infinity',
          bytes: 70_000,
          big: '5',
          anything: 'text',
          at: '2026-01-02 00:00:00',
        },
        { email: 'c\nd', score: '5', bytes: null, big: null, anything: null, at: null },
      ]);
      const next = await rowsOf(`INSERT INTO users (email) VALUES ('next') RETURNING id::int`);
      expect(next).toEqual([{ id: 4 }]);
      await expect(target.query(`INSERT INTO posts VALUES (9999, 77, '')`)).rejects.toMatchObject({
        code: '23503',
      });
    } finally {
      await d1.stop();
    }
    const again = await importing(file(dump));
    expect(again).toMatchObject({ status: 2, out: '' });
    expect(again.err).toMatch(/^crossfade: target [^\n]* is not empty: [^\n]*"posts"[^\n]*\n$/);
  }, 120_000);

  it('loads what sqlite3 dumps, virtual tables and all, as the plan lets it', async () => {
    const path = file(SQLITE3_DUMP);
    const refused = await importing(path);
    expect(refused).toMatchObject({ status: 3, err: '' });
    expect(refused.out).toContain('refused: 2 blockers');
    expect(await objects()).toEqual([]);

    const policies = ['--policy', 'triggers=drop', '--policy', 'virtualTables=skip'];
    const { status, out, err } = await importing(path, ...policies);
    expect({ status, err }).toEqual({ status: 0, err: '' });
    expect(out).not.toContain('notice: the dump');
    expect(await objects()).toEqual(['public.note', 'public.part', 'public.words']);
    expect(await rowsOf(`SELECT id::int, body, n::text, r::text, b FROM note ORDER BY id`)).toEqual([
      {
        id: 1,
        body: `two\nlines; with 'quotes'`,
        n: '9223372036854775807',
        r: '0.1',
        b: Buffer.from([0, 255]),
      },
      { id: 2, body: 'a\nb \\n', n: '-9223372036854775808', r: '-Infinity', b: null },
      { id: 3, body: '', n: null, r: '5e-324', b: Buffer.alloc(0) },
    ]);
    // The dump's trigger did not fire on the dump's rows.
    expect(await rowsOf('SELECT note_id::int AS id, word FROM part ORDER BY 1')).toEqual([
      { id: 1, word: 'é' },
      { id: 3, word: 'z' },
    ]);
    expect(await rowsOf(`INSERT INTO note (body) VALUES ('') RETURNING id::int`)).toEqual([{ id: 42 }]);
  }, 120_000);

  it('loads texts with NUL and with bytes that are not UTF-8 as they are, and leaves what becomes of them to the plan', async () => {
    const dump = (text: Buffer): Buffer =>
      Buffer.concat([
        Buffer.from(`CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT);\nINSERT INTO t VALUES(1,'a`),
        text,
        Buffer.from(`b');\n`),
      ]);
    for (const odd of [Buffer.from([0]), Buffer.from([0xff, 0x41])]) {
      const { status, out } = await importing(file(dump(odd)));
      expect(out).toContain('x');
      const other = new Database(':memory:');
      const expected = other
        .prepare(`SELECT hex(CAST(? AS BLOB))`)
        .pluck()
        .get(Buffer.concat([Buffer.from('a'), odd, Buffer.from('b')]));
      other.close();
      if (status === 0) {
        const kinds = await rowsOf(`SELECT pg_typeof(x)::text AS type, x::text FROM t`);
        expect(JSON.stringify(kinds).toUpperCase()).toContain(String(expected));
        await target.query('DROP TABLE t');
      } else {
        expect(status).toBe(3);
        expect(out).toMatch(/"t"\."x"/);
      }
    }
  }, 60_000);

  it('loads a folder of the JSON that wrangler prints, with the schema', async () => {
    const rows = (...results: unknown[]): string =>
      `${JSON.stringify([{ results, success: true, meta: { duration: 1 } }], null, 2)}\n`;
    file(
      `CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, photo BLOB, score REAL, big INTEGER,
         upper_name TEXT GENERATED ALWAYS AS (upper(name)));
       CREATE TABLE tags (id INTEGER PRIMARY KEY, users_id INTEGER REFERENCES users (id), tag TEXT);
       CREATE TRIGGER g AFTER INSERT ON users BEGIN INSERT INTO tags VALUES (NULL, new.id, 'by trigger'); END;`,
      'schema.sql',
    );
    const user = { id: 1, name: '[0, 255]', photo: '[0, 255]', score: 5, big: 7, upper_name: 'X' };
    file(
      rows(user, { ...user, id: 2, name: 'é', photo: [1, 2], score: 0.5, big: null }).replace(
        '"big": 7',
        '"big": 9223372036854775807',
      ),
      'users.json',
    );
    const noTags = await importing(
      folder,
      '--policy',
      'triggers=drop',
      '--policy',
      'generatedColumns=leave-out',
    );
    expect(noTags).toMatchObject({ status: 2 });
    expect(noTags.err).toMatch(/has no tags\.json/);
    file(JSON.stringify([{ id: 1, users_id: 2, tag: 'x' }]), 'tags.json');
    file(rows({ name: 'users', seq: 9 }), 'sqlite_sequence.json');
    const policies = ['--policy', 'triggers=drop', '--policy', 'generatedColumns=leave-out'];
    const { status, out, err } = await importing(folder, ...policies);
    expect({ status, err }).toEqual({ status: 0, err: '' });
    expect(out).toMatch(/notice: the dump: 1 integer beyond 2\^53 \(first at [^\n]*users\.json, line 4\)/);
    expect(out).toMatch(/notice: the dump: 1 value like "\[0, 255\]" in BLOB columns/);
    expect(await rowsOf('SELECT id::int, name, photo, score, big::text FROM users ORDER BY id')).toEqual([
      { id: 1, name: '[0, 255]', photo: Buffer.from([0, 255]), score: 5, big: '9223372036854775807' },
      { id: 2, name: 'é', photo: Buffer.from([1, 2]), score: 0.5, big: null },
    ]);
    expect(await rowsOf('SELECT id::int, users_id::int, tag FROM tags')).toEqual([
      { id: 1, users_id: 2, tag: 'x' },
    ]);
    expect(await rowsOf(`INSERT INTO users (name) VALUES ('next') RETURNING id::int`)).toEqual([{ id: 10 }]);
  }, 120_000);

  const GOOD = `PRAGMA defer_foreign_keys=TRUE;\nCREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT);\nINSERT INTO "t" VALUES(1,'a');\n`;

  it.each([
    ['an empty file', '', /is empty \(0 bytes\)/],
    ['only comments', '-- nothing\n/* here */\n', /has no statement/],
    ['prose', 'Dear all,\nplease find attached; the dump.\n', /line 1: it is no SQL text/],
    ['a picture', Buffer.from([0x89, 0x50, 0x4e, 0x47, 0, 1, 2, 0x3b]), /line 1: it is no SQL text/],
    [
      'a database',
      Buffer.concat([Buffer.from('SQLite format 3\0'), Buffer.alloc(4080)]),
      /it is a SQLite database/,
    ],
    ['a compressed dump', Buffer.from([0x1f, 0x8b, 8, 0]), /it is compressed/],
    ['JSON', '[{"results":[]}]', /it looks like JSON/],
    [
      'a dump cut off in a text',
      `${GOOD}INSERT INTO "t" VALUES(2,'b\nc`,
      /line 4: a statement begins there .* in line 5: the dump is cut off/,
    ],
    [
      'a dump cut off between two statements',
      `BEGIN TRANSACTION;\n${GOOD}`,
      /line 1: a transaction begins there/,
    ],
    [
      'a dump of a damaged database',
      `BEGIN TRANSACTION;\n${GOOD}ROLLBACK; -- due to errors\n`,
      /line 5: .*not whole/,
    ],
    [
      'a statement that fails',
      `${GOOD}INSERT INTO "t" VALUES(1,'twice');\n`,
      /line 4: UNIQUE constraint failed: t\.id, in: INSERT INTO "t"/,
    ],
    [
      'a statement that is none of a dump',
      `${GOOD}\nATTACH 'x' AS y;\n`,
      /line 5: "ATTACH 'x' AS y;" is no statement of a dump/,
    ],
    [
      'bytes that are not UTF-8 in a name',
      Buffer.concat([Buffer.from(`${GOOD}CREATE TABLE "`), Buffer.from([0xff]), Buffer.from('" (a);')]),
      /line 4: .*not UTF-8/,
    ],
  ])('refuses %s in one line, and leaves nothing', async (_what, content, message) => {
    const { status, out, err } = await importing(file(content));
    expect({ status, out }).toEqual({ status: 2, out: '' });
    expect(err).toMatch(/^crossfade: [^\n]+\n$/);
    expect(err).toMatch(message);
    expect(await objects()).toEqual([]);
  });

  it('refuses what is not there: the file, the schema of a folder, the target, the temporary folder', async () => {
    expect((await importing(join(folder, 'none.sql'))).err).toContain('does not exist');
    expect((await importing(temp)).err).toContain('has no schema.sql');
    const bad = await runCommand(['import', '--from', file(GOOD)], {});
    expect(bad).toMatchObject({ status: 2 });
    expect(bad.err).toContain('TARGET_URL');
    const noTemp = await runCommand(
      ['import', '--from', file(GOOD), '--target', database.url, '--temp', join(folder, 'no')],
      {},
    );
    expect(noTemp).toMatchObject({ status: 2 });
    expect(noTemp.err).toContain('--temp');
  });

  it('empties the target again where the rows do not go in, and after an import that was killed', async () => {
    await target.query(`
      CREATE FUNCTION public.refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no index today'; END $$;
      CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION public.refuse()`);
    const failed = await importing(file(`${GOOD}CREATE INDEX t_x ON t (x);\n`));
    expect(failed).toMatchObject({ status: 1 });
    expect(failed.err).toContain('no index today');
    expect(await objects()).toEqual([]);
    await target.query('DROP EVENT TRIGGER refuse');

    const rows = Array.from({ length: 60_000 }, (_, i) => `INSERT INTO t VALUES(${i},'row ${i}');\n`).join(
      '',
    );
    const dump = file(`CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT);\n${rows}`);
    const killed = spawn(
      process.execPath,
      [MAIN, 'import', '--from', dump, '--target', database.url, '--temp', temp],
      {
        stdio: 'ignore',
      },
    );
    const gone = once(killed, 'exit');
    await eventually('tables are there', async () => (await objects()).includes('public.t'), 60_000);
    const busy = await importingBeside(dump);
    expect(busy).toMatchObject({ status: 2 });
    expect(busy.err).toContain('another import into it is under way');
    killed.kill('SIGKILL');
    await gone;
    expect(await objects()).toContain('crossfade');
    for (const left of readdirSync(temp)) rmSync(join(temp, left), { recursive: true });
    await eventually('the server has let go of the lock', async () => {
      const { rows: held } = await target.query(
        `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'crossfade%'`,
      );
      return held.length === 0;
    });
    const { status, err } = await importing(dump);
    expect({ status, err }).toEqual({ status: 0, err: '' });
    expect(await objects()).toEqual(['public.t']);
    expect(await rowsOf('SELECT count(*)::int AS n FROM t')).toEqual([{ n: 60_000 }]);
  }, 180_000);

  function importingBeside(from: string): Promise<Result> {
    return runCommand(['import', '--from', from, '--target', database.url, '--temp', temp], {});
  }
});
