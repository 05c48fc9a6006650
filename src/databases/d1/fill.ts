/** Fills a mirror: reads every row of the origin, page by page, while the application writes. */
import { randomUUID } from 'node:crypto';
import { quoted } from '../identifiers.ts';
import type { KeyValue } from '../key.ts';
import { RowStatement } from '../sqlite/bind.ts';
import { readSchema } from '../sqlite/schema.ts';
import type { D1Client } from './client.ts';
import { Overtaken, type MirrorFile } from './mirror-file.ts';
import { readTables } from './read-tables.ts';
import { settleReferences } from './settle.ts';
import type { Page } from './table-reader.ts';
import { insertSql, type TableRows } from './table-rows.ts';

export interface FillProgress {
  rows: number;
  requests: number;
}

/**
 * Replaces the mirror's rows by the origin's. Rows that change meanwhile are those of several moments; where a log names
 * them, the mirror is exact once it has followed the log from the position that it has now, and where none does, no row
 * misses a parent that D1 has.
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
  const { tables } = readSchema(mirror.db);
  await readTables(client, tables, { logged: false }, (page) => {
    mine(() => replacePage(mirror, page));
    rows += page.rows.length;
    onProgress({ rows, requests: client.counts.requests });
  });
  if (!logged) await settleReferences(client, mirror, mine);
  mine(() => mirror.set({ filled: logged ? 2 : 1, filler: null }));
}

/** Puts a page in the place of what the mirror has. */
function replacePage(mirror: MirrorFile, { table, rows, after, to }: Page): void {
  deleteRange(mirror, table, after, to);
  const insert = new RowStatement(mirror.db, insertSql(table));
  for (const row of rows) insert.run(row);
}

/** @param after exclusive, null for the beginning; @param to inclusive, null for the end */
function deleteRange(
  mirror: MirrorFile,
  rows: TableRows,
  after: KeyValue[] | null,
  to: KeyValue[] | null,
): void {
  const key = `(${rows.key.map(quoted).join(', ')})`;
  const marks = (values: KeyValue[], all: string[]): string => `(${all.splice(0, values.length).join(', ')})`;
  new RowStatement(mirror.db, (all) => {
    const rest = [...all];
    const terms = [
      ...(after === null ? [] : [`${key} > ${marks(after, rest)}`]),
      ...(to === null ? [] : [`${key} <= ${marks(to, rest)}`]),
    ];
    return `DELETE FROM ${quoted(rows.table.name)} WHERE ${terms.join(' AND ') || 'true'}`;
  }).run([...(after ?? []), ...(to ?? [])]);
}
