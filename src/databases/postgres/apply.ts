/** Applies one batch to the target: delete the keys, insert their current rows, move the checkpoint, prove the lease; all or nothing. */
import type pg from 'pg';
import type { TablePlan } from '../../contract.ts';
import { driverCode, messageOf } from '../../errors.ts';
import { literal } from '../identifiers.ts';
import { keysAsRows, keyText } from '../key.ts';
import { copyLineKey, splitLines } from './copy-text.ts';
import { runWithCopies } from './copy-stream.ts';
import { holdLeaseSql, leaseError, passFenceSql, type TargetLease } from './lease.ts';
import { sameKeyAs, targetColumns, targetTable } from './names.ts';

export interface Quarantined {
  tableId: number;
  /** See `keyText`. */
  key: string;
  reason: string;
}

export interface TableBatch {
  table: TablePlan;
  /** Keys whose rows are deleted first, as `keyInput` texts; empty for a copy. */
  deletions: string[][];
  /** Current rows in COPY text format; null for none. */
  rows: Buffer | null;
}

export interface Batch {
  /** Statement that fails where the batch must not be applied at all; runs first. */
  guardSql?: string;
  tables: TableBatch[];
  quarantine: Quarantined[];
  /** Keys that this batch applies, as `keyText`: they leave the quarantine. Only needed where something is in it. */
  healed: { tableId: number; key: string }[];
  /** Statement that moves the checkpoint, given nothing; runs after the rows and before the lease is proved. */
  checkpointSql: string;
}

export interface Applier {
  client: pg.Client;
  lease: TargetLease;
  /** May this role switch foreign-key actions and triggers off for its transaction? See `mayActAsReplica`. */
  replica: boolean;
}

/** Can the role set session_replication_role? Then foreign-key actions do not fire on replayed rows. */
export async function mayActAsReplica(client: pg.Client): Promise<boolean> {
  try {
    await client.query(`SELECT set_config('session_replication_role', 'replica', true)`);
    return true;
  } catch (error) {
    // 42501 insufficient_privilege
    if (driverCode(error) === '42501') return false;
    throw error;
  }
}

/**
 * Applies a batch, in a transaction of its own or inside the caller's.
 * @returns what was quarantined, because the target refused a row's values
 * @throws CrossfadeError LeaseLost; pg.DatabaseError for anything that is not about a row's values
 */
export async function applyBatch(
  applier: Applier,
  batch: Batch,
  transaction: 'own' | 'inside' = 'own',
): Promise<Quarantined[]> {
  // Inside a transaction a refused row would end all of it: only savepoints can tell which row it was.
  if (transaction === 'inside') return applyStatements(applier, batch);
  const copies = batch.tables.filter((part) => part.rows !== null);
  const sql = [
    ...openingSql(applier, batch),
    ...batch.tables.flatMap((part) => deletionSql(part)),
    ...copies.map((part) => copySql(part.table)),
    ...closingSql(applier, batch, batch.quarantine),
  ].join(';\n');
  try {
    await runWithCopies(
      applier.client,
      sql,
      copies.map((part) => part.rows!),
    );
    return batch.quarantine;
  } catch (error) {
    if (!isDataError(error)) throw leaseError(error);
    return applyCarefully(applier, batch);
  }
}

/**
 * SQLSTATE classes 22 (data exception) and 23 (integrity constraint violation), and 54000 (a value too long for an index):
 * the values are at fault, not the server.
 */
function isDataError(error: unknown): boolean {
  const code = driverCode(error);
  return code.startsWith('22') || code.startsWith('23') || code === '54000';
}

/** As `applyBatch`, halving the rows at each refusal until the refused rows stand alone; these are quarantined. */
async function applyCarefully(applier: Applier, batch: Batch): Promise<Quarantined[]> {
  const { client } = applier;
  await client.query('BEGIN');
  try {
    const quarantine = await applyStatements(applier, batch);
    await client.query('COMMIT');
    return quarantine;
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw leaseError(error);
  }
}

async function applyStatements(applier: Applier, batch: Batch): Promise<Quarantined[]> {
  const { client } = applier;
  const quarantine = [...batch.quarantine];
  for (const sql of openingSql(applier, batch)) await client.query(sql);
  for (const part of batch.tables) for (const sql of deletionSql(part)) await client.query(sql);
  for (const part of batch.tables) {
    if (part.rows === null) continue;
    await insertHalving(client, part.table, splitLines(part.rows), quarantine);
  }
  for (const sql of closingSql(applier, batch, quarantine)) await client.query(sql);
  return quarantine;
}

async function insertHalving(
  client: pg.Client,
  table: TablePlan,
  lines: Buffer[],
  quarantine: Quarantined[],
): Promise<void> {
  if (lines.length === 0) return;
  await client.query('SAVEPOINT rows');
  try {
    await runWithCopies(client, copySql(table), [Buffer.concat(lines)]);
    await client.query('RELEASE SAVEPOINT rows');
    return;
  } catch (error) {
    if (!isDataError(error)) throw error;
    // Released as well: thousands of open savepoints would fill the server's lock table.
    await client.query('ROLLBACK TO SAVEPOINT rows; RELEASE SAVEPOINT rows');
    if (lines.length === 1) {
      const key = keyText(copyLineKey(table, lines[0]!));
      quarantine.push({ tableId: table.id, key, reason: messageOf(error) });
      return;
    }
  }
  const middle = lines.length >> 1;
  await insertHalving(client, table, lines.slice(0, middle), quarantine);
  await insertHalving(client, table, lines.slice(middle), quarantine);
}

function openingSql(applier: Applier, batch: Batch): string[] {
  const sql = [passFenceSql(applier.lease)];
  if (batch.guardSql !== undefined) sql.push(batch.guardSql);
  if (applier.replica) sql.push(`SELECT set_config('session_replication_role', 'replica', true)`);
  return sql;
}

function deletionSql(part: TableBatch): string[] {
  if (part.deletions.length === 0) return [];
  const { table } = part;
  const keys = keysAsRows(table, part.deletions);
  return [`DELETE FROM ${targetTable(table)} t USING ${keys} WHERE ${sameKeyAs(table)}`];
}

function copySql(table: TablePlan): string {
  return `COPY ${targetTable(table)} (${targetColumns(table).join(', ')}) FROM STDIN`;
}

function closingSql(applier: Applier, batch: Batch, quarantine: Quarantined[]): string[] {
  const sql: string[] = [];
  if (batch.healed.length > 0) {
    const rows = batch.healed.map(({ tableId, key }) => `(${tableId}, ${literal(key)})`).join(', ');
    sql.push(`DELETE FROM crossfade.quarantine q USING (VALUES ${rows}) AS h(table_id, key)
               WHERE q.table_id = h.table_id AND q.key = h.key`);
  }
  if (quarantine.length > 0) {
    // Rows whose key is NULL have one name between them.
    const named = new Map(quarantine.map((q) => [`${q.tableId} ${q.key}`, q]));
    const rows = [...named.values()]
      .map((q) => `(${q.tableId}, ${literal(q.key)}, ${literal(q.reason)})`)
      .join(', ');
    sql.push(`INSERT INTO crossfade.quarantine (table_id, key, reason) VALUES ${rows}
              ON CONFLICT (table_id, key) DO UPDATE SET reason = excluded.reason, at = now()`);
  }
  sql.push(batch.checkpointSql, holdLeaseSql(applier.lease));
  return sql;
}

/** The quarantine, oldest first. */
export async function readQuarantine(client: pg.Client, limit: number): Promise<Quarantined[]> {
  const { rows } = await client.query<{ table_id: number; key: string; reason: string }>(
    `SELECT table_id, key, reason FROM crossfade.quarantine ORDER BY at, table_id, key LIMIT $1`,
    [limit],
  );
  return rows.map((row) => ({ tableId: Number(row.table_id), key: row.key, reason: row.reason }));
}

/** How many rows are in quarantine. */
export async function countQuarantine(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ n: string }>('SELECT count(*) AS n FROM crossfade.quarantine');
  return Number(rows[0]?.n ?? 0);
}

/** Those of the keys, as `keyText`, whose rows are in quarantine. */
export async function quarantinedAmong(
  client: pg.Client,
  table: TablePlan,
  keys: string[],
): Promise<Set<string>> {
  const { rows } = await client.query<{ key: string }>(
    'SELECT key FROM crossfade.quarantine WHERE table_id = $1 AND key = ANY($2::text[])',
    [table.id, keys],
  );
  return new Set(rows.map(({ key }) => key));
}
