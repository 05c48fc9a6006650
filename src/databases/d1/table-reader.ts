/** Reads a table of D1 in key order, page by page, as much in one request as D1's limits allow. */
import { LOG_TABLE } from '../sqlite/control.ts';
import { balanced } from '../sqlite/encode.ts';
import type { SourceTable } from '../sqlite/schema.ts';
import { quoted } from '../identifiers.ts';
import type { KeyValue } from '../key.ts';
import { exactSql } from './cells.ts';
import type { D1Client } from './client.ts';
import { TableRows } from './table-rows.ts';

/** Values of a page, before their encoding; D1 allows 2 MB for a row, and what a reply may hold is not documented. */
const PAGE_BYTES = 1_500_000;
const MOST_ROWS = 20_000;

export interface Page {
  /** The cells in the order of `columns`. */
  rows: KeyValue[][];
  /** Keys between which these are all rows of the snapshot: after the first, up to the second; null for either end of the table. */
  after: KeyValue[] | null;
  to: KeyValue[] | null;
}

export class TableReader {
  readonly table: TableRows;
  /** End of the change log in the last snapshot; 0 where none was asked for. */
  position = 0n;
  private readonly client: D1Client;
  private readonly logged: boolean;
  /** SQL names of the columns that order the rows. */
  private readonly order: string[];
  private after: KeyValue[] | null = null;
  private limit = 500;
  private ended = false;

  /** @param logged is there a change log, whose end each page is to tell? */
  constructor(client: D1Client, table: SourceTable, logged = false) {
    this.client = client;
    this.logged = logged;
    this.table = new TableRows(client, table);
    this.order = this.table.key.map((name) => `t.${quoted(name)}`);
  }

  /**
   * The next rows; null after the page that ends the table. It ends where its snapshot has no more rows, however fast the
   * application adds some. @throws as `D1Client.read`
   */
  async next(): Promise<Page | null> {
    if (this.ended) return null;
    const { limit, after } = this;
    // On one snapshot: the rows, several statements where there are more cells than a result may have columns.
    const answers = await this.client.read([
      `SELECT (SELECT count(*) FROM (SELECT 1 ${this.restSql()} LIMIT ${limit})) AS there, ` +
        `${this.logged ? `(SELECT CAST(max(seq) AS TEXT) FROM ${LOG_TABLE})` : `'0'`} AS position`,
      ...this.table.statements(this.pageSql()),
    ]);
    const [there, position] = answers.shift()!.rows[0]!;
    this.position = BigInt(position!);
    const rows = await this.table.rows(answers);
    this.ended = rows.length === there && rows.length < limit;
    const to = this.ended ? null : this.table.places.map((place) => rows.at(-1)![place]!);
    this.after = to;
    // Twice what fitted, so that the bytes end a page and not the rows.
    this.limit = Math.min(MOST_ROWS, 2 * rows.length);
    return { rows, after, to };
  }

  /** FROM and WHERE of the rows that are still to be read. */
  private restSql(): string {
    const order = this.order.join(', ');
    const where = this.after === null ? '' : `WHERE (${order}) > (${this.after.map(exactSql).join(', ')})`;
    return `FROM ${quoted(this.table.table.name)} t ${where} ORDER BY ${order}`;
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
