/** Fills a mirror: reads every row of the origin, page by page, while the application writes. */
import { randomUUID } from 'node:crypto';
import { quoted } from '../identifiers.ts';
import type { KeyValue } from '../key.ts';
import { RowStatement } from '../sqlite/bind.ts';
import { readSchema } from '../sqlite/schema.ts';
import type { D1Client } from './client.ts';
import { Overtaken, type MirrorFile } from './mirror-file.ts';
import { TableReader, type Page } from './table-reader.ts';
import type { TableRows } from './table-rows.ts';

export interface FillProgress {
  rows: number;
  requests: number;
}

/**
 * Replaces the mirror's rows by the origin's. Rows that change meanwhile are those of several moments; where a log names
 * them, the mirror is exact once it has followed the log from the position that it has now.
 * @throws Overtaken where another process fills it, or its schema changed; as `D1Client.read`
 */
export async function fillMirror(
  client: D1Client,
  mirror: MirrorFile,
  onProgress: (progress: FillProgress) => void = () => undefined,
): Promise<void> {
  const filler = randomUUID();
  const logged = mirror.change(() => {
    mirror.set({ filled: 0, filler });
    return mirror.isFollowable();
  });
  const mine = <T>(work: () => T): T =>
    mirror.change(() => {
      if (mirror.state().filler !== filler) throw new Overtaken('another attempt fills the mirror');
      return work();
    });
  let rows = 0;
  for (const table of readSchema(mirror.db).tables) {
    const reader = new TableReader(client, table);
    const writer = new PageWriter(mirror, reader.table);
    for (let page = await reader.next(); page !== null; page = await reader.next()) {
      const found = page;
      mine(() => writer.replace(found));
      rows += found.rows.length;
      onProgress({ rows, requests: client.counts.requests });
    }
  }
  mine(() => mirror.set({ filled: logged ? 2 : 1, filler: null }));
}

/** Puts pages in the place of what the mirror has. */
class PageWriter {
  private readonly mirror: MirrorFile;
  private readonly rows: TableRows;
  private readonly insert: RowStatement;

  constructor(mirror: MirrorFile, rows: TableRows) {
    this.mirror = mirror;
    this.rows = rows;
    this.insert = new RowStatement(mirror.db, insertSql(rows));
  }

  replace({ rows, after, to }: Page): void {
    this.deleteBetween(after, to);
    for (const row of rows) this.insert.run(row);
  }

  /** @param after exclusive, null for the beginning; @param to inclusive, null for the end */
  private deleteBetween(after: KeyValue[] | null, to: KeyValue[] | null): void {
    const key = `(${this.rows.key.map(quoted).join(', ')})`;
    const marks = (values: KeyValue[], all: string[]): string =>
      `(${all.splice(0, values.length).join(', ')})`;
    new RowStatement(this.mirror.db, (all) => {
      const rest = [...all];
      const terms = [
        ...(after === null ? [] : [`${key} > ${marks(after, rest)}`]),
        ...(to === null ? [] : [`${key} <= ${marks(to, rest)}`]),
      ];
      return `DELETE FROM ${quoted(this.rows.table.name)} WHERE ${terms.join(' AND ') || 'true'}`;
    }).run([...(after ?? []), ...(to ?? [])]);
  }
}

/** A row that moved to another key between two pages is met twice, with the same unique values: the later one stays. */
export function insertSql(rows: TableRows): (marks: string[]) => string {
  const names = rows.columns.map(quoted).join(', ');
  return (marks) =>
    `INSERT OR REPLACE INTO ${quoted(rows.table.name)} (${names}) VALUES (${marks.join(', ')})`;
}
