/** Compares a mirror with its origin: every row is read from D1 again, while the application writes. */
import { quoted } from '../identifiers.ts';
import { keyText, type KeyValue } from '../key.ts';
import { marksOf } from '../sqlite/bind.ts';
import { LOG_TABLE } from '../sqlite/control.ts';
import { exactRows } from '../sqlite/exact-rows.ts';
import type { AuditDifference } from '../sqlite/origin.ts';
import { readSchema, type SourceTable } from '../sqlite/schema.ts';
import { readTransaction } from '../sqlite/transaction.ts';
import { capturedTables, type CapturedTable } from './captured.ts';
import type { D1Client } from './client.ts';
import type { MirrorFile } from './mirror-file.ts';
import { TableReader } from './table-reader.ts';
import type { TableRows } from './table-rows.ts';

/** A row that changes at every look is told by the log, so that a pass more decides it. */
const PASSES = 5;

interface AuditOptions {
  tables: string[];
  refresh(): Promise<void>;
  signal: AbortSignal | undefined;
}

/**
 * Every page is read with the end of the change log in its snapshot, and compared once the mirror has come so far; a
 * row that the log names after it has changed since, and is looked at in another pass.
 */
export async function auditMirror(
  client: D1Client,
  mirror: MirrorFile,
  { tables, refresh, signal }: AuditOptions,
): Promise<AuditDifference[]> {
  const differences: AuditDifference[] = [];
  const captured = new Map(capturedTables(mirror.items()).map((table) => [table.name, table]));
  for (const table of readSchema(mirror.db).tables) {
    if (!tables.includes(table.name)) continue;
    let found = await pass(table);
    // What differs again and again, with no change in between, differs.
    for (let i = 1; i < PASSES && found.changing; i++) found = await pass(table);
    differences.push(...found.differences);
  }
  return differences;

  async function pass(table: SourceTable): Promise<{ differences: AuditDifference[]; changing: boolean }> {
    const found: AuditDifference[] = [];
    let changing = false;
    const logged = mirror.has(LOG_TABLE);
    const reader = new TableReader(client, table, logged);
    for (let page = await reader.next(); page !== null; page = await reader.next()) {
      signal?.throwIfAborted();
      await refresh();
      const range = { after: page.after, to: page.to, position: reader.position };
      const compared = compareRange(mirror, reader.table, page.rows, range, captured.get(table.name));
      found.push(...compared.differences);
      changing ||= compared.changing;
    }
    return { differences: found, changing };
  }
}

/** @param range keys between which `found` are all rows that D1 had when its log ended at the position */
function compareRange(
  mirror: MirrorFile,
  rows: TableRows,
  found: KeyValue[][],
  range: { after: KeyValue[] | null; to: KeyValue[] | null; position: bigint },
  captured: CapturedTable | undefined,
): { differences: AuditDifference[]; changing: boolean } {
  return readTransaction(mirror.db, () => {
    // By the log's key, so that what it names can be told.
    const places = (captured?.key ?? rows.key).map((name) => rows.columns.indexOf(name));
    const byKey = (some: KeyValue[][]): Map<string, string> =>
      new Map(some.map((row) => [keyText(places.map((place) => row[place]!)), keyText(row)]));
    const theirs = byKey(found);
    const mine = byKey(mirrorRows(mirror, rows, range.after, range.to));
    const differences: AuditDifference[] = [];
    const add = (key: string, kind: AuditDifference['kind']): number =>
      differences.push({ table: rows.table.name, key, kind });
    for (const [key, row] of theirs) {
      const here = mine.get(key);
      if (here !== row) add(key, here === undefined ? 'only at the origin' : 'different');
    }
    for (const key of mine.keys()) if (!theirs.has(key)) add(key, 'only in the mirror');
    if (differences.length === 0) return { differences, changing: false };
    const changed =
      captured === undefined ? new Set<string>() : changedSince(mirror, captured, range.position);
    const left = differences.filter(({ key }) => !changed.has(key));
    return { differences: left, changing: left.length < differences.length };
  });
}

/** The mirror's rows after one key, up to another; null for either end. */
function mirrorRows(
  mirror: MirrorFile,
  rows: TableRows,
  after: KeyValue[] | null,
  to: KeyValue[] | null,
): KeyValue[][] {
  const key = `(${rows.key.map(quoted).join(', ')})`;
  const terms = [
    ...(after === null ? [] : [`${key} > (${marksOf(after).join(', ')})`]),
    ...(to === null ? [] : [`${key} <= (${marksOf(to).join(', ')})`]),
  ];
  const from = `FROM ${quoted(rows.table.name)} WHERE ${terms.join(' AND ') || 'true'} ORDER BY ${rows.key.map(quoted).join(', ')}`;
  return exactRows(mirror.db, rows.columns.map(quoted), from, [...(after ?? []), ...(to ?? [])]);
}

/** Keys of the table's rows that the log names after a position. */
function changedSince(mirror: MirrorFile, { id, key }: CapturedTable, position: bigint): Set<string> {
  if (!mirror.has(LOG_TABLE)) return new Set();
  const columns = key.map((_, i) => `k${i}`);
  return new Set(
    exactRows(mirror.db, columns, `FROM ${LOG_TABLE} WHERE t = ${id} AND seq > ${position}`).map(keyText),
  );
}
