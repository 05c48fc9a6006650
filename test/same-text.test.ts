/** The one-pass comparison of SQLite's buffers with COPY text: what it takes for equal is. */
import Database from 'better-sqlite3';
import { ChunkReader } from '../src/databases/sqlite/chunk.ts';
import { CopyBuffer } from '../src/databases/sqlite/copy-buffer.ts';
import { RawRows } from '../src/databases/sqlite/raw-rows.ts';
import { IS_PLAIN_TEXT } from '../src/databases/sqlite/encode.ts';
import { isPlainText } from '../src/databases/mixed.ts';
import { sameRows } from '../src/engine/compare.ts';
import { sameText } from '../src/engine/same-text.ts';
import { planMigration } from '../src/engine/plan.ts';
import { DEFAULT_INPUT, type TablePlan } from '../src/contract.ts';
import { seeded } from './support/random.ts';

const SCHEMA = `
  CREATE TABLE t (k TEXT PRIMARY KEY, r REAL, n DECIMAL(9, 2), m, b BLOB, s TEXT, i INT) WITHOUT ROWID;
  INSERT INTO t VALUES ('a', 0.1, 7, 5, x'00ff', '', 1), ('b', NULL, NULL, NULL, NULL, NULL, NULL),
    ('c' || char(9, 10, 8, 13, 92), -0.0, 2.5, '5', x'', '\\N', -1), ('d', 9e999, 3, 5.0, x'0a', 'é🙂', 0),
    ('e', 1e300, 1, x'09', NULL, char(92), 9), ('f', 1.0, 1.5, 0.1, NULL, ' ', 2);
`;

async function read(): Promise<{ table: TablePlan; raw: RawRows; text: Buffer; db: Database.Database }> {
  const db = new Database(':memory:');
  db.function(IS_PLAIN_TEXT, { deterministic: true }, (bytes) => Number(isPlainText(bytes as Buffer)));
  db.exec(SCHEMA);
  const table = (await planMigration(db, DEFAULT_INPUT)).tables[0]!;
  const [raw, text] = [new RawRows(), new CopyBuffer()];
  const last = new ChunkReader(db, table).read(null, 100, raw).last;
  expect(new ChunkReader(db, table).read(null, 100, text)).toEqual({ rows: 6, last, setAside: [] });
  return { table, raw, text: Buffer.from(text.contents), db };
}

it('finds rows equal that are, and sees every byte that is not', async () => {
  const { table, raw, text, db } = await read();
  expect(sameText(table, raw, text)).toBe(true);
  // As PostgreSQL spells them.
  const there = text
    .toString('latin1')
    .replace('0.10000000000000001', '0.1')
    .replace('\tInf\t', '\tInfinity\t')
    .replace('1.0000000000000001e+300', '1e+300');
  expect(there).not.toBe(text.toString('latin1'));
  expect(sameText(table, raw, Buffer.from(there, 'latin1'))).toBe(true);
  const random = seeded('same text');
  for (let at = 0; at <= text.length; at++) {
    for (const change of ['other', 'gone', 'more'] as const) {
      const byte = Buffer.from([random.pick([0x09, 0x0a, 0x30, 0x4e, 0x5c, 0x61, 0xff, random.below(256)])]);
      const changed = Buffer.concat([
        text.subarray(0, at),
        ...(change === 'gone' ? [] : [byte]),
        text.subarray(change === 'more' ? at : at + 1),
      ]);
      // It may leave the odd spelling of a number to the closer look, and never the other way round.
      if (!sameRows(table, text, changed))
        expect({ at, change, same: sameText(table, raw, changed) }).toEqual({ at, change, same: false });
    }
  }
  db.close();
});

it.each([
  ['in the last row', `CAST(x'61ff62' AS TEXT)`, 'zz'],
  ['in another', `CAST(x'61ff62' AS TEXT)`, 'aa'],
  ['that looks like a row', `CAST(x'61fe7aff31ff31ff31ff31ff31ff31' AS TEXT)`, 'zz'],
  ['that looks like NULL', `CAST(x'fd000000000000' AS TEXT)`, 'aa'],
])('never takes a text for equal that is not valid UTF-8 (%s)', async (_, sql, key) => {
  const { table, db } = await read();
  db.exec(`INSERT INTO t (k, s) VALUES ('${key}', ${sql})`);
  const [raw, text] = [new RawRows(), new CopyBuffer()];
  const reader = new ChunkReader(db, table);
  const there: Buffer[] = [];
  let rows = 0;
  for (let after = reader.read(null, 1, text).last; after !== null;) {
    const chunk = reader.read(after, 100, raw);
    rows += chunk.rows;
    if (!raw.appendTo(text, table.columns.length)) expect(sameText(table, raw, text.contents)).toBe(false);
    there.push(Buffer.from(text.contents));
    for (const one of there) if (chunk.setAside.length > 0) expect(sameText(table, raw, one)).toBe(false);
    raw.clear();
    after = chunk.last;
  }
  // No row was passed over by a key that is none.
  expect(rows).toBe(6);
  db.close();
});
