/** Tables without a key after a VACUUM: their rows have other numbers, so the target gets all of them again. */
import { setImmediate as yieldToLoop } from 'node:timers/promises';
import type Database from 'better-sqlite3';
import type { TablePlan } from '../contract.ts';
import type { KeyValue } from '../databases/key.ts';
import { applyBatch, type Applier } from '../databases/postgres/apply.ts';
import { targetTable } from '../databases/postgres/names.ts';
import { ChunkReader } from '../databases/sqlite/chunk.ts';
import { openSource } from '../databases/sqlite/connection.ts';
import { CopyBuffer } from '../databases/sqlite/copy-buffer.ts';
import { isUnnamed, nameNumbering, numberingOf } from '../databases/sqlite/numbering.ts';

const CHUNK_ROWS = 1_000;

/** The numbering of the source's rows, named where a VACUUM has just made it. @throws CrossfadeError SourceBusy */
export async function namedNumbering(db: Database.Database, sourcePath: string): Promise<bigint | null> {
  for (;;) {
    const numbering = numberingOf(db);
    if (!isUnnamed(numbering)) return numbering;
    const writer = openSource(sourcePath, 'write');
    try {
      await nameNumbering(writer);
    } finally {
      writer.close();
    }
  }
}

/** Statements of an applier that leave nothing of a table's rows. */
export function emptyTableSql(table: TablePlan): string[] {
  return [
    `DELETE FROM ${targetTable(table)}`,
    `DELETE FROM crossfade.quarantine WHERE table_id = ${table.id}`,
  ];
}

/**
 * Puts the rows of the source's snapshot in place of the target's, inside the applier's transaction, so that readers
 * see the one or the other.
 * @returns whether a row was set aside
 */
export async function replaceRows(
  applier: Applier,
  db: Database.Database,
  table: TablePlan,
): Promise<boolean> {
  const numbering = numberingOf(db);
  const begin = [
    ...emptyTableSql(table),
    `UPDATE crossfade.copied SET numbering = ${numbering ?? 'NULL'} WHERE table_id = ${table.id}`,
  ];
  const nothing = { tables: [], quarantine: [], healed: [] };
  await applyBatch(applier, { ...nothing, checkpointSql: begin.join('; ') }, 'inside');
  const reader = new ChunkReader(db, table, numbering);
  const text = new CopyBuffer();
  let quarantined = false;
  for (let after: KeyValue[] | null = null; ;) {
    text.clear();
    const chunk = reader.read(after, reader.rowLimit(CHUNK_ROWS), text);
    if (chunk.last === null) break;
    const refused = await applyBatch(
      applier,
      {
        tables: [{ table, deletions: [], rows: text.length === 0 ? null : text.contents }],
        quarantine: chunk.setAside.map((row) => ({ tableId: table.id, ...row })),
        healed: [],
        checkpointSql: 'SELECT 1',
      },
      'inside',
    );
    quarantined ||= refused.length > 0;
    after = chunk.last;
    await yieldToLoop();
  }
  return quarantined;
}
