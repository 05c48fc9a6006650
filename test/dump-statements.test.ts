import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { loadDump } from '../src/offline/load-dump.ts';
import { Losses } from '../src/offline/losses.ts';
import { readable } from '../src/offline/literals.ts';
import { JsonRows } from '../src/offline/json-rows.ts';
import { StatementSplitter } from '../src/offline/statements.ts';
import { seeded } from './support/random.ts';

/** Splits a text that arrives in pieces of the given lengths, the last one again and again. */
function split(text: string | Buffer, nextLength: () => number): { sql: string; line: number }[] {
  const bytes = Buffer.from(text as string);
  const splitter = new StatementSplitter();
  const found: { sql: string; line: number }[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = Math.min(bytes.length, at + nextLength());
    // A copy, as a stream may reuse its buffer.
    for (const { sql, line } of splitter.push(Buffer.from(bytes.subarray(at, end))))
      found.push({ sql: String(sql), line });
    at = end;
  }
  return found;
}

const STATEMENTS = [
  `CREATE TABLE "a;b" (x TEXT DEFAULT 'it''s; fine', [c;d] INT, \`e;f\` /* ; */ INT)`,
  `INSERT INTO t VALUES('-- no comment','/* nor ; this', X'3b3b', 'é;ü')`,
  `INSERT INTO t VALUES(1 - -2, 4 / 2, 'line\nfeed;\n')`,
  `CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT CASE WHEN 1 THEN ';' ELSE 2 END; DELETE FROM t WHERE x = 'end;'; END`,
  `create temp trigger "end;" after update on t begin select 1; /* end; */ select 2 -- end;\n; end`,
  `CREATE TABLE trigger_log (begin_at INT, "end" INT)`,
  `CREATE VIEW v AS SELECT 1 AS "trigger", 'BEGIN'`,
  `BEGIN`,
  `COMMIT`,
];

describe('the statements of a dump', () => {
  it('are the same however the text is cut, with the lines on which they begin', () => {
    const random = seeded('dump');
    for (let round = 0; round < 200; round++) {
      const wanted: { sql: string; line: number }[] = [];
      let text = '';
      for (let i = 0; i < 20; i++) {
        const sql = random.pick(STATEMENTS);
        text += random.pick([
          '',
          '\n',
          ' \r\n ',
          "-- a comment; with a quote '\n",
          '/* " ; **/\n',
          ';;',
          '/**/',
        ]);
        wanted.push({ sql: `${sql};`, line: text.split('\n').length });
        text += `${sql};`;
      }
      const lengths = () => 1 + random.below(random.pick([1, 3, 20, 400]));
      expect({ seed: random.seed, found: split(text, lengths) }).toEqual({
        seed: random.seed,
        found: wanted,
      });
    }
  });

  it('are not at rest inside a statement, a string, a trigger or a name', () => {
    for (const text of [
      'SELECT 1',
      `INSERT INTO t VALUES('a;`,
      'CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1;',
      'SELECT "a;',
    ]) {
      const splitter = new StatementSplitter();
      expect([...splitter.push(Buffer.from(`BEGIN;\n${text}`))]).toHaveLength(1);
      expect({ text, atRest: splitter.atRest, line: splitter.line }).toEqual({
        text,
        atRest: false,
        line: 2,
      });
    }
    const splitter = new StatementSplitter();
    expect([...splitter.push(Buffer.from('BEGIN; -- the end'))]).toHaveLength(1);
    expect(splitter.atRest).toBe(true);
  });

  it('are refused where one has no end, instead of being collected without end', () => {
    const splitter = new StatementSplitter();
    const chunk = Buffer.alloc(16 * 1024 * 1024, 'x');
    expect(() => {
      for (let i = 0; i < 20; i++) for (const _ of splitter.push(chunk));
    }).toThrow(/line 1: .*256 MiB/);
  });

  it('are read with the bytes that no string holds, and with infinities', () => {
    const sql = Buffer.concat([
      Buffer.from(`INSERT INTO "Infinity" VALUES(Infinity,-Infinity,'Infinity','it''s`),
      Buffer.from([0]),
      Buffer.from(`','é`),
      Buffer.from([0xff]),
      Buffer.from(`', xInfinity, 'plain é');`),
    ]);
    expect(readable(sql)).toBe(
      `INSERT INTO "Infinity" VALUES(9e999,-9e999,'Infinity',CAST(x'6974277300' AS TEXT),CAST(x'c3a9ff' AS TEXT), xInfinity, 'plain é');`,
    );
    expect(readable(Buffer.from([0x22, 0xff, 0x22]))).toBeNull();
  });
});

describe('the values of a dump', () => {
  it('are loaded to the bit: what quote() of SQLite writes, and texts as bytes in quotes', async () => {
    const random = seeded('dump');
    const folder = mkdtempSync(join(tmpdir(), 'crossfade-values-'));
    const [source, loaded] = [new Database(':memory:'), new Database(':memory:')];
    try {
      source.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, v)');
      const insert = source.prepare('INSERT INTO t (v) VALUES (?)');
      const asText = source.prepare('INSERT INTO t (v) VALUES (CAST(? AS TEXT))');
      for (let i = 0; i < 3_000; i++) {
        const bytes = random.bytes(random.below(12));
        switch (random.below(5)) {
          case 0:
            insert.run(bytes);
            break;
          case 1:
            insert.run(random.bytes(8).readBigInt64LE());
            break;
          case 2: {
            const real = random.bytes(8).readDoubleLE();
            insert.run(Number.isNaN(real) ? Infinity : real);
            break;
          }
          default:
            // NUL, quotes, line feeds and bytes that are not UTF-8 among them.
            asText.run(
              random.chance(0.5)
                ? bytes
                : Buffer.from(random.pick([`it's; "x"`, '--\n/*', '\u0000', 'é', `'`]).repeat(3)),
            );
        }
      }
      const read = (db: Database.Database): unknown[] =>
        db
          .prepare('SELECT id, typeof(v), hex(v), CASE WHEN typeof(v) <> ? THEN v END FROM t ORDER BY id')
          .raw()
          .safeIntegers()
          .all('text');
      const written = source
        .prepare(`SELECT id, typeof(v) AS type, quote(v) AS quoted, CAST(v AS BLOB) AS bytes FROM t`)
        .all() as { id: number; type: string; quoted: string; bytes: Buffer }[];
      const text = written.map(({ id, type, quoted, bytes }) => {
        const value =
          type !== 'text'
            ? Buffer.from(quoted === '9.0e+999' ? 'Infinity' : quoted)
            : Buffer.from(`'${bytes.toString('latin1').replaceAll("'", "''")}'`, 'latin1');
        return Buffer.concat([Buffer.from(`INSERT INTO t VALUES(${id},`), value, Buffer.from(');\n')]);
      });
      const path = join(folder, 'dump.sql');
      writeFileSync(
        path,
        Buffer.concat([Buffer.from('CREATE TABLE t (id INTEGER PRIMARY KEY, v);\n'), ...text]),
      );
      await loadDump(loaded, path, new Losses(), new AbortController().signal);
      expect(read(loaded)).toEqual(read(source));
    } finally {
      source.close();
      loaded.close();
      rmSync(folder, { recursive: true });
    }
  });
});

describe('the rows of a JSON file', () => {
  const rows = (text: string, nextLength: () => number = () => text.length): string[] => {
    const reader = new JsonRows();
    const bytes = Buffer.from(text);
    const found: string[] = [];
    for (let at = 0; at < bytes.length;) {
      const end = Math.min(bytes.length, at + nextLength());
      for (const row of reader.push(Buffer.from(bytes.subarray(at, end)))) found.push(row.text);
      at = end;
    }
    reader.end();
    return found;
  };
  const ROWS = ['{"a":1,"b":"x]}[{\\"","c":[0,255]}', '{}', '{"é":"\\\\"}', '{"results": "no", "meta":null}'];

  it('are found in what wrangler prints and in a plain array, however the text is cut', () => {
    const random = seeded('dump');
    const envelope = `[\n {"results": [${ROWS.join(', ')}], "success": true, "meta": {"duration": [1]}}, {"success":true,"results":[]}]\n`;
    for (let round = 0; round < 100; round++) {
      const lengths = () => 1 + random.below(random.pick([1, 4, 60]));
      for (const text of [envelope, `[${ROWS.join(',\n')}]`]) {
        expect({ seed: random.seed, rows: rows(text, lengths) }).toEqual({ seed: random.seed, rows: ROWS });
      }
    }
    expect(rows('[]')).toEqual([]);
  });

  it.each([
    ['', 'is empty'],
    ['[{"results":[{"a":1}', 'cut off'],
    ['[{"a":1},', 'cut off'],
    ['{"error":{"text":"no such table"}}', 'did the command that wrote it fail'],
    ['[{"results":[],"success":false}]', 'did not succeed'],
    ['[{"results":[[1,2]],"success":true}]', 'an array where a row'],
    ['[{"a":1}] [', 'follows the end'],
    ['not JSON', 'no JSON'],
    ['[1,2]', 'something other than a row'],
  ])('are refused where the file is %s', (text, message) => {
    expect(() => rows(text)).toThrow(message);
  });
});
