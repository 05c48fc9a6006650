/**
 * Tables whose key has another order on the target than on the source, because it mixes storage classes or ignores case:
 * no range of the one is a range of the other. So the keys are read from each side in its own order, in chunks, and
 * compared by look-up; from the target as well, for rows that the source does not have.
 */
import { setImmediate as yieldToLoop } from 'node:timers/promises';
import type { TablePlan } from '../contract.ts';
import { keyLiterals, type KeyValue } from '../databases/key.ts';
import { copyLineKey, splitLines } from '../databases/postgres/copy-text.ts';
import { copyOut } from '../databases/postgres/copy-stream.ts';
import { targetColumns, targetKey, targetTable } from '../databases/postgres/names.ts';
import { ChunkReader } from '../databases/sqlite/chunk.ts';
import { CopyBuffer } from '../databases/sqlite/copy-buffer.ts';
import type { Pair } from './paired-read.ts';

const CHUNK_KEYS = 1_000;

/** The table with its key's columns alone. */
export function keyOnly(table: TablePlan): TablePlan {
  return { ...table, columns: table.columns.filter((column) => table.key.includes(column.name)) };
}

/**
 * @param compare is given every key of the source
 * @param compareExtra is given every key of the target, to find those that the source does not have
 * @returns rows of the source
 */
export async function compareByKey(
  { db, client }: Pair,
  keys: TablePlan,
  compare: (keys: KeyValue[][]) => Promise<void>,
  compareExtra: (keys: KeyValue[][]) => Promise<void>,
  onRows: (rows: number) => void,
  signal?: AbortSignal,
): Promise<number> {
  const reader = new ChunkReader(db, keys);
  const text = new CopyBuffer();
  let rows = 0;
  for (let after: KeyValue[] | null = null; signal?.aborted !== true;) {
    text.clear();
    const chunk = reader.read(after, reader.rowLimit(CHUNK_KEYS), text);
    if (chunk.last === null) break;
    // Rows that are set aside are in the quarantine, which the verdict counts by itself.
    await compare(splitLines(text.contents).map((line) => copyLineKey(keys, line)));
    after = chunk.last;
    rows += chunk.rows;
    onRows(rows);
    await yieldToLoop();
  }
  for (let after: KeyValue[] | null = null; signal?.aborted !== true;) {
    const found = splitLines(await copyOut(client, keysSql(keys, after)));
    if (found.length === 0) break;
    const chunk: KeyValue[][] = found.map((line) => copyLineKey(keys, line));
    await compareExtra(chunk);
    after = chunk.at(-1)!;
  }
  return rows;
}

/** In the plan's order of columns, and sorted by the key as the target sorts it. */
function keysSql(keys: TablePlan, after: KeyValue[] | null): string {
  const list = targetKey(keys).join(', ');
  const where = after === null ? '' : `WHERE (${list}) > (${keyLiterals(keys, after)})`;
  const columns = targetColumns(keys).join(', ');
  return `COPY (SELECT ${columns} FROM ${targetTable(keys)} ${where} ORDER BY ${list} LIMIT ${CHUNK_KEYS}) TO STDOUT`;
}
