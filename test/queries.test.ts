/** SQL that means something else on PostgreSQL: each row of docs/queries.md shown, and what to write instead proved equal. */
import { readFileSync } from 'node:fs';
import { Answers } from './support/answers.ts';
import { ANSWERED } from './support/queries-answered.ts';
import { REFUSED, REFUSED_WRITES } from './support/queries-refused.ts';

let answers: Answers;

beforeAll(async () => {
  answers = await Answers.create(`
    CREATE TABLE k (id INTEGER PRIMARY KEY, i INTEGER, b BOOLEAN, r REAL, n NUMERIC, t TEXT, nc TEXT COLLATE NOCASE,
      x BLOB, j JSON, tj TEXT, d DATE, dt DATETIME, z, parent INT, nul TEXT, iso DATETIME);
    INSERT INTO k VALUES
      (1, 5, 1, 2.5, 5, 'Anna', 'Anna', x'00ff', '{"a": 1, "b": "x"}', '{"a": 1}', '2024-02-29', '2024-02-29 23:59:59', 5, NULL, 'a' || char(0), '2024-01-31T00:00:00.000Z'),
      (2, -5, 0, 0.1, 0.5, 'anton', 'anna', x'61', '{"a": 1.5}', '5', '2000-01-01', '2000-01-01 00:00:00', 'x', 1, '007', '2024-01-31T12:34:56.789Z'),
      (3, NULL, NULL, 16777217, 7, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 5.5, 1, NULL, NULL);
    CREATE TABLE money (id INTEGER PRIMARY KEY, v DECIMAL(10,2));
    INSERT INTO money VALUES (1, 0.1), (2, 0.2);
    CREATE TABLE u (k TEXT PRIMARY KEY, v INTEGER, w INTEGER UNIQUE);
    INSERT INTO u VALUES ('a', 1, 1), ('b', 2, 2);
    CREATE TABLE "Mixed" ("Id" INTEGER PRIMARY KEY, "userName" TEXT);
    INSERT INTO "Mixed" VALUES (1, 'x');
    CREATE TABLE computed (id INTEGER PRIMARY KEY, twice INT AS (n * 2) STORED, n INT);
    INSERT INTO computed (id, n) VALUES (1, 2);
  `);
});

afterAll(() => answers.dispose());

const flat = (rows: object[]): unknown[] => rows.flatMap((row) => Object.values(row));

describe('reads that answer differently', () => {
  it.each(ANSWERED.map((one) => [one.title, one] as const))('%s', async (_, one) => {
    const { sql, params = [], sqlite, postgres, instead } = one;
    expect(flat(await answers.before.query(sql, params))).toEqual(sqlite);
    expect(flat(await answers.after.query(sql, params))).toEqual(postgres);
    for (const [text, values = [], rows = sqlite] of instead) {
      expect(flat(await answers.same(text, values))).toEqual(rows);
    }
  });
});

describe('reads that PostgreSQL refuses', () => {
  it.each(REFUSED.map((one) => [one.title, one] as const))('%s', async (_, one) => {
    const { sql, params = [], sqlite, postgres, instead } = one;
    expect(flat(await answers.before.query(sql, params))).toEqual(sqlite);
    await expect(answers.after.query(sql, params)).rejects.toMatchObject({ code: String(postgres).slice(1) });
    for (const [text, values = [], rows = sqlite] of instead) {
      expect(flat(await answers.same(text, values))).toEqual(rows);
    }
  });
});

describe('writes that PostgreSQL refuses', () => {
  it.each(REFUSED_WRITES.map((one) => [one.title, one] as const))('%s', async (_, one) => {
    const { sql, params = [], postgres, instead } = one;
    const back = new Error('back');
    await expect(
      answers.before.transaction(async (tx) => {
        await tx.write(sql, params);
        throw back;
      }),
    ).rejects.toBe(back);
    await expect(answers.after.write(sql, params)).rejects.toMatchObject({ code: postgres });
    for (const [text, values = []] of instead) await answers.sameWrite(text, values);
  });
});

describe('names of columns', () => {
  it('expressions without AS', async () => {
    expect(await answers.before.query('SELECT max(i), max(id) FROM k')).toEqual([
      { 'max(i)': 5, 'max(id)': 3 },
    ]);
    // Both have the same name there, and an object has room for one.
    expect(await answers.after.query('SELECT max(i), max(id) FROM k')).toEqual([{ max: 3 }]);
    await answers.same('SELECT max(i) AS i, max(id) AS id FROM k');
  });

  it('capitals without quotes', async () => {
    expect(await answers.before.query('SELECT i AS maxI FROM k WHERE id = 1')).toEqual([{ maxI: 5 }]);
    expect(await answers.after.query('SELECT i AS maxI FROM k WHERE id = 1')).toEqual([{ maxi: 5 }]);
    await answers.same('SELECT i AS "maxI" FROM k WHERE id = 1');
  });

  it('`SELECT *` with generated columns', async () => {
    const [before, after] = await answers.both((db) => db.query('SELECT * FROM computed'));
    expect(after).toEqual(before);
    expect([before, after].map(([row]) => Object.keys(row!))).toEqual([
      ['id', 'twice', 'n'],
      ['id', 'n', 'twice'],
    ]);
    await answers.same('SELECT id, n, twice FROM computed');
  });
});

it('every row of docs/queries.md has its test, and every test its row', () => {
  const text = readFileSync(new URL('../docs/queries.md', import.meta.url), 'utf8');
  const rows = [...text.matchAll(/^\| (.+?) +\| /gm)].map(([, cell]) => cell!.replaceAll('\\|', '|'));
  const shown = rows.filter((cell) => !/^(?:In the query|-+)$/.test(cell));
  const named = ['expressions without AS', 'capitals without quotes', '`SELECT *` with generated columns'];
  const titles = [...ANSWERED, ...REFUSED, ...REFUSED_WRITES].map(({ title }) => title);
  expect(shown.toSorted()).toEqual([...titles, ...named].toSorted());
});
