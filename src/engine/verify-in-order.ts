/**
 * Passes over a table in key order: a range of the source in SQLite's order, the same range of the target, bytes
 * against bytes. The next range is read while the target sends one. Memory is bounded by the range, whatever either
 * side has too many or too few of.
 */
import { setImmediate as yieldToLoop } from 'node:timers/promises';
import type pg from 'pg';
import type { TablePlan } from '../contract.ts';
import { GrowingBuffer } from '../databases/growing-buffer.ts';
import { keyColumns, keyInput, keyLiterals, keyText, parseKeyText, type KeyValue } from '../databases/key.ts';
import { copyOut } from '../databases/postgres/copy-stream.ts';
import { copyLineKey, splitLines } from '../databases/postgres/copy-text.ts';
import { targetColumns, targetKey, targetTable } from '../databases/postgres/names.ts';
import type { ChunkReader } from '../databases/sqlite/chunk.ts';
import { CopyBuffer } from '../databases/sqlite/copy-buffer.ts';
import { sameRows } from './compare.ts';

const CHUNK_ROWS = 5_000;
const CHUNK_BYTES = 1024 * 1024;
/** A range of the target may have so many rows more than twice those of the source before it is read in pages. */
const SPARE_ROWS = 1_000;
/** Suspicious keys are handed over in such portions. */
const SUSPECTS = 1_000;

/**
 * @param table with the columns that are compared
 * @param suspect is given every key whose rows are not the same at first sight
 * @returns rows of the source
 */
export async function compareInOrder(
  client: pg.Client,
  reader: ChunkReader,
  table: TablePlan,
  suspect: (keys: KeyValue[][]) => Promise<void>,
  onRows: (rows: number) => void,
  signal?: AbortSignal,
): Promise<number> {
  let after: KeyValue[] | null = null;
  /** The range that is read now, and the one before it, which is compared meanwhile. */
  let [reading, comparing] = [new Range(client, table), new Range(client, table)];
  let from: KeyValue[] | null = null;
  let rows = 0;
  let wanted = CHUNK_ROWS;
  try {
    do {
      if (signal?.aborted === true) break;
      const before = reading.source.length;
      const chunk = reader.read(after, reader.rowLimit(wanted), reading.source);
      const bytes = reading.source.length - before;
      if (chunk.rows > 0)
        wanted = Math.max(1, Math.min(CHUNK_ROWS, Math.floor((CHUNK_BYTES * chunk.rows) / (bytes + 1))));
      rows += chunk.rows;
      reading.rows += chunk.rows;
      after = chunk.last;
      // A range can only end at a key that the target knows how to compare.
      if (after === null || isHeld(table, after)) {
        await comparing.target;
        reading.readTarget(from, after);
        await comparing.compare(suspect);
        [reading, comparing] = [comparing, reading];
        from = after;
      }
      onRows(rows);
      await yieldToLoop();
    } while (after !== null);
    await comparing.compare(suspect);
  } finally {
    // A read that is under way has the connection.
    await Promise.allSettled([reading.target, comparing.target]);
  }
  return rows;
}

/** Rows of one key range, as COPY text of both sides; memory is used again for the next range. */
class Range {
  readonly source = new CopyBuffer();
  /** Read from the source, those set aside included. */
  rows = 0;
  target: Promise<Buffer> = Promise.resolve(Buffer.alloc(0));

  private readonly client: pg.Client;
  private readonly table: TablePlan;
  private readonly received = new GrowingBuffer();
  private last: KeyValue[] | null = null;

  constructor(client: pg.Client, table: TablePlan) {
    this.client = client;
    this.table = table;
  }

  readTarget(after: KeyValue[] | null, last: KeyValue[] | null): void {
    this.last = last;
    this.target = copyOut(this.client, rangeSql(this.table, after, last, this.limit), this.received);
    // Awaited by whoever compares; this only keeps a failure during the next read from being called unhandled.
    this.target.catch(() => undefined);
  }

  /** Then the range is empty. */
  async compare(suspect: (keys: KeyValue[][]) => Promise<void>): Promise<void> {
    const target = await this.target;
    if (!sameRows(this.table, this.source.contents, target)) await this.suspects(target, suspect);
    this.source.clear();
    this.rows = 0;
    this.target = Promise.resolve(Buffer.alloc(0));
  }

  /** More rows of the target than this come in pages. */
  private get limit(): number {
    return 2 * this.rows + SPARE_ROWS;
  }

  private async suspects(first: Buffer, suspect: (keys: KeyValue[][]) => Promise<void>): Promise<void> {
    const { table } = this;
    const left = new Map(
      splitLines(this.source.contents).map((line) => [keyText(copyLineKey(table, line)), line]),
    );
    for (let page = splitLines(first); ;) {
      const keys: string[] = [];
      for (const line of page) {
        const key = keyText(copyLineKey(table, line));
        const other = left.get(key);
        left.delete(key);
        if (other === undefined || !sameRows(table, other, line)) keys.push(key);
      }
      const full = page.length === this.limit;
      const after = full ? copyLineKey(table, page.at(-1)!) : null;
      await inPortions(keys, suspect);
      if (after === null) break;
      page = splitLines(await copyOut(this.client, rangeSql(table, after, this.last, this.limit)));
    }
    await inPortions([...left.keys()], suspect);
  }
}

async function inPortions(keys: string[], suspect: (keys: KeyValue[][]) => Promise<void>): Promise<void> {
  for (let i = 0; i < keys.length; i += SUSPECTS)
    await suspect(keys.slice(i, i + SUSPECTS).map(parseKeyText));
}

/** Can the target's type hold the key? */
function isHeld(table: TablePlan, key: KeyValue[]): boolean {
  const columns = keyColumns(table);
  return key.every((value, i) => keyInput(value, columns[i]!) !== null);
}

/** Rows after the key `after` up to `last`; to the end where `last` is null. COPY takes no parameters, so they are literals. */
function rangeSql(
  table: TablePlan,
  after: KeyValue[] | null,
  last: KeyValue[] | null,
  limit: number,
): string {
  const keys = targetKey(table).join(', ');
  const conditions: string[] = [];
  if (after !== null) conditions.push(`(${keys}) > (${keyLiterals(table, after)})`);
  if (last !== null) conditions.push(`(${keys}) <= (${keyLiterals(table, last)})`);
  const where = conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`;
  return (
    `COPY (SELECT ${targetColumns(table).join(', ')} FROM ${targetTable(table)} ${where} ` +
    `ORDER BY ${keys} LIMIT ${limit}) TO STDOUT`
  );
}
