/** Reads whole tables of D1, several pages at once. */
import PQueue from 'p-queue';
import type { SourceTable } from '../sqlite/schema.ts';
import type { D1Client } from './client.ts';
import { TableReader, type Page, type Range } from './table-reader.ts';
import { TableRows } from './table-rows.ts';

interface ReadOptions {
  /** Is there a change log, whose end each page is to tell? */
  logged: boolean;
  signal?: AbortSignal | undefined;
}

/**
 * Gives `onPage` every row of the tables, in pages that are of one snapshot each and come in no order.
 * @throws the first error, when no request is under way any more; as `D1Client.read` and `onPage`
 */
export async function readTables(
  client: D1Client,
  tables: SourceTable[],
  { logged, signal }: ReadOptions,
  onPage: (page: Page) => Promise<void> | void,
): Promise<void> {
  const queue = new PQueue({ concurrency: client.concurrency });
  const stop = new AbortController();
  let failure: { error: unknown } | undefined;
  const read = async (rows: TableRows, range: Range): Promise<void> => {
    const reader = new TableReader(client, rows, range, logged);
    const isWhole = range.after === null && range.to === null;
    for (let page = await reader.next(); page !== null; page = await reader.next()) {
      await onPage(page);
      signal?.throwIfAborted();
      if (stop.signal.aborted) return;
      const rest = isWhole ? restOf(page, reader.last, client.concurrency) : [];
      if (rest.length > 1) {
        for (const part of rest) enqueue(rows, part);
        return;
      }
    }
  };
  const enqueue = (rows: TableRows, range: Range): void => {
    queue
      .add(() => read(rows, range))
      .catch((error: unknown) => {
        failure ??= { error };
        stop.abort();
        queue.clear();
      });
  };
  for (const table of tables) enqueue(new TableRows(client, table), { after: null, to: null });
  await queue.onIdle();
  if (failure !== undefined) throw failure.error;
}

/** What follows a page, in as many parts as it may have pages by its row numbers; none where there are no row numbers. */
function restOf({ rows, table, to }: Page, last: bigint | null, most: number): Range[] {
  const end = to?.[0];
  const first = rows[0]?.[table.places[0]!];
  if (last === null || typeof end !== 'bigint' || typeof first !== 'bigint' || last <= end) return [];
  const pages = Number((last - end) / (end - first + 1n)) + 1;
  const parts = BigInt(Math.min(most, pages));
  const bound = (i: bigint): bigint => end + ((last - end) * i) / parts;
  return Array.from({ length: Number(parts) }, (_, i) => ({
    after: [bound(BigInt(i))],
    to: i + 1 === Number(parts) ? null : [bound(BigInt(i) + 1n)],
  }));
}
