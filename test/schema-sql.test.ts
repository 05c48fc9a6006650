import { affinityOf } from '../src/databases/sqlite/affinity.ts';
import { parseIndexSql } from '../src/databases/sqlite/index-sql.ts';
import { parseTableSql } from '../src/databases/sqlite/table-sql.ts';
import { tokenize } from '../src/databases/sqlite/tokens.ts';

describe('affinity', () => {
  // The table of https://sqlite.org/datatype3.html#affinity_name_examples, and the traps below it.
  it.each([
    ['INT', 'INTEGER'],
    ['INTEGER', 'INTEGER'],
    ['TINYINT', 'INTEGER'],
    ['UNSIGNED BIG INT', 'INTEGER'],
    ['INT8', 'INTEGER'],
    ['CHARACTER(20)', 'TEXT'],
    ['VARYING CHARACTER(255)', 'TEXT'],
    ['NATIVE CHARACTER(70)', 'TEXT'],
    ['NVARCHAR(100)', 'TEXT'],
    ['clob', 'TEXT'],
    ['BLOB', 'BLOB'],
    ['', 'BLOB'],
    ['BLOB SUB_TYPE TEXT', 'TEXT'],
    ['REAL', 'REAL'],
    ['DOUBLE PRECISION', 'REAL'],
    ['float', 'REAL'],
    ['NUMERIC', 'NUMERIC'],
    ['DECIMAL(10,5)', 'NUMERIC'],
    ['BOOLEAN', 'NUMERIC'],
    ['DATETIME', 'NUMERIC'],
    ['STRING', 'NUMERIC'],
    ['JSON', 'NUMERIC'],
    ['FLOATING POINT', 'INTEGER'],
    ['CHARINT', 'INTEGER'],
  ])('%s is %s', (declared, affinity) => {
    expect(affinityOf(declared)).toBe(affinity);
  });

  it('ANY converts nothing in a STRICT table only', () => {
    expect(affinityOf('ANY', true)).toBe('BLOB');
    expect(affinityOf('ANY')).toBe('NUMERIC');
  });
});

describe('tokens', () => {
  it('keeps quotes, comments and operators apart', () => {
    const tokens = tokenize(`a-- 'x"\n->>'it''s' || [b]]c]/* ( */"d""e"\`f\` x'0A' 0xFF 1.5e-3 .5 <>?1`);
    expect(tokens).toBeNull();
    const good = tokenize(
      `a-- 'x"\n->>'it''s' || [b c]/* ( */"d""e"\`f\` x'0A' 0xFF 1.5e-3 .5 <>?1 größe 😀`,
    )!;
    expect(good.map((token) => `${token.kind}:${token.value}`)).toEqual([
      'word:a',
      'operator:->>',
      "string:it's",
      'operator:||',
      'quoted:b c',
      'quoted:d"e',
      'quoted:f',
      "blob:x'0A'",
      'number:0xFF',
      'number:1.5e-3',
      'number:.5',
      'operator:<>',
      'variable:?1',
      'word:größe',
      'word:😀',
    ]);
  });
});

describe('CREATE INDEX', () => {
  it.each([
    ['CREATE INDEX i ON t (a)', ['a'], null],
    ['CREATE UNIQUE INDEX "on (" ON "t(x" ("a,b" DESC, [c d] COLLATE NOCASE ASC)', ['"a,b"', '[c d]'], null],
    [
      `CREATE INDEX i ON t(lower(a) collate nocase desc, coalesce(b, 'x, (y') , json_extract(c,'$.a.b'))`,
      ['lower(a)', `coalesce(b, 'x, (y')`, `json_extract(c,'$.a.b')`],
      null,
    ],
    [
      "CREATE INDEX i ON t(a) WHERE b IS NOT NULL AND (c > 1 OR d = 'where') ;",
      ['a'],
      `b IS NOT NULL AND (c > 1 OR d = 'where')`,
    ],
    [
      'CREATE INDEX i ON t -- (not this)\n (a /* , */ , (b + c) DESC) where a>0 -- end',
      ['a', '(b + c)'],
      'a>0',
    ],
  ])('%s', (sql, terms, predicate) => {
    expect(parseIndexSql(sql)).toEqual({ terms, predicate });
  });

  it('is not understood where it is something else', () => {
    expect(parseIndexSql('CREATE INDEX i ON t (a')).toBeNull();
    expect(parseIndexSql('CREATE INDEX i ON t (a) USING x')).toBeNull();
  });
});

describe('CREATE TABLE', () => {
  it('tells collations, CHECKs, conflict clauses, names and timing of foreign keys', () => {
    const parsed = parseTableSql(`CREATE TABLE "a (b" (
      id INTEGER PRIMARY KEY, -- CHECK (not this)
      "Name, first" TEXT DEFAULT 'x CHECK (y)' COLLATE NOCASE NOT NULL ON CONFLICT REPLACE CHECK ("Name, first" <> ')'),
      p INT REFERENCES p(id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
      q INT REFERENCES q NOT DEFERRABLE INITIALLY DEFERRED,
      r INT CONSTRAINT n NOT NULL CONSTRAINT "to q" REFERENCES q DEFERRABLE,
      CONSTRAINT u UNIQUE (p, q COLLATE RTRIM) ON CONFLICT IGNORE,
      CONSTRAINT c CHECK (p IN (1, (2))),
      FOREIGN KEY (p, q) REFERENCES z (a, b) DEFERRABLE INITIALLY DEFERRED,
      CONSTRAINT z_foreign FOREIGN KEY (q, p) REFERENCES z
    ) STRICT`)!;
    expect([...parsed.collations]).toEqual([['name, first', 'NOCASE']]);
    expect(parsed.checks).toEqual([`("Name, first" <> ')')`, '(p IN (1, (2)))']);
    expect(parsed.conflictClauses.map((clause) => clause.split(' ').at(-1))).toEqual(['REPLACE', 'IGNORE']);
    expect(parsed.foreignKeys).toEqual([
      { deferred: true },
      { deferred: false },
      { name: 'to q', deferred: false },
      { deferred: true },
      { name: 'z_foreign', deferred: false },
    ]);
  });
});
