import { brief, column, planOf } from './support/plan.ts';

/** Kind of the empty column `t.at` beside the columns of another table, which have values. */
async function kindBeside(
  declared: string,
  others: [name: string, declared: string, value: string][],
): Promise<string> {
  const columns = others.map(([name, type]) => `${name} ${type}`).join(', ');
  const plan = await planOf(
    `CREATE TABLE t (id INTEGER PRIMARY KEY, at ${declared}); CREATE TABLE u (${columns});
     INSERT INTO u VALUES (${others.map(([, , value]) => value).join(', ')})`,
  );
  expect(brief(plan.blockers)).toEqual([]);
  return column(plan, 't', 'at').kind;
}

const [TEXT, OFFSET, MS, ISO] = [
  `'2026-11-25 09:12:12'`,
  `'2026-11-25 09:12:12.5+00:00'`,
  '1795597488566',
  `'2026-11-25T09:12:12.500Z'`,
];

describe('an empty column', () => {
  it.each<[string, [string, string, string][], string]>([
    // a date is written as the application's other dates are
    ['DATETIME', [['x', 'TIMESTAMP', TEXT]], 'timestamp'],
    ['DATETIME', [['x', 'DATETIME', MS]], 'bigint'],
    ['DATETIME', [['x', 'DATETIME', OFFSET]], 'text'],
    ['DATETIME', [['x', 'TIMESTAMP', ISO]], 'timestamptz'],
    ['DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP', [['x', 'DATETIME', ISO]], 'text'],
    ['DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP', [['x', 'DATETIME', OFFSET]], 'text'],
    // the default is a text, so numbers beside it make a mixture
    ['DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP', [['x', 'DATETIME', MS]], 'mixed'],
    ['DATE', [['x', 'DATE', MS]], 'bigint'],
    // which other dates do not tell
    ['DATE', [['x', 'DATETIME', MS]], 'text'],
    // the same name tells more than any date
    [
      'DATETIME',
      [
        ['x', 'DATETIME', TEXT],
        ['At', 'datetime', MS],
      ],
      'bigint',
    ],
    // where they disagree, whatever comes
    [
      'DATETIME',
      [
        ['x', 'DATETIME', TEXT],
        ['y', 'DATETIME', OFFSET],
      ],
      'text',
    ],
    [
      'DATETIME',
      [
        ['x', 'DATETIME', TEXT],
        ['y', 'DATETIME', MS],
      ],
      'mixed',
    ],
    ['TEXT', [['at', 'TEXT', `x'00'`]], 'mixed'],
    ['TEXT', [['at', 'TEXT', `'a'`]], 'text'],
    ['TEXT', [['at', 'BLOB', `x'00'`]], 'text'],
    ['INTEGER', [['at', 'INTEGER', `'word'`]], 'mixed'],
    ['INTEGER', [['other', 'INTEGER', `'word'`]], 'bigint'],
    // nothing tells
    ['DATETIME', [['x', 'TEXT', MS]], 'text'],
    ['DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP', [['x', 'TEXT', MS]], 'timestamp'],
  ])('%s beside %j is %s', async (declared, others, kind) => {
    expect(await kindBeside(declared, others)).toBe(kind);
  });

  it('says what decided', async () => {
    const plan = await planOf(
      `CREATE TABLE t (a DATETIME, b DATETIME); INSERT INTO t (b) VALUES (${MS}); CREATE TABLE u (a DATETIME)`,
    );
    expect(column(plan, 'u', 'a').why).toBe('no values yet; declared DATETIME; columns like it hold bigint');
  });

  it('keeps the type that the operator chose', async () => {
    const plan = await planOf(
      `CREATE TABLE t (a DATETIME, b DATETIME); INSERT INTO t (b) VALUES (${MS})`,
      undefined,
      { t: { skip: false, columns: { a: { type: 'timestamp' } } } },
    );
    expect(column(plan, 't', 'a').kind).toBe('timestamp');
  });
});
