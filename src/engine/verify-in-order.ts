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
import { copyOut, copyRows } from '../databases/postgres/copy-stream.ts';
import { copyLineKey, splitLines } from '../databases/postgres/copy-text.ts';
import { targetColumns, targetKey, targetTable } from '../databases/postgres/names.ts';
import { ChunkReader } from '../databases/sqlite/chunk.ts';
import { CopyBuffer } from '../databases/sqlite/copy-buffer.ts';
import { hasRawRows, RawReader, type RawChunk } from '../databases/sqlite/raw-rows.ts';
import type { ReadingThread } from '../databases/sqlite/reading-thread.ts';
import { sameRows } from './compare.ts';
import { MATCHED_FORMAT, RowMatcher } from './match-rows.ts';
import type { Pair } from './paired-read.ts';

const CHUNK_ROWS = 5_000;
const CHUNK_BYTES = 1024 * 1024;
/** A range of the target may have so many rows more than twice those of the source before it is read in pages. */
const SPARE_ROWS = 1_000;
/** Suspicious keys are handed over in such portions. */
const SUSPECTS = 1_000;

/** Where a pass over a table stands: at its start where null, else after this key. */
type Place = KeyValue[] | null | 'end';

/**
 * @param thread for tables whose rows have a raw form
 * @param table with the columns that are compared
 * @param numbering what the numbers of a table without a key must still mean; null for any other table
 * @param suspect is given every key whose rows are not the same at first sight
 * @returns rows of the source
 */
export async function compareInOrder(
  { db, client }: Pick<Pair, 'db' | 'client'>,
  thread: () => ReadingThread,
  table: TablePlan,
  numbering: bigint | null,
  suspect: (keys: KeyValue[][]) => Promise<void>,
  onRows: (rows: number) => void,
  signal?: AbortSignal,
): Promise<number> {
  const raw = hasRawRows(table) ? new RawReader(thread(), table, numbering) : null;
  const reader = new ChunkReader(db, table, numbering);
  let rows = 0;
  const count = (more: number): void => onRows((rows += more));
  for (let at: Place = null; at !== 'end' && signal?.aborted !== true;) {
    if (raw !== null) at = await glance(client, raw, table, at, count, signal);
    if (at !== 'end')
      at = await look(client, reader, table, at, raw === null ? Infinity : 1, suspect, count, signal);
  }
  return rows;
}

/**
 * Passes over ranges as long as their rows are the same at first sight: while the target sends one, the source reads the
 * next. @returns where they are not the same
 */
async function glance(
  client: pg.Client,
  reader: RawReader,
  table: TablePlan,
  from: KeyValue[] | null,
  onRows: (rows: number) => void,
  signal: AbortSignal | undefined,
): Promise<Place> {
  const read = (after: KeyValue[] | null, wanted: number): Promise<RawChunk> =>
    quiet(reader.read(after, wanted));
  let reading: Promise<RawChunk> | null = read(from, CHUNK_ROWS);
  let sending: Promise<boolean> | null = null;
  try {
    for (let after = from; ;) {
      const chunk: RawChunk = await reading!;
      reading = null;
      const { data, rows, last } = chunk;
      if (signal?.aborted === true || !chunk.whole || (last !== null && !isHeld(table, last))) return after;
      if (last !== null) reading = read(last, wantedRows(rows, data.length));
      sending = quiet(matches(client, table, after, chunk));
      if (!(await sending)) return after;
      sending = null;
      onRows(rows);
      if (last === null) return 'end';
      after = last;
    }
  } finally {
    // Whoever comes next needs the connections.
    await Promise.allSettled([reading, sending]);
  }
}

/** Are the target's rows of this range those of the chunk? */
async function matches(
  client: pg.Client,
  table: TablePlan,
  after: KeyValue[] | null,
  { data, rows, last }: RawChunk,
): Promise<boolean> {
  const matcher = new RowMatcher(table.columns, data, rows);
  await copyRows(client, rangeSql(table, after, last, rows + 1, MATCHED_FORMAT), (row) => matcher.match(row));
  return matcher.same;
}

/** For whoever awaits it later: a failure until then is not unhandled. */
function quiet<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}

/** As many rows as make a range of the usual size. */
function wantedRows(rows: number, bytes: number): number {
  return Math.max(1, Math.min(CHUNK_ROWS, Math.floor((CHUNK_BYTES * rows) / (bytes + 1))));
}

/** Passes over ranges row by row where their COPY text differs. @param ranges how many at most @returns where it ended */
async function look(
  client: pg.Client,
  reader: ChunkReader,
  table: TablePlan,
  start: KeyValue[] | null,
  ranges: number,
  suspect: (keys: KeyValue[][]) => Promise<void>,
  onRows: (rows: number) => void,
  signal: AbortSignal | undefined,
): Promise<Place> {
  let after = start;
  /** The range that is read now, and the one before it, which is compared meanwhile. */
  let [reading, comparing] = [new Range(client, table), new Range(client, table)];
  let from = start;
  let wanted = CHUNK_ROWS;
  try {
    for (let left = ranges; left > 0;) {
      if (signal?.aborted === true) return 'end';
      const before = reading.source.length;
      const chunk = reader.read(after, reader.rowLimit(wanted), reading.source);
      if (chunk.rows > 0) wanted = wantedRows(chunk.rows, reading.source.length - before);
      reading.rows += chunk.rows;
      after = chunk.last;
      // A range can only end at a key that the target knows how to compare.
      if (after === null || isHeld(table, after)) {
        await comparing.target;
        reading.readTarget(from, after);
        await comparing.compare(suspect);
        [reading, comparing] = [comparing, reading];
        from = after;
        left--;
      }
      onRows(chunk.rows);
      if (after === null) break;
      await yieldToLoop();
    }
    await comparing.compare(suspect);
  } finally {
    // A read that is under way has the connection.
    await Promise.allSettled([reading.target, comparing.target]);
  }
  return after ?? 'end';
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
  format = '',
): string {
  const keys = targetKey(table).join(', ');
  const conditions: string[] = [];
  if (after !== null) conditions.push(`(${keys}) > (${keyLiterals(table, after)})`);
  if (last !== null) conditions.push(`(${keys}) <= (${keyLiterals(table, last)})`);
  const where = conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`;
  return (
    `COPY (SELECT ${targetColumns(table).join(', ')} FROM ${targetTable(table)} ${where} ` +
    `ORDER BY ${keys} LIMIT ${limit}) TO STDOUT ${format}`
  );
}
