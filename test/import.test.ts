import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { execPath } from 'node:process';
import { fileURLToPath } from 'node:url';
import Database from 'better-sqlite3';
import { runCommand } from './support/command-line.ts';
import { eventually } from './support/eventually.ts';
import { ImportTarget } from './support/import-target.ts';
import { LocalD1 } from './support/local-d1.ts';

const MAIN = fileURLToPath(new URL('../dist/src/cli/main.js', import.meta.url));

let target: ImportTarget;
beforeEach(async () => {
  target = await ImportTarget.create();
});
afterEach(() => target.dispose());

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
    const d1 = await LocalD1.start(join(target.folder, 'd1'), ['one']);
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
      const { status, out, err } = await target.import(target.file(dump));
      expect({ status, err }).toEqual({ status: 0, err: '' });
      expect(out).toMatch(/notice: the dump: 1 integer beyond 2\^53 \(first at line \d+\)/);
      expect(out).toMatch(/notice: the dump: 3,001 texts written with replace/);
      expect(out).toMatch(/notice: the dump: integers in users\.anything/);
      expect(out).toMatch(/posts: 3,000 rows\n[^]*compared: 3,003 rows, every one agrees[^]*done: 2 tables/);

      expect(await target.objects()).toEqual(['public.posts', 'public.users']);
      // The database itself, read by D1 and by pg, is what the import must be equal to.
      const [posts] = await d1.batch({ sql: 'SELECT id, user_id, body FROM posts ORDER BY id' });
      expect(await target.rows('SELECT id::int, user_id::int, body FROM posts ORDER BY id')).toEqual(posts);
      expect(
        await target.rows(
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
      const next = await target.rows(`INSERT INTO users (email) VALUES ('next') RETURNING id::int`);
      expect(next).toEqual([{ id: 4 }]);
      await expect(target.client.query(`INSERT INTO posts VALUES (9999, 77, '')`)).rejects.toMatchObject({
        code: '23503',
      });
    } finally {
      await d1.stop();
    }
    const again = await target.import(target.file(dump));
    expect(again).toMatchObject({ status: 2, out: '' });
    expect(again.err).toMatch(/^crossfade: target [^\n]* is not empty: [^\n]*"posts"[^\n]*\n$/);
  }, 120_000);

  it('loads what sqlite3 dumps, virtual tables and all, as the plan lets it', async () => {
    const path = target.file(SQLITE3_DUMP);
    const refused = await target.import(path);
    expect(refused).toMatchObject({ status: 3, err: '' });
    expect(refused.out).toContain('refused: 2 blockers');
    expect(await target.objects()).toEqual([]);

    const policies = ['--policy', 'triggers=drop', '--policy', 'virtualTables=skip'];
    const { status, out, err } = await target.import(path, ...policies);
    expect({ status, err }).toEqual({ status: 0, err: '' });
    expect(out).not.toContain('notice: the dump');
    expect(await target.objects()).toEqual(['public.note', 'public.part', 'public.words']);
    expect(await target.rows(`SELECT id::int, body, n::text, r::text, b FROM note ORDER BY id`)).toEqual([
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
    expect(await target.rows('SELECT note_id::int AS id, word FROM part ORDER BY 1')).toEqual([
      { id: 1, word: 'é' },
      { id: 3, word: 'z' },
    ]);
    expect(await target.rows(`INSERT INTO note (body) VALUES ('') RETURNING id::int`)).toEqual([{ id: 42 }]);
  }, 120_000);

  it('loads texts with NUL and with bytes that are not UTF-8 as they are, and leaves what becomes of them to the plan', async () => {
    const dump = (text: Buffer): Buffer =>
      Buffer.concat([
        Buffer.from(`CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT);\nINSERT INTO t VALUES(1,'a`),
        text,
        Buffer.from(`b');\n`),
      ]);
    for (const odd of [Buffer.from([0]), Buffer.from([0xff, 0x41])]) {
      const { status, out } = await target.import(target.file(dump(odd)));
      expect(out).toContain('x');
      const other = new Database(':memory:');
      const expected = other
        .prepare(`SELECT hex(CAST(? AS BLOB))`)
        .pluck()
        .get(Buffer.concat([Buffer.from('a'), odd, Buffer.from('b')]));
      other.close();
      if (status === 0) {
        const kinds = await target.rows(`SELECT pg_typeof(x)::text AS type, x::text FROM t`);
        expect(JSON.stringify(kinds).toUpperCase()).toContain(String(expected));
        await target.client.query('DROP TABLE t');
      } else {
        expect(status).toBe(3);
        expect(out).toMatch(/"t"\."x"/);
      }
    }
  }, 60_000);

  const GOOD = `PRAGMA defer_foreign_keys=TRUE;\nCREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT);\nINSERT INTO "t" VALUES(1,'a');\n`;
  const GOOD_WITH_INDEX = `${GOOD}CREATE INDEX t_x ON t (x);\n`;

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
      /line 4: .*UNIQUE constraint failed: t\.id, in: INSERT INTO "t"/,
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
    const { status, out, err } = await target.import(target.file(content));
    expect({ status, out }).toEqual({ status: 2, out: '' });
    expect(err).toMatch(/^crossfade: [^\n]+\n$/);
    expect(err).toMatch(message);
    expect(await target.objects()).toEqual([]);
  });

  it('refuses what is not there: the file, the schema of a folder, the target, the temporary folder', async () => {
    expect((await target.import(join(target.folder, 'none.sql'))).err).toContain('does not exist');
    expect((await target.import(target.temp)).err).toContain('has no schema.sql');
    const bad = await runCommand(['import', '--from', target.file(GOOD)], {});
    expect(bad).toMatchObject({ status: 2 });
    expect(bad.err).toContain('TARGET_URL');
    const noTemp = await runCommand(
      ['import', '--from', target.file(GOOD), '--target', target.url, '--temp', join(target.folder, 'no')],
      {},
    );
    expect(noTemp).toMatchObject({ status: 2 });
    expect(noTemp.err).toContain('--temp');
  });

  it('empties the target again where a step fails', async () => {
    await atCreateIndex(`RAISE 'no index today'`);
    const failed = await target.import(target.file(GOOD_WITH_INDEX));
    expect(failed).toMatchObject({ status: 1 });
    expect(failed.err).toContain('no index today');
    expect(await target.objects()).toEqual([]);
  });

  it('empties the target again on Ctrl-C', async () => {
    const { process, ended } = await stoppedAtCreateIndex();
    process.kill('SIGINT');
    await letGo();
    expect(await ended).toBe(130);
    expect(await target.objects()).toEqual([]);
    expect(readdirSync(target.temp)).toEqual([]);
  }, 60_000);

  it('removes what an import that was killed has left, but not from under one that goes on', async () => {
    const { process, ended } = await stoppedAtCreateIndex();
    const from = target.file(GOOD);
    const busy = await runCommand(target.arguments(from), {});
    expect(busy).toMatchObject({ status: 2 });
    expect(busy.err).toContain('another import into it is under way');
    process.kill('SIGKILL');
    await ended;
    await letGo();
    await eventually('the server has noticed', async () => {
      const connections = await target.rows(
        `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'crossfade%'`,
      );
      return connections.length === 0;
    });
    expect(await target.objects()).toContain('crossfade');
    for (const left of readdirSync(target.temp)) rmSync(join(target.temp, left), { recursive: true });
    const { status, err } = await target.import(from);
    expect({ status, err }).toEqual({ status: 0, err: '' });
    expect(await target.objects()).toEqual(['public.t']);
    expect(await target.rows('SELECT id::int, x FROM t')).toEqual([{ id: 1, x: 'a' }]);
  }, 60_000);

  /** Has the server do something when the dump's index is made. @param statement of PL/pgSQL */
  async function atCreateIndex(statement: string): Promise<void> {
    await target.client.query(`
      CREATE FUNCTION public.before_index() RETURNS event_trigger LANGUAGE plpgsql AS $$
        BEGIN IF current_query() LIKE '%"t_x"%' THEN ${statement}; END IF; END $$;
      CREATE EVENT TRIGGER before_index ON ddl_command_start WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION public.before_index()`);
  }

  /** A process that imports and has come as far as an index, which it does not get before `letGo`. */
  async function stoppedAtCreateIndex(): Promise<{ process: ChildProcess; ended: Promise<number | null> }> {
    await atCreateIndex('PERFORM pg_advisory_xact_lock(42)');
    await target.client.query('SELECT pg_advisory_lock(42)');
    const process = spawn(execPath, [MAIN, ...target.arguments(target.file(GOOD_WITH_INDEX))], {
      stdio: 'ignore',
    });
    const ended = once(process, 'exit').then(([status]) => status as number | null);
    const waiting = `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'`;
    await eventually('it waits', async () => (await target.rows(waiting)).length > 0, 30_000);
    return { process, ended };
  }

  async function letGo(): Promise<void> {
    await target.client.query('DROP EVENT TRIGGER before_index; SELECT pg_advisory_unlock(42)');
  }
});
