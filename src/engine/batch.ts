/**
 * One replay batch: the keys that changed in a range of the log, with their current rows, from one source snapshot to
 * one target transaction.
 */
import type Database from 'better-sqlite3';
import type { TablePlan } from '../contract.ts';
import { keyInput, keyColumns, keyText, type KeyValue } from '../databases/key.ts';
import { toCopyText } from '../databases/sqlite/copy-buffer.ts';
import type { ChangedKeys } from '../databases/sqlite/log.ts';
import { misfitReason } from '../databases/sqlite/chunk.ts';
import type { Quarantined, TableBatch } from '../databases/postgres/apply.ts';

/** What a slice of the staged keys does to the target. */
export interface Slice {
  tables: TableBatch[];
  quarantine: Quarantined[];
  /** Keys of the slice, as `keyText`. */
  keys: { tableId: number; key: string }[];
}

/** Builds the slice (from, to] of the staged keys. Runs inside the caller's read transaction. */
export function readSlice(
  staged: ChangedKeys,
  tables: Map<number, TablePlan>,
  range: { from: number; to: number },
  parts: { deletions: boolean; rows: boolean },
): Slice {
  const slice: Slice = { tables: [], quarantine: [], keys: [] };
  for (const id of staged.tables()) {
    const table = tables.get(id)!;
    const keys = staged.numbered(table, range.from, range.to);
    if (keys.length === 0) continue;
    const batch: TableBatch = { table, deletions: [], rows: null };
    if (parts.deletions) batch.deletions = deletions(table, keys);
    if (parts.rows) batch.rows = rows(staged, table, keys, range, slice.quarantine);
    slice.tables.push(batch);
    for (const { key } of keys) slice.keys.push({ tableId: id, key: keyText(key) });
  }
  return slice;
}

interface NumberedKey {
  /** Place among the staged keys. */
  number: number;
  key: KeyValue[];
}

/** Keys that the target can hold at all; another key has no row there to delete. */
function deletions(table: TablePlan, keys: NumberedKey[]): string[][] {
  const columns = keyColumns(table);
  const inputs: string[][] = [];
  for (const { key } of keys) {
    const input = key.map((value, i) => keyInput(value, columns[i]!));
    if (input.every((text) => text !== null)) inputs.push(input);
  }
  return inputs;
}

function rows(
  staged: ChangedKeys,
  table: TablePlan,
  keys: NumberedKey[],
  range: { from: number; to: number },
  quarantine: Quarantined[],
): Buffer | null {
  for (const { key, number } of keys) {
    // A NULL equals nothing, so the row is not found by its key.
    if (key.includes(null) && staged.exists(table, number)) {
      quarantine.push({ tableId: table.id, key: keyText(key), reason: 'a key column is NULL' });
    }
  }
  const found = staged.rows(table, range.from, range.to);
  if (found.rows === 0) return null;
  const text = found.data === null ? null : toCopyText(found.data, table.columns.length, found.good);
  if (found.good === found.rows && text !== null) return text;
  return rowByRow(staged, table, keys, quarantine);
}

/** Some row does not fit its columns, or has text that is not UTF-8: looks at each alone. */
function rowByRow(
  staged: ChangedKeys,
  table: TablePlan,
  keys: NumberedKey[],
  quarantine: Quarantined[],
): Buffer | null {
  const texts: Buffer[] = [];
  for (const { key, number } of keys) {
    const found = staged.rows(table, number - 1, number);
    if (found.rows === 0) continue;
    const text = found.data === null ? null : toCopyText(found.data, table.columns.length, 1);
    if (text === null) {
      const reason =
        found.data === null ? misfitReason(staged.misfits(table, number)) : 'a text is not valid UTF-8';
      quarantine.push({ tableId: table.id, key: keyText(key), reason });
    } else {
      texts.push(text);
    }
  }
  return texts.length === 0 ? null : Buffer.concat(texts);
}

/** Begins and ends the read transaction of a batch that is too large for one synchronous call. */
export function openSnapshot(db: Database.Database): () => void {
  db.exec('BEGIN');
  return () => {
    if (db.inTransaction) db.exec('COMMIT');
  };
}
