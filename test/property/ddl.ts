/** Schemas made of the traps that real ones have, as CREATE statements with the values that each column takes. */
import fc from 'fast-check';
import { anyTable, DEFAULTS, type RawTable } from './schema.ts';
import type { Flavour } from './values.ts';

export const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;

export interface Column {
  name: string;
  declared: string;
  /** Literals; NULL among them where it may be written. */
  pool: string[];
  nature: Flavour['nature'];
}

export interface Table {
  name: string;
  /** Those that hold values of their own. */
  columns: Column[];
  /** A name of the row's number that may be written; absent where there is none. */
  rowid?: string;
  create: string[];
  rows: number[][];
}

/** Names as SQLite compares them, which folds ASCII letters only. */
function freeName(wanted: string, taken: Set<string>): string {
  const folded = (name: string): string => name.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase());
  let name = wanted;
  for (let i = 2; taken.has(folded(name)); i++) name = `${wanted}${i}`;
  taken.add(folded(name));
  return name;
}

interface Draft {
  raw: RawTable;
  name: string;
  columns: (Column & { sql: string })[];
  /** Names of the columns of each key that a foreign key may refer to; the primary key first. */
  references: string[][];
  primary: boolean;
  constraints: string[];
  taken: Set<string>;
}

function withoutReals(pool: string[]): string[] {
  const kept = pool.filter(
    (literal) => !/^-?[0-9]+(\.[0-9]+)?(e.*)?$/.test(literal) || /^-?[0-9]+$/.test(literal),
  );
  return kept.length === 0 ? ['1'] : kept;
}

/** The tables without their foreign keys, which need to know all of them. */
function draft(raw: RawTable, takenTables: Set<string>): Draft {
  const taken = new Set<string>();
  const name = freeName(raw.name, takenTables);
  const keyed = raw.key === 'columns' || raw.key === 'unique';
  const keyPlaces = new Set(raw.keyColumns.map((place) => place % raw.columns.length));
  const conflict = raw.conflict === '' ? '' : ` ON CONFLICT ${raw.conflict}`;
  const columns = raw.columns.map((column, place): Draft['columns'][number] => {
    const inKey = keyed && keyPlaces.has(place);
    const declared = raw.strict ? column.flavour.strict : column.flavour.declared;
    const notNull = column.notNull || (inKey && !raw.keyFaulty);
    const name = freeName(column.name, taken);
    const sql = [
      quoted(name),
      declared.includes('"') ? quoted(declared) : declared,
      notNull ? 'NOT NULL' : '',
      column.default === null || (notNull && DEFAULTS.includes(column.default))
        ? ''
        : `DEFAULT ${column.default}`,
      column.collation === '' ? '' : `COLLATE ${column.collation}`,
    ];
    const pool = inKey && column.wild && !raw.keyFaulty ? withoutReals(column.pool) : column.pool;
    return {
      name,
      declared,
      pool: notNull ? pool : [...pool, 'NULL'],
      nature: column.flavour.nature,
      sql: sql.filter((part) => part !== '').join(' '),
    };
  });
  const constraints: string[] = [];
  const references: string[][] = [];
  const places = [...keyPlaces];
  const keyNames = places.map((place) => columns[place]!.name);
  const list = (names: string[]): string => names.map(quoted).join(', ');
  switch (raw.key) {
    case 'rowid':
    case 'autoincrement':
    case 'int':
    case 'descending': {
      const name = freeName('id', taken);
      const [type, suffix] =
        raw.key === 'int' ? ['INT', ''] : ['INTEGER', raw.key === 'descending' ? ' DESC' : ''];
      const auto = raw.key === 'autoincrement' && raw.conflict === '' ? ' AUTOINCREMENT' : '';
      columns.unshift({
        name,
        declared: type,
        nature: 'number',
        pool: ['1', '2', '3', '4', '7', '-3', '9007199254740993'],
        sql: `${quoted(name)} ${type}${raw.key === 'int' || raw.key === 'descending' ? ' NOT NULL' : ''} PRIMARY KEY${suffix}${conflict}${auto}`,
      });
      references.push([name]);
      break;
    }
    case 'columns':
      constraints.push(`PRIMARY KEY (${list(keyNames)})${conflict}`);
      references.push(keyNames);
      break;
    case 'unique':
      constraints.push(`UNIQUE (${list(keyNames)})${conflict}`);
      references.push(keyNames);
      break;
    case 'none':
      break;
  }
  return {
    raw,
    name,
    columns,
    references,
    primary: !['unique', 'none'].includes(raw.key),
    constraints,
    taken,
  };
}

function addForeignKeys(drafts: Draft[], table: Draft): void {
  for (const key of table.raw.foreignKeys) {
    const parent = drafts[key.parent % drafts.length]!;
    const reference = parent.references[key.reference % Math.max(1, parent.references.length)];
    if (reference === undefined) continue;
    const names = reference.map((name) => {
      const to = parent.columns.find((column) => column.name === name)!;
      const from = freeName(`${to.name}_fk`, table.taken);
      const declared =
        table.raw.strict && !['INT', 'INTEGER', 'REAL', 'TEXT', 'BLOB', 'ANY'].includes(to.declared)
          ? 'ANY'
          : (key.declared ?? to.declared);
      const type = table.raw.strict && declared === '' ? 'ANY' : declared;
      table.columns.push({
        name: from,
        declared: type,
        nature: 'other',
        pool: [...to.pool.filter((literal) => literal !== 'NULL'), 'NULL'],
        sql: `${quoted(from)} ${type.includes('"') ? quoted(type) : type}`,
      });
      return from;
    });
    const implicit = key.implicit && parent.primary && reference === parent.references[0];
    const list = (columns: string[]): string => columns.map(quoted).join(', ');
    table.constraints.push(
      [
        `FOREIGN KEY (${list(names)}) REFERENCES ${quoted(parent.name)}${implicit ? '' : ` (${list(reference)})`}`,
        key.action,
        key.deferred ? 'DEFERRABLE INITIALLY DEFERRED' : '',
      ]
        .filter((part) => part !== '')
        .join(' '),
    );
  }
}

const CONDITIONS: Record<Flavour['nature'], ((c: string) => string)[]> = {
  number: [
    (c) => `${c} IS NOT NULL`,
    (c) => `${c} <> 7`,
    (c) => `${c} > 0 AND ${c} < 100`,
    (c) => `${c} IS NULL`,
  ],
  text: [(c) => `${c} IS NOT NULL`, (c) => `${c} = 'a'`, (c) => `${c} IN ('a', 'b')`, (c) => `${c} IS NULL`],
  other: [(c) => `${c} IS NOT NULL`, (c) => `${c} IS NULL`],
};

const CHECKS = [
  (c: string): string => `${c} <> 7`,
  (c: string): string => `length(${c}) < 30`,
  (c: string): string => `${c} IS NULL OR ${c} <> 'A'`,
  (c: string): string => `${c} NOT IN (2, 3)`,
  (c: string): string => `typeof(${c}) <> 'blob'`,
  (c: string): string => `${c} GLOB '*'`,
];

const EXPRESSIONS: Record<Flavour['nature'], ((c: string) => string)[]> = {
  number: [
    (c) => `${c} % 7`,
    (c) => `coalesce(${c}, 0)`,
    (c) => `${c} & 255`,
    (c) => `CASE WHEN ${c} > 1 THEN 1 ELSE 0 END`,
  ],
  text: [(c) => `lower(${c})`, (c) => `${c} || 'x'`, (c) => `substr(${c}, 1, 2)`, (c) => `length(${c})`],
  other: [
    (c) => `${c} IS NULL`,
    (c) => `coalesce(${c}, NULL)`,
    (c) => `${c} IS NOT NULL`,
    (c) => `CASE WHEN ${c} IS NULL THEN 1 END`,
  ],
};

function sqlOver(
  templates: Record<Flavour['nature'], ((c: string) => string)[]>,
  column: Column,
  which: number,
): string {
  const fitting = templates[column.nature];
  return fitting[which % fitting.length]!(quoted(column.name));
}

function addGenerated(table: Draft): string[] {
  return table.raw.generated.map(({ column, template, stored }) => {
    const over = table.columns[column % table.columns.length]!;
    const name = freeName('computed', table.taken);
    const expression = sqlOver(EXPRESSIONS, over, template);
    return `${quoted(name)} ${table.raw.strict ? 'ANY ' : ''}GENERATED ALWAYS AS (${expression}) ${stored ? 'STORED' : 'VIRTUAL'}`;
  });
}

function addIndexes(table: Draft, takenTables: Set<string>): string[] {
  const statements: string[] = [];
  for (const index of table.raw.indexes) {
    const places = new Set(index.columns.map((place) => place % table.columns.length));
    const over = [...places].map((place) => table.columns[place]!);
    const first = over[0]!;
    if (index.unique && index.constraint) {
      // SQLite refuses two clauses for one set of columns.
      const twin = (names: string[]): boolean =>
        names.length === over.length && over.every(({ name }) => names.includes(name));
      if (table.references.some(twin)) continue;
      table.references.push(over.map(({ name }) => name));
      const conflict = index.conflict === '' ? '' : ` ON CONFLICT ${index.conflict}`;
      table.constraints.push(`UNIQUE (${over.map((column) => quoted(column.name)).join(', ')})${conflict}`);
      continue;
    }
    const terms = over.map((column) => quoted(column.name) + (index.descending ? ' DESC' : ''));
    if (index.expression >= 0) terms[0] = sqlOver(EXPRESSIONS, first, index.expression);
    const condition =
      index.condition < 0 ? '' : ` WHERE ${sqlOver(CONDITIONS, over.at(-1)!, index.condition)}`;
    const name = freeName(index.name, takenTables);
    statements.push(
      `CREATE ${index.unique ? 'UNIQUE ' : ''}INDEX ${quoted(name)} ON ${quoted(table.name)} (${terms.join(', ')})${condition}`,
    );
  }
  return statements;
}

function build(raws: RawTable[]): Table[] {
  const takenTables = new Set<string>();
  const drafts = raws.map((raw) => draft(raw, takenTables));
  for (const table of drafts) addForeignKeys(drafts, table);
  return drafts.map((table): Table => {
    const indexes = addIndexes(table, takenTables);
    const checks = table.raw.checks.map(({ column, template }) => {
      const over = table.columns[column % table.columns.length]!;
      return `CHECK (${CHECKS[template]!(quoted(over.name))})`;
    });
    const generated = addGenerated(table);
    const withoutRowid = table.raw.withoutRowid && ['columns', 'int'].includes(table.raw.key);
    const options = [withoutRowid ? 'WITHOUT ROWID' : '', table.raw.strict ? 'STRICT' : '']
      .filter((o) => o !== '')
      .join(', ');
    const parts = [...table.columns.map(({ sql }) => sql), ...generated, ...table.constraints, ...checks];
    const hidden = table.taken.has('rowid');
    return {
      name: table.name,
      columns: table.columns,
      // Of two names of one column in an assignment, SQLite checks foreign keys by the one and stores the other.
      ...(withoutRowid || hidden || ['rowid', 'autoincrement'].includes(table.raw.key)
        ? {}
        : { rowid: 'rowid' }),
      create: [
        `CREATE TABLE ${quoted(table.name)} (\n  ${parts.join(',\n  ')}\n) ${options}`.trimEnd(),
        ...indexes,
      ],
      // The first rows show every value, so that the plan knows the classes that later ones bring.
      rows: table.raw.rows.map((row, i) => (i < 6 ? row.map(() => i) : row)),
    };
  });
}

export const anySchema: fc.Arbitrary<Table[]> = fc.array(anyTable, { minLength: 1, maxLength: 4 }).map(build);

/** The statement that writes a row, given which value of its pool each column takes. */
export function insertSql(table: Table, row: number[]): string {
  const values = table.columns.map((column, i) => column.pool[row[i % row.length]! % column.pool.length]!);
  return `INSERT INTO ${quoted(table.name)} (${table.columns.map(({ name }) => quoted(name)).join(', ')}) VALUES (${values.join(', ')})`;
}
