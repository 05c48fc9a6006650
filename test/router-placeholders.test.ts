import { numberPlaceholders, postgresText } from '../src/router/placeholders.ts';

describe('placeholders', () => {
  it.each([
    ['SELECT 1', 'SELECT 1'],
    ['SELECT ? + ?', 'SELECT $1 + $2'],
    [`SELECT '?' || ?`, `SELECT '?' || $1`],
    [`SELECT 'it''s ?' , ?`, `SELECT 'it''s ?' , $1`],
    [`SELECT "a?""?" FROM t WHERE x=?`, `SELECT "a?""?" FROM t WHERE x=$1`],
    ['SELECT ? -- why?\n, ?', 'SELECT $1 -- why?\n, $2'],
    ["SELECT ? -- it's\n, ?", "SELECT $1 -- it's\n, $2"],
    ['SELECT /* ? /* ? */ ? */ ?', 'SELECT /* ? /* ? */ ? */ $1'],
    ['SELECT $$ ? $$, ?', 'SELECT $$ ? $$, $1'],
    ['SELECT $a$ ? $$ ? $a$, ?', 'SELECT $a$ ? $$ ? $a$, $1'],
    // Within a word a dollar opens nothing.
    ['SELECT a$b$ , ? , c$b$', 'SELECT a$b$ , $1 , c$b$'],
    [`SELECT E'\\'?' , ?`, `SELECT E'\\'?' , $1`],
    [`SELECT e'a''\\\\' , ?`, `SELECT e'a''\\\\' , $1`],
    // Only the letter E by itself begins an escape string: here the backslash ends nothing.
    [`SELECT date'\\', ?, '?'`, `SELECT date'\\', $1, '?'`],
    [`SELECT E'a'\n  'b\\'?' , ?`, `SELECT E'a'\n  'b\\'?' , $1`],
    [`SELECT 'a'\n  'b\\', ? , '?'`, `SELECT 'a'\n  'b\\', $1 , '?'`],
    [`SELECT U&'\\0061?' , ?`, `SELECT U&'\\0061?' , $1`],
    ['SELECT a-?/?*?', 'SELECT a-$1/$2*$3'],
    ['SELECT ?2, ?1, ?', 'SELECT $2, $1, $3'],
    [`SELECT j ?? 'key', ?`, `SELECT j ? 'key', $1`],
    ['SELECT x::text[1][?]', 'SELECT x::text[1][$1]'],
    ['SELECT naïve?', 'SELECT naïve$1'],
    ['INSERT INTO t VALUES (?,?,?)', 'INSERT INTO t VALUES ($1,$2,$3)'],
    [`SELECT 'unterminated ?`, `SELECT 'unterminated ?`],
  ])('%s', (sqlite, postgres) => {
    expect(numberPlaceholders(sqlite)).toBe(postgres);
    expect(numberPlaceholders(sqlite)).toBe(postgres);
  });

  it('numbers what is outside and keeps what is inside of any nesting of quotes', () => {
    const seed = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
    console.info(`placeholders: TEST_SEED=${seed}`);
    let state = seed + 1;
    const random = (n: number): number => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return Math.floor((state / 2 ** 32) * n);
    };
    const letters = [`?`, `'`, `"`, `\\`, `$`, `-`, `/`, `*`, `e`, `E`, ` `, `\n`, `a`, `1`, `é`];
    const noise = (without: string): string =>
      Array.from({ length: random(8) }, () => letters[random(letters.length)] ?? '')
        .join('')
        .replaceAll(new RegExp(without, 'g'), '_');
    // Each piece keeps its text whatever stands next to it; pieces are set apart by a blank.
    const pieces: (() => string)[] = [
      () => `'${noise(`'`)}'`,
      () => `'${noise(`'`)}''${noise(`'`)}'`,
      () => `"${noise(`"`)}"`,
      () => `"${noise(`"`)}""${noise(`"`)}"`,
      () => `E'${noise(`['\\\\]`)}\\'${noise(`['\\\\]`)}''\\\\'`,
      () => `$q$${noise('[$]')}$q$`,
      () => `$$${noise('[$]')}$$`,
      () => `--${noise('\n')}\n`,
      () => `/*${noise('[*/]')}/* ${noise('[*/]')}*/ ${noise('[*/]')}*/`,
      () => `date'${noise(`'`)}'`,
      () => `name$q$1`,
    ];
    for (let round = 0; round < 3_000; round += 1) {
      let sql = '';
      let expected = '';
      let count = 0;
      for (let i = random(7); i >= 0; i -= 1) {
        if (random(2) === 0) {
          sql += ' ? ';
          expected += ` $${(count += 1)} `;
        } else {
          // A comma in between, because a string after a line break would go on with the one before.
          const piece = pieces[random(pieces.length)]?.() ?? '';
          sql += ` ,${piece} `;
          expected += ` ,${piece} `;
        }
      }
      expect(numberPlaceholders(sql)).toBe(expected);
    }
  });

  it('takes the text of its dialect', () => {
    expect(postgresText({ sqlite: 'SELECT ?', postgres: 'SELECT ?::int' })).toBe('SELECT $1::int');
  });

  it.each([
    'BEGIN',
    ' commit;',
    '-- x\nROLLBACK',
    '/* x */ savepoint a',
    'START TRANSACTION',
    "PREPARE TRANSACTION 'x'",
  ])('refuses %s', (sql) => {
    expect(() => postgresText(sql)).toThrow(expect.objectContaining({ code: 'InvalidInput' }));
  });

  it('does not mistake other statements for transaction control', () => {
    for (const sql of [
      'SELECT 1',
      'REPLACE INTO t VALUES (1)',
      'WITH begin AS (SELECT 1) SELECT * FROM begin',
    ]) {
      expect(postgresText(sql)).toBe(sql);
    }
  });
});
