/** Reads a table of D1 in key order, page by page, as much in one request as D1's limits allow. */
import { balanced } from '../sqlite/encode.ts';
import { rowidName } from '../sqlite/ranges.ts';
import type { SourceTable } from '../sqlite/schema.ts';
import { quoted } from '../identifiers.ts';
import { textOf } from '../invalid-text.ts';
import type { KeyValue } from '../key.ts';
import { cellSql, cellValue, DoubtfulText, exactSql, LongCell, SLICE_BYTES, sliceSql } from './cells.ts';
import type { D1Client } from './client.ts';

/** Values of a page, before their encoding; D1 allows 2 MB for a row, and what a reply may hold is not documented. */
const PAGE_BYTES = 1_500_000;
/** D1 allows 100 columns in a result. */
const RESULT_COLUMNS = 100;
const MOST_ROWS = 20_000;

type Cells = (KeyValue | LongCell | DoubtfulText)[];

export interface Page {
  /** The cells in the order of `columns`. */
  rows: KeyValue[][];
}

export class TableReader {
  /** Names of what a page's rows hold: the row number first, where it has no name of its own. */
  readonly columns: string[];
  private readonly client: D1Client;
  private readonly table: SourceTable;
  /** SQL names of the columns that order the rows. */
  private readonly order: string[];
  /** Places of the ordering columns in a row. */
  private readonly places: number[];
  private after: KeyValue[] | null = null;
  private limit = 500;

  constructor(client: D1Client, table: SourceTable) {
    this.client = client;
    this.table = table;
    const rowid = rowidName(table);
    const stored = table.columns.filter(({ generated }) => generated === 'no').map(({ name }) => name);
    const key = rowid === null ? table.primaryKey : [rowid];
    this.columns = rowid === null || stored.includes(rowid) ? stored : [rowid, ...stored];
    this.order = key.map((name) => `t.${quoted(name)}`);
    this.places = key.map((name) => this.columns.indexOf(name));
  }

  /** The next rows; null after the last. @throws as `D1Client.read` */
  async next(): Promise<Page | null> {
    const found = await this.read(this.limit);
    if (found.length === 0) return null;
    const rows: KeyValue[][] = [];
    for (const cells of found) rows.push(await this.whole(cells));
    this.after = this.places.map((place) => rows.at(-1)![place]!);
    // Twice what fitted, so that the bytes end a page and not the rows.
    this.limit = Math.min(MOST_ROWS, 2 * found.length);
    return { rows };
  }

  /** One page; two statements on one snapshot where a row has more cells than a result may have columns. */
  private async read(limit: number): Promise<Cells[]> {
    const statements: string[] = [];
    for (let i = 0; i < this.columns.length; i += RESULT_COLUMNS)
      statements.push(this.pageSql(this.columns.slice(i, i + RESULT_COLUMNS), limit));
    const answers = await this.client.read(statements);
    return answers[0]!.rows.map((_, row) => answers.flatMap((answer) => answer.rows[row]!.map(cellValue)));
  }

  private pageSql(columns: string[], limit: number): string {
    const from = `FROM ${quoted(this.table.name)} t`;
    const sizes = this.columns.map((name) => `ifnull(octet_length(t.${quoted(name)}), 0)`);
    const order = this.order.join(', ');
    const keys = this.order.map((_, i) => `k${i}`);
    const where = this.after === null ? '' : `WHERE (${order}) > (${this.after.map(exactSql).join(', ')})`;
    const some =
      `SELECT ${this.order.map((name, i) => `${name} AS k${i}`).join(', ')}, ${balanced(sizes, '+')} AS size ` +
      `${from} ${where} ORDER BY ${order} LIMIT ${limit}`;
    // A row belongs to the page if those before it leave room, so that the first always does.
    const page =
      `SELECT ${keys.join(', ')}, sum(size) OVER (ORDER BY ${keys.join(', ')} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) ` +
      `AS before FROM (${some})`;
    const cells = columns.map((name, i) => `${cellSql(`t.${quoted(name)}`)} AS c${i}`);
    return (
      `SELECT ${cells.join(', ')} FROM (${page}) p JOIN ${quoted(this.table.name)} t ` +
      `ON ${this.order.map((name, i) => `${name} = p.k${i}`).join(' AND ')} ` +
      `WHERE ifnull(p.before, 0) < ${PAGE_BYTES} ORDER BY ${keys.map((key) => `p.${key}`).join(', ')}`
    );
  }

  /** Fetches what the cells of a row could not hold. */
  private async whole(cells: Cells): Promise<KeyValue[]> {
    const values: KeyValue[] = [];
    for (const [place, cell] of cells.entries()) {
      const known = !(cell instanceof LongCell) && !(cell instanceof DoubtfulText);
      values.push(known ? cell : await this.fetch(cells, place));
    }
    return values;
  }

  private async fetch(cells: Cells, place: number): Promise<KeyValue> {
    const name = `t.${quoted(this.columns[place]!)}`;
    const key = this.places.map((keyPlace) => cells[keyPlace] as KeyValue);
    const where = this.order.map((column, i) => `${column} = ${exactSql(key[i]!)}`).join(' AND ');
    const parts: Buffer[] = [];
    for (let from = 0; ; from += SLICE_BYTES) {
      const [answer] = await this.client.read([
        `SELECT typeof(${name}) AS kind, ${sliceSql(name, from)} AS digits FROM ${quoted(this.table.name)} t WHERE ${where}`,
      ]);
      const [kind, digits] = answer!.rows[0] ?? ['null', null];
      // The row was deleted or changed since its page was read.
      if (digits === null) return null;
      const part = Buffer.from(String(digits), 'hex');
      parts.push(part);
      if (part.length < SLICE_BYTES) {
        const bytes = Buffer.concat(parts);
        return kind === 'blob' ? bytes : textOf(bytes);
      }
    }
  }
}
