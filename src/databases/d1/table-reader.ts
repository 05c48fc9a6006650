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
  /** Keys between which these are all rows: after the first, null for the beginning, up to the second. */
  after: KeyValue[] | null;
  to: KeyValue[];
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

  /** @param logged is there a change log, whose end each page is to tell? */
  constructor(client: D1Client, table: SourceTable, logged = false) {
    this.client = client;
    this.logged = logged;
    this.table = new TableRows(client, table);
    this.order = this.table.key.map((name) => `t.${quoted(name)}`);
  }

  /** The next rows; null after the last. @throws as `D1Client.read` */
  async next(): Promise<Page | null> {
    // Several statements on one snapshot where a row has more cells than a result may have columns.
    const position = this.logged ? [`SELECT CAST(max(seq) AS TEXT) AS position FROM ${LOG_TABLE}`] : [];
    const answers = await this.client.read([...this.table.statements(this.pageSql()), ...position]);
    const end = this.logged ? answers.pop()!.rows[0]![0]! : '0';
    this.position = BigInt(end);
    const rows = await this.table.rows(answers);
    if (rows.length === 0) return null;
    const { after } = this;
    const to = this.table.places.map((place) => rows.at(-1)![place]!);
    this.after = to;
    // Twice what fitted, so that the bytes end a page and not the rows.
    this.limit = Math.min(MOST_ROWS, 2 * rows.length);
    return { rows, after, to };
  }

  private pageSql(): string {
    const name = quoted(this.table.table.name);
    const sizes = this.table.columns.map((column) => `ifnull(octet_length(t.${quoted(column)}), 0)`);
    const order = this.order.join(', ');
    const keys = this.order.map((_, i) => `k${i}`);
    const where = this.after === null ? '' : `WHERE (${order}) > (${this.after.map(exactSql).join(', ')})`;
    const some =
      `SELECT ${this.order.map((column, i) => `${column} AS k${i}`).join(', ')}, ${balanced(sizes, '+')} AS size ` +
      `FROM ${name} t ${where} ORDER BY ${order} LIMIT ${this.limit}`;
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
