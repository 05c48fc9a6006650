/** Reads that PostgreSQL answers differently; the tables are those of test/queries.test.ts. */
import type { Read } from './query-case.ts';

export const ANSWERED: Read[] = [
  {
    title: 'LIKE',
    sql: `SELECT id FROM k WHERE t LIKE 'an%' ORDER BY id`,
    sqlite: [1, 2],
    postgres: [2],
    instead: [
      [`SELECT id FROM k WHERE lower(t) LIKE lower(?) ORDER BY id`, ['An%']],
      [
        {
          sqlite: `SELECT id FROM k WHERE t LIKE 'an%' ORDER BY id`,
          postgres: `SELECT id FROM k WHERE t ILIKE 'an%' ORDER BY id`,
        },
      ],
    ],
  },
  {
    title: 'a backslash in LIKE',
    sql: `SELECT '\\x' LIKE '\\_' AS a`,
    sqlite: [1],
    postgres: [0],
    instead: [[`SELECT '\\x' LIKE '\\_' ESCAPE '!' AS a`]],
  },
  {
    title: 'the order of NULLs',
    sql: 'SELECT i FROM k ORDER BY i',
    sqlite: [null, -5, 5],
    postgres: [-5, 5, null],
    instead: [
      ['SELECT i FROM k ORDER BY i NULLS FIRST'],
      ['SELECT i FROM k ORDER BY i DESC NULLS LAST', [], [5, -5, null]],
    ],
  },
  {
    title: 'NOCASE columns',
    sql: `SELECT id FROM k WHERE nc = 'ANNA' ORDER BY id`,
    sqlite: [1, 2],
    postgres: [],
    instead: [[`SELECT id FROM k WHERE lower(nc) = lower(?) ORDER BY id`, ['ANNA']]],
  },
  {
    title: 'DISTINCT, GROUP BY and ORDER BY of NOCASE columns',
    sql: 'SELECT count(DISTINCT nc) AS n FROM k',
    sqlite: [1],
    postgres: [2],
    instead: [['SELECT count(DISTINCT lower(nc)) AS n FROM k']],
  },
  {
    title: '`lower` and `upper` beyond ASCII',
    sql: `SELECT upper('ä') AS a`,
    sqlite: ['ä'],
    postgres: ['Ä'],
    instead: [[`SELECT upper(t || 'ä') AS a FROM k WHERE id = 1`, [], ['ANNAä']]],
  },
  {
    title: 'text against a number',
    sql: `SELECT '1' = 1 AS a`,
    sqlite: [0],
    postgres: [1],
    instead: [[`SELECT '1' = CAST(1 AS TEXT) AS a`, [], [1]]],
  },
  {
    title: 'division in NUMERIC columns',
    sql: 'SELECT n / 2 AS a FROM k ORDER BY id',
    sqlite: [2, 0.25, 3],
    postgres: [2.5, 0.25, 3.5],
    instead: [
      ['SELECT n / 2.0 AS a FROM k ORDER BY id', [], [2.5, 0.25, 3.5]],
      ['SELECT CAST(trunc(n / 2.0) AS INTEGER) AS a FROM k ORDER BY id', [], [2, 0, 3]],
    ],
  },
  {
    title: 'sums of fractions in NUMERIC columns',
    sql: 'SELECT sum(v) AS a FROM money',
    sqlite: [0.30000000000000004],
    postgres: [0.3],
    instead: [['SELECT round(sum(v), 2) AS a FROM money', [], [0.3]]],
  },
  {
    title: '`CAST(… AS REAL)`',
    sql: 'SELECT CAST(16777217 AS REAL) AS a',
    sqlite: [16_777_217],
    postgres: [16_777_216],
    instead: [['SELECT CAST(16777217 AS DOUBLE PRECISION) AS a']],
  },
  {
    title: '`CAST(… AS INTEGER)` of a fraction',
    sql: 'SELECT CAST(2.7 AS INTEGER) AS a, CAST(-2.7 AS INTEGER) AS b',
    sqlite: [2, -2],
    postgres: [3, -3],
    instead: [['SELECT CAST(trunc(2.7) AS INTEGER) AS a, CAST(trunc(-2.7) AS INTEGER) AS b']],
  },
  {
    title: '`round` of a REAL',
    sql: 'SELECT round(r) AS a FROM k ORDER BY id',
    sqlite: [3, 0, 16_777_217],
    postgres: [2, 0, 16_777_217],
    instead: [['SELECT floor(r + 0.5) AS a FROM k ORDER BY id']],
  },
  {
    title: 'the text of a REAL',
    sql: `SELECT 'r' || (r * 2) AS a FROM k WHERE id = 1`,
    sqlite: ['r5.0'],
    postgres: ['r5'],
    instead: [['SELECT r * 2 AS a FROM k WHERE id = 1', [], [5]]],
  },
  {
    title: 'the text of a boolean',
    sql: `SELECT 'b' || b AS a FROM k WHERE id < 3 ORDER BY id`,
    sqlite: ['b1', 'b0'],
    postgres: ['btrue', 'bfalse'],
    instead: [[`SELECT 'b' || CAST(b AS INTEGER) AS a FROM k WHERE id < 3 ORDER BY id`]],
  },
  {
    title: '`substr` from the end',
    sql: 'SELECT substr(t, -2) AS a FROM k WHERE id = 1',
    sqlite: ['na'],
    postgres: ['Anna'],
    instead: [
      [
        {
          sqlite: 'SELECT substr(t, -2) AS a FROM k WHERE id = 1',
          postgres: 'SELECT right(t, 2) AS a FROM k WHERE id = 1',
        },
      ],
    ],
  },
  {
    title: "`x'…'`",
    sql: `SELECT x'0f' AS a`,
    sqlite: [Buffer.from([15])],
    postgres: ['00001111'],
    instead: [['SELECT id FROM k WHERE x = ?', [Buffer.from([0, 255])], [1]]],
  },
  {
    title: '`SELECT ?`',
    sql: 'SELECT ? AS a',
    params: [5],
    sqlite: [5],
    postgres: ['5'],
    instead: [['SELECT CAST(? AS INTEGER) AS a', [5]]],
  },
  {
    title: 'a number for a TEXT column',
    sql: 'SELECT id FROM k WHERE tj = ?',
    params: [5],
    sqlite: [],
    postgres: [2],
    instead: [['SELECT id FROM k WHERE tj = ?', ['5'], [2]]],
  },
  {
    title: 'a string for a BLOB column',
    sql: 'SELECT id FROM k WHERE x = ?',
    params: ['a'],
    sqlite: [],
    postgres: [2],
    instead: [['SELECT id FROM k WHERE x = ?', [Buffer.from('a')], [2]]],
  },
  {
    title: 'the text of a number in a column without a type',
    sql: 'SELECT id FROM k WHERE z = ?',
    params: ['5'],
    sqlite: [],
    postgres: [1],
    instead: [['SELECT id FROM k WHERE z = ?', [5], [1]]],
  },
  {
    title: 'expressions over columns of several storage classes',
    sql: 'SELECT z FROM k WHERE id = 1 UNION ALL SELECT max(z) FROM k WHERE id = 3',
    sqlite: [5, 5.5],
    postgres: ['5', '5.5'],
    instead: [['SELECT z FROM k WHERE id IN (1, 3) ORDER BY id']],
  },
  {
    title: 'digits in a TEXT column that has a NUL somewhere',
    sql: 'SELECT id FROM k WHERE nul = ?',
    params: ['007'],
    sqlite: [2],
    postgres: [],
    instead: [
      [
        {
          sqlite: 'SELECT id FROM k WHERE nul = ?',
          postgres: `SELECT id FROM k WHERE nul = '\\s' || ?`,
        },
        ['007'],
      ],
    ],
  },
  {
    title: 'another form of a date',
    sql: 'SELECT id FROM k WHERE dt = ?',
    params: ['2024-02-29T23:59:59Z'],
    sqlite: [],
    postgres: [1],
    instead: [['SELECT id FROM k WHERE dt = ?', ['2024-02-29 23:59:59'], [1]]],
  },
  {
    title: 'a part of a date, `2024-01-31`',
    sql: 'SELECT id FROM k WHERE iso > ? ORDER BY id',
    params: ['2024-01-31'],
    sqlite: [1, 2],
    postgres: [2],
    instead: [['SELECT id FROM k WHERE iso >= ? ORDER BY id', ['2024-01-31T00:00:00.000Z']]],
  },
  {
    title: 'the text of a `timestamptz`, `CAST(iso AS TEXT)`',
    sql: 'SELECT CAST(iso AS TEXT) AS a FROM k WHERE id = 2',
    sqlite: ['2024-01-31T12:34:56.789Z'],
    postgres: ['2024-01-31 12:34:56.789+00'],
    instead: [
      ['SELECT iso FROM k WHERE id = 2'],
      [
        {
          sqlite: 'SELECT CAST(iso AS TEXT) AS a FROM k WHERE id = 2',
          postgres: `SELECT to_char(iso, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS a FROM k WHERE id = 2`,
        },
      ],
    ],
  },
  {
    title: 'arithmetic with dates',
    sql: 'SELECT d - 1 AS a FROM k WHERE id = 1',
    sqlite: [2023],
    postgres: ['2024-02-28'],
    instead: [
      [
        {
          sqlite: `SELECT date(d, '-1 day') AS a FROM k WHERE id = 1`,
          postgres: 'SELECT d - 1 AS a FROM k WHERE id = 1',
        },
        [],
        ['2024-02-28'],
      ],
    ],
  },
  {
    title: '`->>`',
    sql: `SELECT j ->> 'a' AS a FROM k WHERE j IS NOT NULL ORDER BY id`,
    sqlite: [1, 1.5],
    postgres: ['1', '1.5'],
    instead: [
      [`SELECT CAST(j ->> 'a' AS DOUBLE PRECISION) AS a FROM k WHERE j IS NOT NULL ORDER BY id`],
      [`SELECT id FROM k WHERE j ->> 'b' = 'x'`, [], [1]],
    ],
  },
  {
    title: 'paths in JSON',
    sql: `SELECT j ->> '$.b' AS a FROM k WHERE id = 1`,
    sqlite: ['x'],
    postgres: [null],
    instead: [[`SELECT j ->> 'b' AS a FROM k WHERE id = 1`]],
  },
];
