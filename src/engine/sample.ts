/**
 * The independent check: random rows of every column, read by plain drivers and compared as hexadecimal forms that
 * share nothing with the copy's encoder, so that an error of the encoder cannot hide itself.
 */
import type Database from 'better-sqlite3';
import type pg from 'pg';
import type { ColumnKind, ColumnPlan, TablePlan } from '../contract.ts';
import { literal, quoted } from '../databases/identifiers.ts';
import { InvalidText, textOf } from '../databases/invalid-text.ts';
import { keyInput, keyColumns, keysAsRows, keyText, parseKeyText, type KeyValue } from '../databases/key.ts';
import { keepsNegativeZero } from '../databases/sqlite/affinity.ts';
import { isMomentKind, momentPattern, momentType } from '../databases/moment.ts';
import { sqliteValue } from '../databases/postgres/copy-text.ts';
import { bound, marksOf } from '../databases/sqlite/bind.ts';
import { nameOnTarget, sameKeyAs, targetTable } from '../databases/postgres/names.ts';
import { rowidOf } from '../databases/sqlite/rowid.ts';
import { literalText } from './compare.ts';
import { readPaired, type Pair, type PairedRead } from './paired-read.ts';

/** Tables up to this size are sampled by ORDER BY random(), larger ones by seeking random rowids. */
const SHUFFLED_ROWS = 20_000;
const COLUMNS_AT_ONCE = 500;

/** The forms of a row's values, in the plan's order of columns. */
type Forms = (string | null)[];

/** A value that is another one on the target, as a person reads it. */
export interface FormDifference {
  /** See `keyText`. */
  key: string;
  column: string;
  source: string;
  target: string;
}

/** Keys of up to `rows` random rows of the source, those left out that the target cannot hold. */
export function sampleKeys(db: Database.Database, table: TablePlan, rows: number): KeyValue[][] {
  const columns = keyColumns(table);
  return randomKeys(db, table, rows).filter((key) =>
    key.every((value, i) => keyInput(value, columns[i]!) !== null),
  );
}

/** Values of the given keys' rows that differ, by the forms; a row that one side lacks is not looked at here. */
export function compareForms(
  pair: Pair,
  table: TablePlan,
  keys: KeyValue[][],
): Promise<PairedRead<FormDifference>> {
  return readPaired(pair, table, keys, {
    source: () => keys.map((key) => sourceForms(pair.db, table, key)),
    target: () => targetForms(pair.client, table, keys),
    compare: (source, target) => formDifferences(table, keys, source, target),
  });
}

function formDifferences(
  table: TablePlan,
  keys: KeyValue[][],
  source: (Forms | null)[],
  target: Map<string, Forms>,
): FormDifference[] {
  const columns = keyColumns(table);
  const found: FormDifference[] = [];
  for (const [place, key] of keys.entries()) {
    const forms = source[place] ?? null;
    const others = target.get(key.map((value, i) => keyInput(value, columns[i]!)!).join('\0'));
    if (forms === null || others === undefined) continue;
    const column = table.columns.findIndex((_, i) => forms[i] !== others[i]);
    if (column < 0) continue;
    const { kind, name } = table.columns[column]!;
    found.push({
      key: keyText(key),
      column: name,
      source: readable(forms[column]!, kind),
      target: readable(others[column]!, kind),
    });
  }
  return found;
}

function readable(form: string | null, kind: ColumnKind): string {
  if (form === null) return 'NULL';
  if (isMomentKind(kind)) return Buffer.from(form, 'hex').toString('utf8');
  switch (kind) {
    case 'double':
      return literalText(Buffer.from(form, 'hex').readDoubleBE());
    case 'numeric':
      return plainDecimal(form);
    case 'text':
    case 'uuid':
    case 'json':
    case 'date':
      return Buffer.from(form, 'hex').toString('utf8');
    case 'mixed':
      return literalText(parseKeyText(form)[0]!);
    case 'jsonb':
      return form;
    case 'bigint':
    case 'integer':
    case 'instant':
    case 'boolean':
    case 'bytea':
      return form;
  }
}

function randomKeys(db: Database.Database, table: TablePlan, rows: number): KeyValue[][] {
  const keys = table.key.map(quoted).join(', ');
  const from = `FROM ${quoted(table.name)}`;
  if (table.withoutRowid || table.rows <= SHUFFLED_ROWS) {
    return db
      .prepare(`SELECT ${keys} ${from} ORDER BY random() LIMIT ?`)
      .safeIntegers()
      .raw()
      .all(rows) as KeyValue[][];
  }
  const rowid = rowidOf(table);
  const range = db.prepare(`SELECT min(${rowid}) AS low, max(${rowid}) AS high ${from}`).get() as {
    low: number;
    high: number;
  };
  const seek = db
    .prepare(`SELECT ${keys} ${from} WHERE ${rowid} >= ? ORDER BY ${rowid} LIMIT 1`)
    .safeIntegers()
    .raw();
  const found = new Map<string, KeyValue[]>();
  for (let i = 0; i < rows; i++) {
    const key = seek.get(Math.floor(range.low + Math.random() * (range.high - range.low + 1))) as
      KeyValue[] | undefined;
    if (key !== undefined) found.set(key.join('\0'), key);
  }
  return [...found.values()];
}

function sourceForms(db: Database.Database, table: TablePlan, key: KeyValue[]): Forms | null {
  const marks = marksOf(key);
  const where = table.key.map((name, i) => `${quoted(name)} = ${marks[i]!}`).join(' AND ');
  const forms: (string | null)[] = [];
  // SQLite answers with 2,000 columns at most.
  for (let from = 0; from < table.columns.length; from += COLUMNS_AT_ONCE) {
    const columns = table.columns.slice(from, from + COLUMNS_AT_ONCE);
    const cells = columns.flatMap(({ name, kind }) => [quoted(name), textBytes(quoted(name), kind)]);
    const row = db
      .prepare(`SELECT ${cells.join(', ')} FROM ${quoted(table.name)} WHERE ${where}`)
      .safeIntegers()
      .raw()
      .get(...bound(key)) as KeyValue[] | undefined;
    if (row === undefined) return null;
    for (const [i, column] of columns.entries()) {
      const bytes = row[2 * i + 1];
      forms.push(sourceForm(Buffer.isBuffer(bytes) ? textOf(bytes) : row[2 * i]!, column));
    }
  }
  return forms;
}

/** Only a mixed column holds texts that the driver would change. */
function textBytes(name: string, kind: ColumnKind): string {
  return kind === 'mixed' ? `iif(typeof(${name}) = 'text', CAST(${name} AS BLOB), NULL)` : 'NULL';
}

function sourceForm(value: KeyValue, column: ColumnPlan): string | null {
  if (value === null) return null;
  if (column.kind === 'mixed') return keyText([value]);
  if (column.kind === 'jsonb' && typeof value === 'string') return jsonForm(value);
  if (Buffer.isBuffer(value)) return value.toString('hex');
  if (value instanceof InvalidText) return value.bytes.toString('hex');
  if (typeof value === 'string') return Buffer.from(value, 'utf8').toString('hex');
  if (column.kind === 'boolean') return value === 1n ? 'true' : 'false';
  // The shortest digits that give the double back are the decimal that it was written for.
  if (column.kind === 'numeric') return decimalForm(String(value));
  if (column.kind === 'double') {
    return doubleHex(keepsNegativeZero(column) ? Number(value) : Number(value) + 0);
  }
  return typeof value === 'bigint' ? String(value) : doubleHex(value);
}

function doubleHex(value: number): string {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(value);
  return bytes.toString('hex');
}

/** The same forms, made by the server: bytes of text, bits of doubles. */
function targetForm(column: ColumnPlan): string {
  const name = `t.${quoted(nameOnTarget(column))}`;
  if (isMomentKind(column.kind)) {
    // By its fields, and not by the format that the comparison of every row uses.
    const at = momentType(column.kind) === 'timestamptz' ? `timezone('UTC', ${name})` : name;
    return `encode(convert_to(to_char(${at}, ${literal(momentPattern(column.kind))}), 'UTF8'), 'hex')`;
  }
  switch (column.kind) {
    case 'bigint':
    case 'integer':
    case 'boolean':
    case 'numeric':
      return `${name}::text`;
    case 'instant':
      return `(extract(epoch FROM ${name}) * 1000)::bigint::text`;
    case 'double':
      // + 0 makes 0 of -0.
      return `encode(float8send(${name}${keepsNegativeZero(column) ? '' : ' + 0'}), 'hex')`;
    case 'bytea':
      return `encode(${name}, 'hex')`;
    case 'date':
      return `encode(convert_to(to_char(${name}, 'YYYY-MM-DD'), 'UTF8'), 'hex')`;
    case 'mixed':
    case 'jsonb':
      return `${name}::text`;
    case 'text':
    case 'uuid':
    case 'json':
      return `encode(convert_to(${name}::text, 'UTF8'), 'hex')`;
  }
}

async function targetForms(
  client: pg.Client,
  table: TablePlan,
  keys: KeyValue[][],
): Promise<Map<string, Forms>> {
  const columns = keyColumns(table);
  const inputs = keys.map((key) => key.map((value, i) => keyInput(value, columns[i]!)!));
  // n is the key's place in the list, so that the answer needs no conversion of keys back.
  const numbered = keysAsRows(table, inputs).replace(/\) AS d\((.*)\)$/, ') WITH ORDINALITY AS d($1, n)');
  const { rows } = await client.query<unknown[]>({
    text: `SELECT d.n, ${table.columns.map(targetForm).join(', ')}
             FROM ${numbered} JOIN ${targetTable(table)} t ON ${sameKeyAs(table)}`,
    rowMode: 'array',
  });
  return new Map(
    rows.map(([n, ...forms]) => [
      inputs[Number(n) - 1]!.join('\0'),
      (forms as (string | null)[]).map((form, i) =>
        form === null ? null : parsedForm(form, table.columns[i]!),
      ),
    ]),
  );
}

/** What JavaScript makes of a text whose spelling does not count. */
function parsedForm(form: string, column: ColumnPlan): string {
  if (column.kind === 'mixed') return keyText([sqliteValue(form, column)]);
  if (column.kind === 'numeric') return decimalForm(form);
  return column.kind === 'jsonb' ? jsonForm(form) : form;
}

/** A decimal of any length as its digits, without zeros at either end, and the power of ten; what is none stands for itself. */
function decimalForm(text: string): string {
  const parts = /^(-?)(\d+)(?:\.(\d*))?(?:e([+-]?\d+))?$/.exec(text);
  if (parts === null) return text;
  const [, sign, whole, fraction = '', power = '0'] = parts;
  const digits = `${whole}${fraction}`.replace(/^0+/, '');
  const short = digits.replace(/0+$/, '');
  if (short === '') return '0e0';
  return `${sign}${short}e${Number(power) - fraction.length + digits.length - short.length}`;
}

/** Of a `decimalForm`. */
function plainDecimal(form: string): string {
  const [, sign, digits, exponent] = /^(-?)(\d+)e(-?\d+)$/.exec(form) ?? [];
  const power = Number(exponent);
  if (digits === undefined || Math.abs(power) > 40) return form;
  if (power >= 0) return `${sign}${digits}${'0'.repeat(power)}`;
  const padded = digits.padStart(1 - power, '0');
  return `${sign}${padded.slice(0, power)}.${padded.slice(power)}`;
}

/** JSON with its names in order; a text that is none stands for itself. */
function jsonForm(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), (_, value: unknown) =>
      typeof value === 'object' && value !== null && !Array.isArray(value)
        ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
        : value,
    );
  } catch {
    return text;
  }
}
