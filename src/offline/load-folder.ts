/**
 * Loads a folder of rows as JSON, one file per table (`users.json`), as `wrangler d1 execute DB --json --command 'SELECT * FROM
 * users'` prints them, and the schema: `schema.sql` (`wrangler d1 export --no-data`), or `schema.json`, the same command with
 * `SELECT sql FROM sqlite_master`.
 */
import { createReadStream, existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type Database from 'better-sqlite3';
import { asciiLower, quoted } from '../databases/identifiers.ts';
import { readSchema, type SourceColumn, type SourceTable } from '../databases/sqlite/schema.ts';
import { CrossfadeError, messageOf } from '../errors.ts';
import { JsonRows, type JsonRow } from './json-rows.ts';
import { loadDump } from './load-dump.ts';
import type { Losses } from './losses.ts';

const CHUNK_BYTES = 1024 * 1024;
const SCHEMA_SQL = 'schema.sql';
const SCHEMA_JSON = 'schema.json';
/** Optional: the numbers that AUTOINCREMENT has given out. */
const SEQUENCES = 'sqlite_sequence';
const BLOB_TEXT = /^\[(?:\d{1,3}(?:, ?\d{1,3})*)?\]$/;
const LONG_NUMBER = /\d{16}/;

/**
 * @param skipped tables that need no file, in lower case
 * @returns what creates the triggers, once every row is there
 * @throws CrossfadeError InvalidInput with file and line
 */
export async function loadFolder(
  db: Database.Database,
  folder: string,
  skipped: Set<string>,
  losses: Losses,
  signal: AbortSignal,
  onBytes: (bytes: number) => void = () => undefined,
): Promise<() => void> {
  losses.byJavaScript = true;
  losses.nullsFromJson = true;
  const createTriggers = await loadSchema(db, folder, losses, signal);
  const { tables } = readSchema(db);
  const files = readdirSync(folder)
    .filter((name) => name.endsWith('.json') && name !== SCHEMA_JSON)
    .sort();
  const byTable = new Map(files.map((name) => [asciiLower(name.slice(0, -'.json'.length)), name]));
  for (const table of tables) {
    const file = byTable.get(asciiLower(table.name));
    if (file === undefined && !skipped.has(asciiLower(table.name))) {
      throw new CrossfadeError(
        'InvalidInput',
        `${folder} has no ${table.name}.json: export the rows of table ${quoted(table.name)} too, or leave the table behind by ` +
          `overrides: {"${table.name}": {"skip": true}}`,
      );
    }
  }
  const known = new Map(tables.map((table) => [asciiLower(table.name), table]));
  for (const [name, file] of byTable) {
    const table = known.get(name) ?? (name === SEQUENCES ? SEQUENCE_TABLE : undefined);
    if (table === undefined) {
      throw new CrossfadeError(
        'InvalidInput',
        `${join(folder, file)}: the schema has no table of this name: take the file away, or export the schema again`,
      );
    }
    const path = join(folder, file);
    const inserter = new Inserter(db, table, path, losses);
    if (table === SEQUENCE_TABLE) db.exec(`DELETE FROM ${SEQUENCES}`);
    for await (const row of rowsOf(path, signal, onBytes)) inserter.insert(row);
  }
  return createTriggers;
}

const SEQUENCE_TABLE: Pick<SourceTable, 'name' | 'columns'> = {
  name: SEQUENCES,
  columns: ['name', 'seq'].map((name) => ({ name, affinity: 'BLOB', generated: 'no' }) as SourceColumn),
};

async function loadSchema(
  db: Database.Database,
  folder: string,
  losses: Losses,
  signal: AbortSignal,
): Promise<() => void> {
  const asSql = join(folder, SCHEMA_SQL);
  if (existsSync(asSql)) return loadDump(db, asSql, losses, signal);
  const asJson = join(folder, SCHEMA_JSON);
  if (!existsSync(asJson)) {
    throw new CrossfadeError(
      'InvalidInput',
      `${folder} has no ${SCHEMA_SQL}, without which the rows have no types: wrangler d1 export DB --no-data --output ${SCHEMA_SQL}`,
    );
  }
  const objects: { sql: string; line: number }[] = [];
  for await (const { text, line } of rowsOf(asJson, signal, () => undefined)) {
    const { sql } = parsed(asJson, { text, line }) as { sql?: unknown };
    // Cloudflare's and SQLite's own objects cannot be made, and are not the application's.
    if (typeof sql === 'string' && !/^\s*CREATE\s+\w+\s+["'`[]?(?:sqlite_|_cf_)/i.test(sql))
      objects.push({ sql, line });
  }
  const isTrigger = (sql: string): boolean => /^\s*CREATE\s+TRIGGER\b/i.test(sql);
  const run = ({ sql, line }: { sql: string; line: number }): void => {
    try {
      db.exec(sql);
    } catch (error) {
      throw new CrossfadeError(
        'InvalidInput',
        `${asJson}, line ${line}: ${messageOf(error)}, in: ${sql.slice(0, 80)}`,
        error,
      );
    }
  };
  const isTable = (sql: string): boolean => /^\s*CREATE\s+(?:VIRTUAL\s+)?TABLE\b/i.test(sql);
  for (const one of objects) if (isTable(one.sql)) run(one);
  for (const one of objects) if (!isTable(one.sql) && !isTrigger(one.sql)) run(one);
  return () => {
    for (const one of objects) if (isTrigger(one.sql)) run(one);
  };
}

async function* rowsOf(
  path: string,
  signal: AbortSignal,
  onBytes: (bytes: number) => void,
): AsyncGenerator<JsonRow> {
  const rows = new JsonRows();
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: CHUNK_BYTES })) {
      signal.throwIfAborted();
      yield* rows.push(chunk as Buffer);
      onBytes((chunk as Buffer).length);
    }
    rows.end();
  } catch (error) {
    if (!(error instanceof CrossfadeError) || error.message.startsWith(path)) throw error;
    throw new CrossfadeError(error.code, `${path}, ${error.message}`, error);
  }
}

function parsed(path: string, { text, line }: JsonRow): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new CrossfadeError('InvalidInput', `${path}, line ${line}: ${messageOf(error)}`, error);
  }
}

/** Inserts the rows of one table. */
class Inserter {
  private readonly db: Database.Database;
  private readonly path: string;
  private readonly losses: Losses;
  private readonly table: Pick<SourceTable, 'name' | 'columns'>;
  private readonly columns: Map<string, SourceColumn>;
  private readonly statements = new Map<
    string,
    { insert: Database.Statement; columns: (SourceColumn | null)[] }
  >();
  private readonly exactly: Database.Statement<[string], { key: string; type: string; value: unknown }>;

  constructor(
    db: Database.Database,
    table: Pick<SourceTable, 'name' | 'columns'>,
    path: string,
    losses: Losses,
  ) {
    this.db = db;
    this.table = table;
    this.path = path;
    this.losses = losses;
    this.columns = new Map(table.columns.map((column) => [asciiLower(column.name), column]));
    this.exactly = db
      .prepare<[string], { key: string; type: string; value: unknown }>(
        'SELECT key, type, value FROM json_each(?)',
      )
      .safeIntegers();
  }

  insert(row: JsonRow): void {
    try {
      const object = parsed(this.path, row) as Record<string, unknown>;
      // JavaScript would round what is written exactly.
      if (LONG_NUMBER.test(row.text)) this.readNumbers(object, row);
      const { insert, columns } = this.statementFor(Object.keys(object));
      const values = Object.values(object);
      insert.run(columns.flatMap((column, i) => (column === null ? [] : [this.valueOf(values[i], column)])));
    } catch (error) {
      if (error instanceof CrossfadeError && error.message.startsWith(this.path)) throw error;
      throw new CrossfadeError('InvalidInput', `${this.path}, line ${row.line}: ${messageOf(error)}`, error);
    }
  }

  private readNumbers(object: Record<string, unknown>, { text, line }: JsonRow): void {
    let beyond = 0;
    for (const { key, type, value } of this.exactly.iterate(text)) {
      if (type !== 'integer') continue;
      object[key] = value;
      const integer = value as bigint;
      if (integer > BigInt(Number.MAX_SAFE_INTEGER) || integer < -BigInt(Number.MAX_SAFE_INTEGER)) beyond++;
    }
    this.losses.integers(beyond, `${this.path}, line ${line}`);
  }

  private statementFor(keys: string[]): { insert: Database.Statement; columns: (SourceColumn | null)[] } {
    const name = JSON.stringify(keys);
    let found = this.statements.get(name);
    if (found === undefined) {
      const columns = keys.map((key) => {
        const column = this.columns.get(asciiLower(key));
        if (column === undefined)
          throw new Error(`table ${quoted(this.table.name)} has no column ${quoted(key)}`);
        // SQLite makes it again.
        return column.generated === 'no' ? column : null;
      });
      const given = columns.filter((column) => column !== null);
      const missing = this.table.columns.filter(
        (column) => column.generated === 'no' && !given.includes(column),
      );
      if (missing.length > 0)
        throw new Error(`the row has no ${missing.map((column) => quoted(column.name)).join(', ')}`);
      found = {
        columns,
        insert: this.db.prepare(
          `INSERT INTO ${quoted(this.table.name)} (${given.map((column) => quoted(column.name)).join(', ')}) ` +
            `VALUES (${given.map(() => '?').join(', ')})`,
        ),
      };
      this.statements.set(name, found);
    }
    return found;
  }

  private valueOf(value: unknown, column: SourceColumn): unknown {
    if (value === null || typeof value === 'bigint') return value;
    if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value;
    if (typeof value === 'boolean') return value ? 1n : 0n;
    if (typeof value === 'string') {
      if (column.affinity !== 'BLOB' || !BLOB_TEXT.test(value)) return value;
      const bytes = JSON.parse(value) as number[];
      if (bytes.some((byte) => byte > 255)) return value;
      this.losses.blobs++;
      return Buffer.from(bytes);
    }
    if (Array.isArray(value) && value.every((byte) => Number.isInteger(byte) && byte >= 0 && byte <= 255)) {
      return Buffer.from(value as number[]);
    }
    throw new Error(
      `column ${quoted(column.name)} has ${JSON.stringify(value).slice(0, 40)}, which is no value of SQLite`,
    );
  }
}
