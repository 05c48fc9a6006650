/** Random writes of an application on PostgreSQL after the cutover, from nothing but PostgreSQL's own catalogs. */
import fc from 'fast-check';
import type pg from 'pg';

export interface TargetWrite {
  kind: 'insert' | 'copy' | 'update' | 'move' | 'delete' | 'defaults' | 'truncate';
  table: number;
  /** Which row, in the order of the rows' text. */
  row: number;
  columns: number[];
  values: number[];
  undo: boolean;
}

export const anyTargetWrites: fc.Arbitrary<TargetWrite[]> = fc.array(
  fc.record({
    kind: fc.oneof(
      { weight: 3, arbitrary: fc.constantFrom('insert' as const, 'copy' as const) },
      { weight: 6, arbitrary: fc.constantFrom('update' as const, 'move' as const) },
      { weight: 2, arbitrary: fc.constantFrom('delete' as const, 'defaults' as const) },
      { weight: 1, arbitrary: fc.constant('truncate' as const) },
    ),
    table: fc.nat(3),
    row: fc.nat(9),
    columns: fc.uniqueArray(fc.nat(7), { minLength: 1, maxLength: 3 }),
    values: fc.array(fc.nat(20), { minLength: 8, maxLength: 8 }),
    undo: fc.oneof({ weight: 5, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
  }),
  { maxLength: 12 },
);

const TEXTS = [
  `''`,
  `'a'`,
  `'A'`,
  `'b '`,
  `'É'`,
  `'漢字 🎉'`,
  `'back\\slash'`,
  `'\\N'`,
  `'it''s'`,
  `'007'`,
  `'5'`,
  `' 5'`,
  `'1e3'`,
  `E'\\n\\t'`,
];

const VALUES: Record<string, string[]> = {
  bigint: ['0', '1', '-1', '5', '7', '42', '9223372036854775807', '-9223372036854775808'],
  'double precision': [
    `'Infinity'`,
    `'-Infinity'`,
    `'-0'`,
    '0',
    '5',
    '0.1',
    '0.30000000000000004',
    '1e308',
    '5e-324',
    `'NaN'`,
  ],
  numeric: [
    '0',
    '1',
    '5',
    '-7',
    '0.1',
    '19.99',
    '9007199254740993',
    '1.00',
    '0.30000000000000004',
    '12345678901234567890',
  ],
  boolean: ['true', 'false'],
  text: TEXTS,
  bytea: [`''`, `'\\x00'`, `'\\x00ff'`, `'\\x61'`],
  json: [`'{}'`, `'[1, 2]'`, `'"x"'`, `' {"a" : 1.0} '`, `'null'`, `'5'`],
  'timestamp without time zone': [
    `'2024-01-31 12:00:00'`,
    `'0001-01-01'`,
    `'2024-01-31 12:00:00.5'`,
    `'infinity'`,
    `'9999-12-31 23:59:59'`,
  ],
  'timestamp with time zone': [
    `'2024-01-31T12:00:00.123Z'`,
    `'0001-01-01 00:00:00+02'`,
    `'2024-01-31 12:00:00.0005Z'`,
    `'-infinity'`,
    `'9999-12-31T23:59:59.999Z'`,
  ],
  date: [`'2024-02-29'`, `'0001-01-01'`, `'infinity'`, `'9999-12-31'`],
  'character varying': [
    ...TEXTS,
    `'5.0'`,
    `'1.50'`,
    `'\\s5'`,
    `'\\s\\x'`,
    `'\\share'`,
    `'\\x00ff'`,
    `'\\rInf'`,
    `'\\t6100'`,
    `'\\t61'`,
    `'\\'`,
    `'\\q'`,
    `'9223372036854775808'`,
    `'-0.0'`,
  ],
};

interface TargetTable {
  sql: string;
  columns: { name: string; sql: string; type: string; identity: boolean }[];
}

async function readTables(client: pg.Client): Promise<TargetTable[]> {
  const { rows } = await client.query<{
    table: string;
    column: string;
    name: string;
    type: string;
    identity: boolean;
  }>(
    `SELECT format('public.%I', c.relname) AS "table", quote_ident(a.attname) AS "column", a.attname AS name,
            format_type(a.atttypid, NULL) AS type, a.attidentity <> '' AS identity
       FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
      WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND a.attgenerated = ''
        AND NOT a.attisdropped
      ORDER BY c.relname COLLATE "C", a.attnum`,
  );
  const tables = new Map<string, TargetTable>();
  for (const { table, column, name, type, identity } of rows) {
    const found = tables.get(table) ?? { sql: table, columns: [] };
    found.columns.push({ name, sql: column, type, identity });
    tables.set(table, found);
  }
  return [...tables.values()];
}

function writeSql(write: TargetWrite, tables: TargetTable[]): string {
  const table = tables[write.table % tables.length]!;
  const at = (places: number[]): TargetTable['columns'] =>
    [...new Set(places.map((place) => place % table.columns.length))].map((place) => table.columns[place]!);
  const value = ({ type }: TargetTable['columns'][number], i: number): string => {
    const pool = [...(VALUES[type] ?? []), 'NULL'];
    return pool[write.values[i % write.values.length]! % pool.length]!;
  };
  const row = `ctid = (SELECT x.ctid FROM ${table.sql} x ORDER BY x::text COLLATE "C" OFFSET ${write.row} LIMIT 1)`;
  const chosen = at(write.columns);
  const names = table.columns.map(({ sql }) => sql).join(', ');
  switch (write.kind) {
    case 'insert': {
      const values = table.columns.map(value).join(', ');
      return `INSERT INTO ${table.sql} (${names}) VALUES (${values}) ON CONFLICT DO NOTHING`;
    }
    case 'copy': {
      // A row like another but for some columns; numbered ones take a new number.
      const given = table.columns.filter(({ identity }) => !identity);
      if (given.length === 0) return `INSERT INTO ${table.sql} DEFAULT VALUES`;
      const values = given.map((column, i) =>
        chosen.includes(column) ? value(column, i) : `t.${column.sql}`,
      );
      return `INSERT INTO ${table.sql} (${given.map(({ sql }) => sql).join(', ')}) SELECT ${values.join(', ')} FROM ${table.sql} t WHERE t.${row}`;
    }
    case 'update':
      return `UPDATE ${table.sql} SET ${chosen.map((column, i) => `${column.sql} = ${value(column, i)}`).join(', ')} WHERE ${row}`;
    case 'move':
      // A value from another row, so that unique values meet and keys change.
      return `UPDATE ${table.sql} SET ${chosen
        .map(
          ({ sql }) =>
            `${sql} = (SELECT y.${sql} FROM ${table.sql} y ORDER BY y::text COLLATE "C" DESC LIMIT 1)`,
        )
        .join(', ')} WHERE ${row}`;
    case 'delete':
      return `DELETE FROM ${table.sql} WHERE ${row}`;
    case 'defaults': {
      const given = chosen.filter(({ identity }) => !identity);
      if (given.length === 0) return `INSERT INTO ${table.sql} DEFAULT VALUES`;
      return `INSERT INTO ${table.sql} (${given.map(({ sql }) => sql).join(', ')}) VALUES (${given.map(value).join(', ')})`;
    }
    case 'truncate':
      return `TRUNCATE ${table.sql} CASCADE`;
  }
}

/**
 * Runs the writes, each in a transaction.
 * @param done takes the statements, those that were refused as comments
 */
export async function writeOnTarget(client: pg.Client, writes: TargetWrite[], done: string[]): Promise<void> {
  const tables = await readTables(client);
  for (const write of writes) {
    const sql = writeSql(write, tables);
    await client.query('BEGIN');
    try {
      await client.query(sql);
      await client.query(write.undo ? 'ROLLBACK' : 'COMMIT');
      done.push(write.undo ? `BEGIN; ${sql}; ROLLBACK;` : `${sql};`);
    } catch (error) {
      await client.query('ROLLBACK');
      const code = String((error as { code?: unknown }).code);
      // The application's own mistakes: values and constraints, an index entry too large, and an infinite date, of which
      // a generated column is computed before the guard is asked.
      const infinite = code === '0A000' && /^cannot convert infinity/.test((error as Error).message);
      if (!infinite && !/^(22|23)|^54000$/.test(code))
        throw new Error(`the application's own statement failed with ${code}: ${sql}`, { cause: error });
      done.push(`-- refused (${code}): ${sql.replaceAll('\n', '\n-- ')}`);
    }
  }
}

/** Writes every row as it is, so that all of them go back. */
export async function touchAll(client: pg.Client): Promise<string[]> {
  const done: string[] = [];
  for (const { sql, columns } of await readTables(client)) {
    const touch = `UPDATE ${sql} SET ${columns[0]!.sql} = ${columns[0]!.sql}`;
    await client.query(touch);
    done.push(`${touch};`);
  }
  return done;
}
