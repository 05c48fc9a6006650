/** Dates of one form that PostgreSQL gives back: each form as a whole migration sees it, and its SQL against JavaScript's. */
import Database from 'better-sqlite3';
import type { MomentKind } from '../src/contract.ts';
import { keyInput } from '../src/databases/key.ts';
import {
  isMomentText,
  MOMENT_KINDS,
  momentAdmitsSql,
  momentFitsSql,
  momentForm,
  momentPattern,
  momentSql,
  momentText,
  momentTextSql,
  momentType,
} from '../src/databases/moment.ts';
import { PostgresAdapter } from '../src/router/adapters/postgres.ts';
import { TestMigration } from './support/migration.ts';
import { brief, column, planOf, seededRandom } from './support/plan.ts';
import { differences } from './support/same.ts';
import { tamper } from './support/tamper.ts';

/** A moment as its fields, written in a form by rules of this test's own. */
function written(kind: MomentKind, seconds: string, micros: string): string {
  const [, separator, digits = '', zone] = /DD(.)HH:MM:SS(?:\.(S+))?(.*)$/.exec(momentForm(kind))!;
  const fraction = digits === '' ? '' : `.${micros.slice(0, digits.length)}`;
  return `${seconds.replace(' ', separator!)}${fraction}${zone}`;
}

const FIELDS: [seconds: string, micros: string][] = [
  ['2024-01-31 12:34:56', '123456'],
  ['2024-01-31 12:34:56', '123450'],
  ['2024-02-29 00:00:00', '000000'],
  ['2024-02-29 10:20:30', '100000'],
  ['0001-01-01 00:00:00', '000000'],
  ['1969-12-31 23:59:59', '001001'],
  ['9999-12-31 23:59:59', '999999'],
];

describe.each(MOMENT_KINDS)('%s', (kind) => {
  const at = FIELDS.map(([seconds, micros]) => written(kind, seconds, micros));
  const unlike = MOMENT_KINDS.filter((other) => other !== kind).map((other) =>
    written(other, '2024-01-31 12:34:56', '123456'),
  );
  let migration: TestMigration;

  beforeEach(async () => {
    migration = await TestMigration.create(`
      CREATE TABLE visits (id INTEGER, at DATETIME, left_at TIMESTAMP NULL CHECK (left_at > '0000-'), PRIMARY KEY (id, at));
      CREATE UNIQUE INDEX visits_late ON visits (left_at DESC) WHERE left_at > '${at[0]!}';
      CREATE TABLE days (day DATE PRIMARY KEY, noon DATETIME AS (datetime(day)) STORED);
      INSERT INTO days VALUES ('2024-01-31'), ('0001-01-01');
      CREATE VIEW noons AS SELECT datetime(day) AS noon FROM days;
      CREATE VIEW shown AS SELECT max(at) AS last, min(left_at) AS first, count(*) AS n, 'at ' || min(at) AS said FROM visits;
      CREATE VIEW made AS SELECT coalesce(left_at, at) AS either, substr(at, 1, 10) AS day FROM visits;`);
    const insert = migration.app.prepare('INSERT INTO visits VALUES (?, ?, ?)');
    at.forEach((text, i) => insert.run(BigInt(i), text, i % 2 === 0 ? text : null));
  });

  afterEach(() => migration.dispose());

  it('arrives, is compared, read alike, guarded and comes back byte for byte', async () => {
    await migration.begin();
    expect(column(migration.plan, 'visits', 'at')).toMatchObject({
      kind,
      targetType: momentType(kind),
      why: `holds only dates written ${momentForm(kind)} (7 values); declared DATETIME`,
    });
    expect(migration.plan.notices.filter(({ table }) => table === 'visits')).toEqual([]);
    await migration.copy();
    const changed = written(kind, '2023-05-06 07:08:09', '010000');
    migration.app.prepare('UPDATE visits SET left_at = ? WHERE id = 1').run(changed);
    migration.app.prepare('UPDATE visits SET at = ? WHERE id = 2').run(changed);
    await migration.catchUp();
    expect(await migration.index()).toEqual({ created: 3, leftOut: [], leftOutCount: 0 });
    expect(await migration.verify()).toMatchObject({ equal: true });
    expect(await migration.verify('sample')).toMatchObject({ equal: true });
    expect(await differences(migration.app, migration.target, migration.plan)).toEqual([]);
    await tamper(
      migration.target,
      ['visits'],
      `UPDATE visits SET left_at = left_at + interval '1 s' WHERE id = 1`,
    );
    for (const mode of ['full', 'sample'] as const) {
      expect((await migration.verify(mode)).mismatches).toMatchObject([
        { table: 'visits', column: 'left_at' },
      ]);
    }
    await tamper(
      migration.target,
      ['visits'],
      `UPDATE visits SET left_at = left_at - interval '1 s' WHERE id = 1`,
    );

    const adapter = new PostgresAdapter(migration.endpoints.targetUrl);
    try {
      for (const sql of [
        'SELECT id, at, left_at FROM visits ORDER BY id',
        'SELECT min(at) AS a, max(left_at) AS b, count(DISTINCT at) AS c FROM visits',
        'SELECT last, first, n, said FROM shown',
        'SELECT either, day FROM made ORDER BY either',
        'SELECT day, noon FROM days ORDER BY day',
        'SELECT noon FROM noons ORDER BY noon',
        'SELECT at FROM visits UNION SELECT left_at FROM visits WHERE left_at IS NOT NULL ORDER BY 1',
      ]) {
        expect({ sql, rows: await adapter.query(sql) }).toEqual({
          sql,
          rows: migration.app.prepare(sql).all(),
        });
      }
      expect(await adapter.query('SELECT id FROM visits WHERE at = ?', [changed])).toEqual([{ id: 2 }]);

      await migration.cutOver();
      const [first] = (await adapter.write('INSERT INTO visits VALUES (100, ?, NULL) RETURNING at', [at[1]!]))
        .rows;
      expect(first).toEqual({ at: at[1] });
      const finest = momentForm(kind).includes('SSSSSS') ? [] : ["'2024-01-31 00:00:00.0000010'"];
      for (const value of ["'infinity'", "'10000-01-01 00:00:00'", "'0001-01-01 00:00:00 BC'", ...finest]) {
        await expect(
          migration.target.query(`UPDATE visits SET left_at = ${value} WHERE id = 100`),
        ).rejects.toThrow(/crossfade_left_at/);
      }
      await migration.reverseCatchUp();
      expect(migration.app.prepare('SELECT at FROM visits WHERE id = 100').pluck().get()).toBe(at[1]);
      expect(await differences(migration.app, migration.target, migration.plan)).toEqual([]);
    } finally {
      await adapter.close();
    }
  });

  it('sets later values of any other form aside by their key', async () => {
    await migration.begin();
    await migration.copy();
    const others = [
      ...unlike,
      at[0]!.replace('01-31', '02-30'),
      at[0]!.replace('12:34', '24:00'),
      `0000${at[0]!.slice(4)}`,
      `${at[0]!}\0`,
      at[0]!.replace('+00:00', '+01:00').replace('Z', 'z').replace(':56', ':60'),
      'infinity',
    ];
    const insert = migration.app.prepare('INSERT INTO visits VALUES (?, ?, ?)');
    others.forEach((text, i) => insert.run(BigInt(1000 + i), at[0], text));
    await migration.catchUp();
    const { rows } = await migration.target.query<{ key: string }>('SELECT key FROM crossfade.quarantine');
    expect(rows).toHaveLength(others.length);
    expect(await differences(migration.app, migration.target, migration.plan)).toHaveLength(others.length);
    migration.app.exec('UPDATE visits SET left_at = NULL WHERE id >= 1000');
    await migration.catchUp();
    expect(await differences(migration.app, migration.target, migration.plan)).toEqual([]);
  });
});

it('is written by SQLite, JavaScript and PostgreSQL alike, for random moments', async () => {
  const { seed, below } = seededRandom();
  const migration = await TestMigration.create('CREATE TABLE t (id INTEGER PRIMARY KEY)');
  const db = new Database(':memory:');
  try {
    for (const kind of MOMENT_KINDS) {
      const made = Array.from({ length: 200 }, () => {
        const ms = -62135596800000 + below(315537897599) * 1000;
        const micros = String(below(1_000_000)).padStart(6, '0');
        const cut = [micros, `${micros.slice(0, 2)}0000`, '000000'][below(3)]!;
        return written(kind, new Date(ms).toISOString().slice(0, 19).replace('T', ' '), cut);
      });
      const c = 'value';
      const sqlite = db
        .prepare(
          `SELECT ${momentSql(kind, c)} AS text, ${momentAdmitsSql(kind, c)} AS admits, ${momentFitsSql(kind, c)} AS fits FROM json_each(?)`,
        )
        .all(JSON.stringify(made)) as { text: string; admits: number; fits: number }[];
      const type = momentType(kind);
      const { rows } = await migration.target.query<{ text: string; formed: string; shown: string }>({
        text: `SELECT v::text AS text, ${momentTextSql(kind, 'v')} AS formed,
                      to_char(${type === 'timestamptz' ? `timezone('UTC', v)` : 'v'}, $2) AS shown
                 FROM (SELECT x::${type} AS v, n FROM unnest($1::text[]) WITH ORDINALITY AS u(x, n)) s ORDER BY n`,
        values: [made, momentPattern(kind)],
      });
      made.forEach((text, i) => {
        const there = { seed, kind, ...sqlite[i]!, input: keyInput(text, { kind }), ...rows[i]!, back: momentText(kind, rows[i]!.text) }; // prettier-ignore
        const inUtc = sqlite[i]!.text;
        expect(there).toEqual({ seed, kind, text: inUtc, admits: 1, fits: 1, input: inUtc, formed: text, shown: text, back: text }); // prettier-ignore
        expect(MOMENT_KINDS.filter((other) => isMomentText(other, text))).toEqual([kind]);
      });
    }
  } finally {
    db.close();
    await migration.dispose();
  }
});

describe('several forms for one type', () => {
  it('leave the type to the form of the most columns; the others are text, with a notice', async () => {
    const plan = await planOf(`
      CREATE TABLE a (x DATETIME, y DATETIME, z DATETIME, e DATETIME, n TEXT);
      CREATE TABLE b (x DATETIME, d DATETIME DEFAULT CURRENT_TIMESTAMP);
      INSERT INTO a (x, y, z) VALUES ('2024-01-31 12:34:56', '2024-01-31 12:34:56.789', '2024-01-31T12:34:56.789Z');
      INSERT INTO b (x) VALUES ('2024-01-31 12:34:56.789'), ('2024-01-31 12:34:56.000');
      UPDATE b SET d = NULL;`);
    const kinds = plan.tables.flatMap(({ name, columns }) =>
      columns.map(({ name: c, kind }) => `${name}.${c} ${kind}`),
    );
    expect(kinds).toEqual([
      'a.x text',
      'a.y timestamp3',
      'a.z timestamptz',
      'a.e text',
      'a.n text',
      'a.rowid bigint',
      'b.x timestamp3',
      'b.d text',
      'b.rowid bigint',
    ]);
    expect(column(plan, 'a', 'x').why).toContain(
      'written YYYY-MM-DD HH:MM:SS, others YYYY-MM-DD HH:MM:SS.SSS',
    );
    expect(brief(plan.notices)).toContain('other-date-form a.x');
  });

  it('are a blocker where overrides ask for both', async () => {
    const plan = await planOf(
      `CREATE TABLE a (x DATETIME, y DATETIME);
       INSERT INTO a VALUES ('2024-01-31 12:34:56', '2024-01-31 12:34:56.789');`,
      undefined,
      { a: { skip: false, columns: { x: { type: 'timestamp' }, y: { type: 'timestamp' } } } },
    );
    expect(plan.blockers).toMatchObject([{ code: 'override', table: 'a', column: 'y' }]);
  });
});
