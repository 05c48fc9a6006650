/** The encoder: what it sends arrives bit by bit, and what has no exact form is set aside by key, never changed, never lost. */
import Database from 'better-sqlite3';
import { DEFAULT_INPUT, type ColumnKind, type TablePlan } from '../src/contract.ts';
import { ChunkReader } from '../src/databases/sqlite/chunk.ts';
import { CopyBuffer, toCopyText } from '../src/databases/sqlite/copy-buffer.ts';
import type * as Encode from '../src/databases/sqlite/encode.ts';
import { NULL_MARK, proveEncoder } from '../src/databases/sqlite/encode.ts';
import { splitCells, splitLines, unescapeCell } from '../src/databases/postgres/copy-text.ts';
import { keyText, parseKeyText, type KeyValue } from '../src/databases/key.ts';
import { planMigration } from '../src/engine/plan.ts';
import { TestMigration } from './support/migration.ts';
import { seeded, type Random } from './support/random.ts';
import { differences } from './support/same.ts';

const TRICKY = [
  '',
  '\\N',
  '\\.',
  '\\x41',
  'tab\tfeed\nreturn\rback\\slash',
  '\b\v\f\u007f\u0001',
  '\ufffd',
  '\uffff\u{10ffff}',
  'é É 漢字 🎉',
  "'; DROP TABLE x; --",
];
const DOUBLES = [
  0.1, 1 / 3, 5e-324, 2.2250738585072014e-308, Number.MAX_VALUE, -Number.MAX_VALUE, Infinity, -Infinity, 1e21, -0,
  2 ** 53, 1e15 + 0.5, 123456789.12345678,
]; // prettier-ignore
const INTEGERS = [0n, 1n, -1n, 2n ** 63n - 1n, -(2n ** 63n), 2n ** 53n + 1n, -(2n ** 53n) - 1n];

function randomDouble(random: Random): number {
  for (;;) {
    const value = random.bytes(8).readDoubleBE();
    if (!Number.isNaN(value)) return value;
  }
}

function randomText(random: Random): string {
  const length = random.below(20);
  let text = '';
  for (let i = 0; i < length; i++) {
    const point = random.chance(0.5) ? 1 + random.below(127) : 1 + random.below(0x10ffff);
    text += point >= 0xd800 && point <= 0xdfff ? '\t' : String.fromCodePoint(point);
  }
  return text;
}

describe('values that have an exact form', () => {
  it('arrive bit by bit, in chunks of any size', async () => {
    const random = seeded('encode');
    const migration = await TestMigration.create(`
      CREATE TABLE v (id INTEGER PRIMARY KEY, i INT, r REAL, t TEXT, b BLOB, f BOOLEAN, n DECIMAL(20, 6), d DATE, s DATETIME,
        j JSON, m NUMERIC, u);
      CREATE TABLE one (k TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID;
      CREATE TABLE pair (a TEXT, b BLOB, PRIMARY KEY (a, b)) WITHOUT ROWID;
    `);
    try {
      const { app } = migration;
      const insert = app.prepare(`INSERT INTO v VALUES (${Array(12).fill('?').join()})`);
      const rowsBefore = 400;
      const add = (id: number): void => {
        const or = <T>(value: T): T | null => (random.chance(0.1) ? null : value);
        insert.run(
          random.chance(0.02) && id > 3 ? random.bytes(8).readBigInt64BE() : id,
          or(random.chance(0.5) ? random.pick(INTEGERS) : random.bytes(8).readBigInt64BE()),
          or(random.chance(0.4) ? random.pick(DOUBLES) : randomDouble(random)),
          or(random.chance(0.4) ? random.pick(TRICKY) : randomText(random)),
          or(random.chance(0.2) ? Buffer.alloc(0) : random.bytes(random.below(40))),
          or(BigInt(random.below(2))),
          or(random.chance(0.5) ? BigInt(random.below(1000)) : random.below(1_000_000) / 1000),
          or(`20${10 + random.below(89)}-0${1 + random.below(9)}-1${random.below(9)}`),
          or(
            `19${10 + random.below(89)}-1${random.below(3)}-0${1 + random.below(9)} 2${random.below(4)}:59:0${random.below(9)}`,
          ),
          or(random.pick(['{"a": 1.0,  "a":2}', '[]', '"\\u0000"', 'null', '"é"'])),
          // Integers and doubles of 17 digits in one column: only double precision holds both.
          or(random.chance(0.5) ? BigInt(random.below(2 ** 40)) : Math.abs(random.pick(DOUBLES.slice(0, 4)))),
          or(random.chance(0.5) ? randomDouble(random) : random.pick(DOUBLES)),
        );
      };
      for (let id = 1; id <= rowsBefore; id++) add(id);
      for (const text of TRICKY) app.prepare('INSERT OR IGNORE INTO one VALUES (?)').run(text);
      for (let i = 0; i < 100; i++)
        app
          .prepare('INSERT OR IGNORE INTO pair VALUES (?, ?)')
          .run(random.pick(TRICKY), random.bytes(random.below(3)));
      await migration.begin();
      const kinds = migration.plan.tables
        .find(({ name }) => name === 'v')!
        .columns.map((column) => column.kind);
      expect(kinds).toEqual<ColumnKind[]>(
        ['bigint', 'bigint', 'double', 'text', 'bytea', 'boolean', 'numeric', 'date', 'timestamp', 'json', 'double', 'double'], // prettier-ignore
      );
      await migration.copy({ batchRows: 7, batchBytes: 500 });
      expect(await quarantine(migration)).toEqual([]);
      expect(await differences(app, migration.target, migration.plan)).toEqual([]);
      // The same through replay.
      for (let id = rowsBefore + 1; id <= rowsBefore + 300; id++) add(id);
      // -n and not n + 1: a sum of decimals may need more than 15 digits, and is then rightly set aside.
      app.exec('UPDATE v SET t = t || t, n = -n WHERE id % 3 = 0');
      await migration.catchUp();
      expect(await quarantine(migration)).toEqual([]);
      expect(await differences(app, migration.target, migration.plan)).toEqual([]);
    } finally {
      await migration.dispose();
    }
  });
});

async function quarantine(migration: TestMigration): Promise<string[]> {
  const { rows } = await migration.target.query<{ table_id: number; key: string }>(
    'SELECT table_id, key FROM crossfade.quarantine',
  );
  const nameOf = (id: number): string => migration.plan.tables.find((table) => table.id === id)!.name;
  return rows.map((row) => `${nameOf(row.table_id)} ${row.key}`).sort();
}

/** Each is SQL of a value that the planned kind of its column cannot hold, by column. */
const MISFITS: Record<string, string[]> = {
  i: [`'abc'`, '1.5', `x'00'`, `'5' || char(9) || '0'`],
  r: [`'abc'`, `x'00'`],
  t: [`x'41'`, `'a' || char(0) || 'b'`, `CAST(x'ff' AS TEXT)`, `CAST(x'61fe62' AS TEXT)`, `CAST(x'fd' AS TEXT)`,
    `CAST(x'80' AS TEXT)`, `CAST(x'eda080' AS TEXT)`, `CAST(x'c3' AS TEXT)`, `CAST(x'fffffe' AS TEXT)`],
  b: [`'text'`, '1', '1.5'],
  f: ['2', '-1', `'true'`, '0.5'],
  n: ['0.1 + 0.2', `'abc'`, '1e300', `x'00'`],
  d: [`'2024-02-30'`, `'0000-00-00'`, `'today'`, '2024', `'2024-01-01 '`],
  s: [`'2024-01-01T00:00:00'`, `'2024-01-01 00:00:00.5'`, `'2024-01-01 24:00:00'`, '0', `'2024-02-30 00:00:00'`,
    `'2024-01-01 00:00:00' || char(0)`],
  j: [`'{'`, '5', `x'7b7d'`],
  m: [`'abc'`, '9007199254740993', '9223372036854775807'],
  u: ['1', `'1.5'`, `x'00'`],
}; // prettier-ignore

const UNFORESEEN = `
  CREATE TABLE v (id INTEGER PRIMARY KEY, i INT, r REAL, t TEXT, b BLOB, f BOOLEAN, n DECIMAL(20, 6), d DATE, s DATETIME,
    j JSON, m NUMERIC, u);
  INSERT INTO v VALUES (1, 1, 1.5, 't', x'00', 1, 1.5, '2024-01-01', '2024-01-01 00:00:00', '[]', 0.1 + 0.2, 1.5);
  CREATE TABLE words (k TEXT PRIMARY KEY, v INT);
  CREATE TABLE days (k DATE NOT NULL, w TEXT NOT NULL, v INT, PRIMARY KEY (k, w)) WITHOUT ROWID;
  CREATE TABLE loose (k PRIMARY KEY NOT NULL, v INT);
  INSERT INTO words VALUES ('a', 1), ('z', 1); INSERT INTO days VALUES ('2024-01-01', 'a', 1); INSERT INTO loose VALUES (1, 1), (2, 1);
`;

/** Writes rows that do not fit, and a good row beside each; returns how the quarantine has to name them. */
function misbehave(app: Database.Database): string[] {
  const bad: string[] = [];
  let id = 100;
  for (const [column, values] of Object.entries(MISFITS)) {
    for (const value of values) {
      app.exec(`INSERT INTO v (id, ${column}) VALUES (${++id}, ${value})`);
      bad.push(`v ${keyText([BigInt(id)])}`);
      app.exec(`INSERT INTO v (id, t) VALUES (${++id}, 'good')`);
    }
  }
  // Keys that the target cannot hold.
  for (const hex of ['62ff', '62fe', '62efbfbdff', '80', '6200', '62006300']) {
    app.exec(`INSERT INTO words VALUES (CAST(x'${hex}' AS TEXT), 2)`);
    bad.push(
      `words ["${hex.includes('00') ? `t:${JSON.stringify(Buffer.from(hex, 'hex').toString()).slice(1, -1)}` : `u:${hex}`}"]`,
    );
  }
  app.exec(`INSERT INTO words VALUES ('b\ufffd', 3), (x'62', 3), (NULL, 3), (NULL, 4)`);
  bad.push('words ["b:62"]', 'words ["n:"]');
  for (const day of ['0000-00-00', '2023-02-29', 'never', '2024-01-01\0'])
    app.prepare('INSERT INTO days VALUES (?, ?, 1)').run(day, 'a');
  bad.push(
    ...['0000-00-00', '2023-02-29', 'never', '2024-01-01\0'].map((day) => `days ${keyText([day, 'a'])}`),
  );
  app.exec(`INSERT INTO loose VALUES (1.5, 1), ('2', 1), (x'32', 1); REPLACE INTO loose VALUES (2.0, 5)`);
  bad.push('loose ["r:1.5"]', 'loose ["t:2"]', 'loose ["b:32"]', 'loose ["r:2"]');
  return bad.sort();
}

/** Makes every row fit again, by deleting or by changing it. */
function reform(app: Database.Database): void {
  app.exec(`
    UPDATE v SET (i, r, t, b, f, n, d, s, j, m, u) = (2, 2.5, 'u', x'01', 0, 2.5, '2024-02-29', NULL, '{}', 7, 2.5) WHERE id % 4 = 1;
    DELETE FROM v WHERE id > 100 AND id % 4 = 3;
    DELETE FROM words WHERE k IS NULL OR typeof(k) = 'blob' OR (v = 2 AND hex(k) LIKE '62FF%');
    UPDATE words SET k = hex(k) WHERE v = 2;
    DELETE FROM days WHERE k = 'never';
    UPDATE days SET k = '2024-01-12', w = hex(k) WHERE hex(k) <> hex('2024-01-01');
    DELETE FROM loose WHERE typeof(k) <> 'integer';
  `);
}

describe.each(['copy', 'replay'] as const)('values that the plan did not foresee, met by the %s', (by) => {
  it('are quarantined by key, and leave the quarantine when they are mended', async () => {
    const migration = await TestMigration.create(UNFORESEEN);
    try {
      const { app } = migration;
      await migration.begin();
      let bad: string[];
      if (by === 'copy') {
        bad = misbehave(app);
        await migration.copy({ batchRows: 3, batchBytes: 100 });
      } else {
        await migration.copy();
        bad = misbehave(app);
      }
      await migration.catchUp();
      expect(await quarantine(migration)).toEqual(bad);
      // Everything else is there, nothing of the misfits is, and the verdict says so without calling it a difference.
      const found = await differences(app, migration.target, migration.plan);
      expect(found.filter((line) => line.includes('target only'))).toEqual([]);
      // Two rows without a key share a name in the quarantine.
      expect(found.filter((line) => line.includes('source only'))).toHaveLength(bad.length + 1);
      expect(await migration.verify()).toMatchObject({
        equal: false,
        mismatchCount: 0,
        quarantined: bad.length,
      });

      reform(app);
      await migration.catchUp();
      expect(await quarantine(migration)).toEqual([]);
      expect(await differences(app, migration.target, migration.plan)).toEqual([]);
      expect(await migration.verify()).toMatchObject({ equal: true });
    } finally {
      await migration.dispose();
    }
  });
});

it('quarantines a text that is too long for an index of the target', async () => {
  const migration = await TestMigration.create(`CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT UNIQUE)`);
  try {
    await migration.upToVerified();
    const random = seeded('long text');
    migration.app.prepare('INSERT INTO t VALUES (1, ?)').run(random.bytes(9_000).toString('hex'));
    migration.app.exec(`INSERT INTO t VALUES (2, 'short')`);
    await migration.catchUp();
    expect(await quarantine(migration)).toEqual(['t ["i:1"]']);
    expect((await migration.target.query('SELECT id FROM t')).rows).toEqual([{ id: '2' }]);
  } finally {
    await migration.dispose();
  }
});

describe('the text of COPY', () => {
  const table = {
    name: 't',
    key: ['id'],
    rowidAlias: true,
    largestRow: 10,
    columns: ['id', 'a', 'b'].map((name, i) => ({ name, declared: '', kind: i === 0 ? 'bigint' : 'text' })),
  } as unknown as TablePlan;

  it('is what the reader of COPY text reads back', () => {
    const random = seeded('copy text');
    const db = new Database(':memory:');
    db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, a, b)');
    const rows = Array.from({ length: 500 }, (_, i) => [
      String(i),
      random.chance(0.2) ? null : random.chance(0.5) ? random.pick(TRICKY) : randomText(random),
      random.chance(0.2) ? null : randomText(random),
    ]);
    for (const [id, a, b] of rows) db.prepare('INSERT INTO t VALUES (?, ?, ?)').run(BigInt(id!), a, b);
    const buffer = new CopyBuffer();
    new ChunkReader(db, table).read(null, 1_000, buffer);
    expect(splitLines(buffer.contents).map((line) => splitCells(line).map(unescapeCell))).toEqual(rows);
  });

  it('is refused where a text forges the structure', () => {
    const cell = (bytes: number[]): Buffer =>
      Buffer.concat([Buffer.from('1'), Buffer.from([0xff]), Buffer.from(bytes)]);
    expect(toCopyText(cell([0x61]), 2, 1)?.toString()).toBe('1\ta\n');
    for (const bytes of [
      [0xff],
      [0xfe],
      [0xfd],
      [0x61, 0xff, 0x62],
      [0xfe, 0x31, 0xff, 0x32],
      [0xfd, 1, 2, 3, 4, 5, 6],
    ])
      expect(toCopyText(cell(bytes), 2, 1)).toBeNull();
  });

  it('reads past keys with NULLs, which may come after the plan, in chunks of any size', async () => {
    const db = new Database(':memory:');
    db.exec('CREATE TABLE t (a TEXT, b INT, c INT, PRIMARY KEY (a, b, c))');
    const { tables } = await planMigration(db, DEFAULT_INPUT);
    const values = ['NULL', '1', '2'];
    const rows = values.flatMap((a) => values.flatMap((b) => values.map((c) => `(${a}, ${b}, ${c})`)));
    db.exec(`INSERT INTO t VALUES ${rows.join()}`);
    for (const limit of [1, 2, 5, 26, 100]) {
      const buffer = new CopyBuffer();
      const reader = new ChunkReader(db, tables[0]!);
      let read = 0;
      for (let after: KeyValue[] | null = null, chunk; ; after = chunk.last) {
        chunk = reader.read(after, limit, buffer);
        if (chunk.last === null) break;
        read += chunk.rows;
      }
      expect([limit, read]).toEqual([limit, 27]);
      expect(new Set(buffer.contents.toString().trimEnd().split('\n')).size).toBe(27);
    }
    db.close();
  });

  it('marks NULL without a byte of its structure', () => {
    for (let run = 0; run < 100; run++) {
      jest.isolateModules(() => {
        const { NONCE: nonce } = jest.requireActual<typeof Encode>('../src/databases/sqlite/encode.ts');
        expect(nonce.every((byte) => byte < NULL_MARK)).toBe(true);
      });
    }
  });

  it('holds doubles exactly with this library', () => {
    expect(() => proveEncoder(new Database(':memory:'))).not.toThrow();
  });
});

it('names a key of any class by one text, and finds it again', () => {
  const random = seeded('key text');
  const seen = new Set<string>();
  const values = [
    1n,
    1,
    '1',
    Buffer.from('1'),
    null,
    0,
    -0,
    '',
    Buffer.alloc(0),
    'i:1',
    '"',
    '\0',
    ...TRICKY,
    // The prefix keeps it apart from the values above, '' among them.
    `random ${randomText(random)}`,
  ];
  for (const value of values) {
    const text = keyText([value, 'x']);
    seen.add(text);
    expect(parseKeyText(text)).toEqual([value, 'x']);
  }
  expect(seen.size).toBe(values.length - (TRICKY.includes('') ? 1 : 0));
});
