/** Reads a range of a D1 table in key order, page by page, as much in one request as D1's limits allow. */
import { LOG_TABLE } from '../sqlite/control.ts';
import { balanced } from '../sqlite/encode.ts';
import { quoted } from '../identifiers.ts';
import { InvalidText } from '../invalid-text.ts';
import type { KeyValue } from '../key.ts';
import { exactSql } from './cells.ts';
import type { D1Client } from './client.ts';
import type { TableRows } from './table-rows.ts';

/**
 * Values of a page, before their encoding. What a reply may hold is not documented; one row may have so much, and D1 has to be able
 * to give it (https://developers.cloudflare.com/d1/platform/limits/).
 */
export const PAGE_BYTES = 2_000_000;
const FIRST_ROWS = 500;
const MOST_ROWS = 50_000;
/** More rows than are likely to fit, so that the bytes end a page and not the rows. */
const SPARE = 1.3;

/** A part of a table in key order: after one key, up to another; null for either end of the table. */
export interface Range {
  after: KeyValue[] | null;
  to: KeyValue[] | null;
}

/** All rows that a range has in one snapshot. */
export interface Page extends Range {
  table: TableRows;
  /** The cells in the order of the table's `columns`. */
  rows: KeyValue[][];
  /** End of the change log in the snapshot; 0 where none was asked for. */
  position: bigint;
}

export class TableReader {
  readonly table: TableRows;
  /** Greatest row number of the table in the last snapshot; null where it has none. */
  last: bigint | null = null;
  private readonly client: D1Client;
  private readonly logged: boolean;
  private readonly to: KeyValue[] | null;
  /** SQL names of the columns that order the rows. */
  private readonly order: string[];
  private after: KeyValue[] | null;
  private limit = FIRST_ROWS;
  private ended = false;

  /** @param logged is there a change log, whose end each page is to tell? */
  constructor(client: D1Client, table: TableRows, range: Range, logged: boolean) {
    this.client = client;
    this.table = table;
    this.logged = logged;
    this.after = range.after;
    this.to = range.to;
    this.order = table.key.map((name) => `t.${quoted(name)}`);
  }

  /**
   * The next rows; null after the page that ends the range. It ends where its snapshot has no more rows, however fast the
   * application adds some. @throws as `D1Client.read`
   */
  async next(): Promise<Page | null> {
    if (this.ended) return null;
    const { limit, after } = this;
    const name = quoted(this.table.table.name);
    // On one snapshot: the rows, several statements where there are more cells than a result may have columns.
    const answers = await this.client.readBulk([
      `SELECT (SELECT count(*) FROM (SELECT 1 ${this.restSql()} LIMIT ${limit})) AS there, ` +
        `${this.logged ? `(SELECT CAST(max(seq) AS TEXT) FROM ${LOG_TABLE})` : 'NULL'} AS position, ` +
        `${this.table.rowid === null ? 'NULL' : `(SELECT CAST(max(t.${quoted(this.table.rowid)}) AS TEXT) FROM ${name} t)`} AS last`,
      ...this.table.statements(this.pageSql()),
    ]);
    const [there, position, last] = answers.shift()!.rows[0]!;
    this.last = last === null ? null : BigInt(last!);
    const rows = await this.table.rows(answers);
    this.ended = rows.length === there && rows.length < limit;
    const to = this.ended ? this.to : this.table.places.map((place) => rows.at(-1)![place]!);
    this.after = to;
    this.limit = Math.min(MOST_ROWS, Math.ceil((SPARE * rows.length * PAGE_BYTES) / (sizeOf(rows) + 1)) + 1);
    return { table: this.table, rows, after, to, position: BigInt(position ?? 0) };
  }

  /** FROM and WHERE of the rows that are still to be read. */
  private restSql(): string {
    const order = this.order.join(', ');
    const bound = (operator: string, key: KeyValue[]): string =>
      `(${order}) ${operator} (${key.map(exactSql).join(', ')})`;
    const terms = [
      ...(this.after === null ? [] : [bound('>', this.after)]),
      ...(this.to === null ? [] : [bound('<=', this.to)]),
    ];
    return `FROM ${quoted(this.table.table.name)} t WHERE ${terms.join(' AND ') || 'true'} ORDER BY ${order}`;
  }

  private pageSql(): string {
    const name = quoted(this.table.table.name);
    const sizes = this.table.columns.map((column) => `ifnull(octet_length(t.${quoted(column)}), 0)`);
    const keys = this.order.map((_, i) => `k${i}`);
    const some =
      `SELECT ${this.order.map((column, i) => `${column} AS k${i}`).join(', ')}, ${balanced(sizes, '+')} AS size ` +
      `${this.restSql()} LIMIT ${this.limit}`;
    // A row belongs to the page if those before it leave room, so that the first always does.
    const page =
      `SELECT ${keys.join(', ')}, sum(size) OVER (ORDER BY ${keys.join(', ')} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) ` +
      `AS before FROM (${some})`;
    return (
      `FROM (${page}) p JOIN ${name} t ON ${this.order.map((column, i) => `${column} = p.k${i}`).join(' AND ')} ` +
      `WHERE ifnull(p.before, 0) < ${PAGE_BYTES} ORDER BY ${keys.map((key) => `p.${key}`).join(', ')}`
    );
  }
}

/** Bytes of the values, about: characters count as one. */
function sizeOf(rows: KeyValue[][]): number {
  let size = 0;
  for (const row of rows) {
    for (const value of row) {
      if (typeof value === 'string' || Buffer.isBuffer(value)) size += value.length;
      else size += value instanceof InvalidText ? value.bytes.length : 8;
    }
  }
  return size;
}
