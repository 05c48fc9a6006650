/**
 * Reads the same keys from both databases so that a difference is decided, not suspected, while writes go on.
 *
 * The target's snapshot comes first and holds its checkpoint C with the rows, because they commit together. A key that
 * the source's log has not touched after C has, in the source's later snapshot, the row that was applied at C: any
 * difference is real. A touched key is undecided; its log entry lies after C, so verifying the changes after C meets it again.
 */
import type Database from 'better-sqlite3';
import type pg from 'pg';
import type { TablePlan } from '../contract.ts';
import { keyInput, keyKinds, keysAsRows, keyText, parseKeyText, type KeyValue } from '../databases/key.ts';
import { copyOut } from '../databases/postgres/copy-stream.ts';
import { loggedKey } from '../databases/postgres/copy-text.ts';
import { sameKeyAs, targetColumns, targetTable } from '../databases/postgres/names.ts';
import { toCopyText } from '../databases/sqlite/copy-buffer.ts';
import { keysAfter, reachesBack, type ChangedKeys } from '../databases/sqlite/log.ts';
import { numberingOf, Renumbered } from '../databases/sqlite/numbering.ts';
import { readTransaction } from '../databases/sqlite/transaction.ts';
import { differences, type Difference } from './compare.ts';
import { pause } from './endpoints.ts';

/** How long replay may take to copy a table without a key again after a VACUUM. */
const RENUMBERED_MS = 120_000;
const RENUMBERED_PAUSE_MS = 100;

/** Runs `work` on one snapshot of the target. @returns its result, with the position of the checkpoint in that snapshot */
export async function onTargetSnapshot<T>(
  client: pg.Client,
  work: (position: bigint) => Promise<T>,
): Promise<T> {
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  try {
    const { rows } = await client.query<{ position: string }>(
      'SELECT position FROM crossfade.checkpoint WHERE id = 1',
    );
    return await work(BigInt(rows[0]?.position ?? 0));
  } finally {
    await client.query('COMMIT').catch(() => undefined);
  }
}

/** The two databases of a comparison. */
export interface Pair {
  db: Database.Database;
  client: pg.Client;
  /** False: the target is primary, and what its log still names has not come back yet. */
  sourceIsPrimary: boolean;
}

/**
 * Reads the same keys from both databases on paired snapshots.
 * @param reads `source` is synchronous and runs on one snapshot, `target` inside the target's
 * @returns what was read, and the keys (as `keyText`) of which a difference means nothing
 */
export async function readPaired<S, T>(
  pair: Pair,
  table: TablePlan,
  keys: KeyValue[][],
  reads: { source(): S; target(): Promise<T> },
): Promise<{ source: S; target: T; undecided: Set<string> }> {
  const { db, client, sourceIsPrimary } = pair;
  const giveUpAt = performance.now() + RENUMBERED_MS;
  for (;;) {
    const found = await onTargetSnapshot(client, async (position) => {
      const pending = sourceIsPrimary ? null : await pendingBack(client, table, keys);
      const numbering = table.rowNumbered ? await numberingThere(client, table) : null;
      const source = readTransaction(db, () => {
        if (table.rowNumbered && numberingOf(db) !== numbering) return 'renumbered';
        return sourceIsPrimary && !reachesBack(db, position)
          ? 'trimmed'
          : { rows: reads.source(), undecided: pending ?? touched(db, table, position) };
      });
      if (typeof source === 'string') return source;
      return { source: source.rows, target: await reads.target(), undecided: source.undecided };
    });
    if (typeof found !== 'string') return found;
    // Trimmed between the two snapshots: the next ones are later. Renumbered: replay replaces the table.
    if (found === 'renumbered') {
      if (performance.now() > giveUpAt) throw new Renumbered(db.name);
      await pause(RENUMBERED_PAUSE_MS, new AbortController().signal);
    }
  }
}

/** The numbering that the target's rows have; null where the source's own was dropped, after *finish*. */
async function numberingThere(client: pg.Client, table: TablePlan): Promise<bigint | null> {
  const { rows } = await client.query<{ numbering: string | null }>(
    `SELECT numbering FROM crossfade.copied WHERE table_id = $1
        AND NOT EXISTS (SELECT 1 FROM crossfade.control WHERE finished_at IS NOT NULL)`,
    [table.id],
  );
  const numbering = rows[0]?.numbering;
  return numbering === null || numbering === undefined ? null : BigInt(numbering);
}

/** Rows of the given keys that are really different. */
export async function compareKeys(
  pair: Pair,
  staged: ChangedKeys,
  table: TablePlan,
  keys: KeyValue[][],
): Promise<Difference[]> {
  const { source, target, undecided } = await readPaired(pair, table, keys, {
    source: () => sourceRows(staged, table, keys),
    target: () => targetRows(pair.client, table, keys),
  });
  return differences(table, source, target).filter(({ key }) => !undecided.has(key));
}

/** Keys of the table that the source's log names after the position. */
function touched(db: Database.Database, table: TablePlan, position: bigint): Set<string> {
  return new Set(keysAfter(db, table, position).map(keyText));
}

/** Keys of the table that the target's log names, all of `keys` after a TRUNCATE. */
async function pendingBack(client: pg.Client, table: TablePlan, keys: KeyValue[][]): Promise<Set<string>> {
  const { rows } = await client.query<{ key: string[] | null }>(
    'SELECT key FROM crossfade.log WHERE table_id = $1',
    [table.id],
  );
  if (rows.some(({ key }) => key === null)) return new Set(keys.map(keyText));
  return new Set(rows.map(({ key }) => keyText(loggedKey(table, key!))));
}

function sourceRows(staged: ChangedKeys, table: TablePlan, keys: KeyValue[][]): Buffer {
  staged.stageKeys(table, keys);
  const found = staged.rows(table, 0, staged.highest());
  const text =
    found.data === null ? Buffer.alloc(0) : toCopyText(found.data, table.columns.length, found.good);
  if (text !== null && found.good === found.rows) return text;
  // Rows that cannot be written as text are in the quarantine, which the verdict counts by itself.
  const texts = staged.numbered(table, 0, staged.highest()).map(({ number }) => {
    const row = staged.rows(table, number - 1, number);
    return row.data === null ? null : toCopyText(row.data, table.columns.length, 1);
  });
  return Buffer.concat(texts.filter((part) => part !== null));
}

async function targetRows(client: pg.Client, table: TablePlan, keys: KeyValue[][]): Promise<Buffer> {
  const kinds = keyKinds(table);
  const inputs = keys
    .map((key) => key.map((value, i) => keyInput(value, kinds[i]!)))
    .filter((key): key is string[] => key.every((text) => text !== null));
  if (inputs.length === 0) return Buffer.alloc(0);
  const columns = targetColumns(table, 't').join(', ');
  return copyOut(
    client,
    `COPY (SELECT ${columns} FROM ${targetTable(table)} t JOIN ${keysAsRows(table, inputs)} ON ${sameKeyAs(table)}) TO STDOUT`,
  );
}

/** The keys of differences, to be compared again. */
export function keysOf(found: Difference[]): KeyValue[][] {
  return found.map(({ key }) => parseKeyText(key));
}
