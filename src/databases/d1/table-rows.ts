/** Whole rows of a D1 table: the SQL that selects their cells, and what fetches values that no cell can hold. */
import { rowidName } from '../sqlite/ranges.ts';
import type { SourceTable } from '../sqlite/schema.ts';
import { quoted } from '../identifiers.ts';
import { textOf } from '../invalid-text.ts';
import type { KeyValue } from '../key.ts';
import { cellSql, cellValue, exactSql, SLICE_BYTES, sliceSql, Unfetched } from './cells.ts';
import type { Answer, D1Client } from './client.ts';

/** D1 allows 100 columns in a result. */
const RESULT_COLUMNS = 100;
/** Rows that are asked for by their values in one request; a row may have half a megabyte in each of its columns. */
const ROWS_PER_READ = 50;
/** SQL of these values: D1 allows 100,000 bytes in a statement, of which the cells of 100 columns take their part. */
const VALUES_SQL_BYTES = 30_000;

type Cells = (KeyValue | Unfetched)[];

export class TableRows {
  readonly table: SourceTable;
  /** Names of what a row holds: the row number first, where it has no name of its own. */
  readonly columns: string[];
  /** Columns that order the rows, and tell them apart. */
  readonly key: string[];
  /** Name of the row number; null where the table has none. */
  readonly rowid: string | null;
  /** Places of the key's columns in a row. */
  readonly places: number[];
  private readonly client: D1Client;

  constructor(client: D1Client, table: SourceTable) {
    this.client = client;
    this.table = table;
    const rowid = rowidName(table);
    this.rowid = rowid;
    const stored = table.columns.filter(({ generated }) => generated === 'no').map(({ name }) => name);
    this.key = rowid === null ? table.primaryKey : [rowid];
    this.columns = rowid === null || stored.includes(rowid) ? stored : [rowid, ...stored];
    this.places = this.key.map((name) => this.columns.indexOf(name));
  }

  /**
   * Statements that select the cells of the same rows in the same order, several where there are more columns than D1
   * allows in a result.
   * @param rest FROM and what follows it, with `t` as the table's alias
   */
  statements(rest: string): string[] {
    const statements: string[] = [];
    for (let i = 0; i < this.columns.length; i += RESULT_COLUMNS) {
      const some = this.columns.slice(i, i + RESULT_COLUMNS);
      const cells = some.map((name, c) => `${cellSql(`t.${quoted(name)}`)} AS c${c}`);
      statements.push(`SELECT ${cells.join(', ')} ${rest}`);
    }
    return statements;
  }

  /** The rows that `statements` found. @param answers to these statements, on one snapshot */
  async rows(answers: Answer[]): Promise<KeyValue[][]> {
    const rows: KeyValue[][] = [];
    for (const [row] of answers[0]!.rows.entries()) {
      const cells: Cells = answers.flatMap((answer) => answer.rows[row]!.map(cellValue));
      rows.push(await this.whole(cells));
    }
    return rows;
  }

  private async whole(cells: Cells): Promise<KeyValue[]> {
    const values: KeyValue[] = [];
    for (const [place, cell] of cells.entries()) {
      values.push(cell instanceof Unfetched ? await this.fetch(cells, place) : cell);
    }
    return values;
  }

  private fetch(cells: Cells, place: number): Promise<KeyValue> {
    const where = this.key
      .map((name, i) => `t.${quoted(name)} = ${exactSql(cells[this.places[i]!] as KeyValue)}`)
      .join(' AND ');
    return fetchValue(
      this.client,
      `t.${quoted(this.columns[place]!)}`,
      `FROM ${quoted(this.table.name)} t WHERE ${where}`,
    );
  }
}

/** A value in slices; null where its row is gone. @param name SQL of the value; @param from FROM and WHERE of its row */
export async function fetchValue(client: D1Client, name: string, from: string): Promise<KeyValue> {
  const parts: Buffer[] = [];
  for (let start = 0; ; start += SLICE_BYTES) {
    const [answer] = await client.read([
      `SELECT typeof(${name}) AS kind, ${sliceSql(name, start)} AS digits ${from}`,
    ]);
    const [kind, digits] = answer!.rows[0] ?? ['null', null];
    // The row was deleted or changed since it was found.
    if (digits === null) return null;
    const part = Buffer.from(String(digits), 'hex');
    parts.push(part);
    if (part.length < SLICE_BYTES) {
      const bytes = Buffer.concat(parts);
      return kind === 'blob' ? bytes : textOf(bytes);
    }
  }
}

/** FROM and what follows it of the rows whose columns have these values; the table is `t`. */
export function rowsWithSql(table: string, columns: string[], values: KeyValue[][]): string {
  const rows = values.map((row) => `(${row.map(exactSql).join(', ')})`);
  const same = columns.map((column, i) => `t.${quoted(column)} IS d.column${i + 1}`);
  const order = columns.map((column) => `t.${quoted(column)}`);
  return `FROM (VALUES ${rows.join(', ')}) d JOIN ${quoted(table)} t ON ${same.join(' AND ')} ORDER BY ${order.join(', ')}`;
}

/** As many as `rowsWithSql` takes at once. @param valuesOf what it is given of an item, one value at least */
export function* inReads<T>(items: T[], valuesOf: (item: T) => KeyValue[]): Generator<T[]> {
  let some: T[] = [];
  let bytes = 0;
  for (const item of items) {
    const size = valuesOf(item).reduce<number>((sum, value) => sum + exactSql(value).length, 0);
    if (some.length === ROWS_PER_READ || (some.length > 0 && bytes + size > VALUES_SQL_BYTES)) {
      yield some;
      some = [];
      bytes = 0;
    }
    some.push(item);
    bytes += size;
  }
  if (some.length > 0) yield some;
}

/**
 * A row that changes between two pages may be met twice, or with a unique value that another had: one of them stays. The log names
 * both, since both have changed after the filling began.
 */
export function insertSql(rows: TableRows): (marks: string[]) => string {
  const names = rows.columns.map(quoted).join(', ');
  return (marks) =>
    `INSERT OR REPLACE INTO ${quoted(rows.table.name)} (${names}) VALUES (${marks.join(', ')})`;
}
