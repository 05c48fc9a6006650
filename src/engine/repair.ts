/**
 * Repair: has the primary's rows of some keys written again on the secondary, by the way of every other change. The
 * keys are appended to the primary's change log, and replay does the rest; the primary's own rows are never written.
 */
import type Database from 'better-sqlite3';
import type pg from 'pg';
import type { TablePlan } from '../contract.ts';
import { CrossfadeError } from '../errors.ts';
import { keyInput, keyColumns, keysAsRows, parseKeyText, type KeyValue } from '../databases/key.ts';
import { openSource } from '../databases/sqlite/connection.ts';
import { readControl } from '../databases/sqlite/control.ts';
import { endOfLog, hasLog, logKeys } from '../databases/sqlite/log.ts';
import { writeTransaction } from '../databases/sqlite/transaction.ts';
import { pause } from './endpoints.ts';
import type { Moment } from './paired-read.ts';

/** A cutover or the way back is decided within its pause. */
const SWITCH_MS = 60_000;
const AGAIN_MS = 50;
const QUARANTINE_PAGE = 1_000;

export class Repairer {
  private readonly writer: Database.Database;
  private readonly client: pg.Client;

  /** @param client of the target; the caller ends it */
  constructor(sourcePath: string, client: pg.Client) {
    this.writer = openSource(sourcePath, 'write');
    this.client = client;
  }

  close(): void {
    this.writer.close();
  }

  /**
   * @returns when replay has written the keys' rows
   * @throws CrossfadeError NoMigration where no log is kept any more, OutcomeUnknown where neither database is open
   */
  async heal(table: TablePlan, keys: KeyValue[][]): Promise<Moment> {
    const giveUpAt = performance.now() + SWITCH_MS;
    for (;;) {
      const moment = (await this.logOnSource(table, keys)) ?? (await this.logOnTarget(table, keys));
      if (moment !== null) return moment;
      // Between fence and opening nobody takes writes; the log's end is part of the commit point.
      if (performance.now() > giveUpAt) {
        throw new CrossfadeError(
          'OutcomeUnknown',
          'neither database takes writes: a cutover or rollback is under way; repair again after it',
        );
      }
      await pause(AGAIN_MS, new AbortController().signal);
    }
  }

  /** Has the rows in quarantine tried again: what stood in their way may be repaired by now. */
  async healQuarantine(
    tables: TablePlan[],
    heal: (table: TablePlan, keys: KeyValue[][]) => Promise<void>,
  ): Promise<void> {
    for (const table of tables) {
      for (let after = ''; ;) {
        const { rows } = await this.client.query<{ key: string }>(
          `SELECT key FROM crossfade.quarantine WHERE table_id = $1 AND key > $2 COLLATE "C"
            ORDER BY key COLLATE "C" LIMIT ${QUARANTINE_PAGE}`,
          [table.id, after],
        );
        const last = rows.at(-1);
        if (last === undefined) break;
        after = last.key;
        await heal(
          table,
          rows.map(({ key }) => parseKeyText(key)),
        );
      }
    }
  }

  /** @returns null where the source is not open */
  private async logOnSource(table: TablePlan, keys: KeyValue[][]): Promise<Moment | null> {
    const logged = await writeTransaction(this.writer, () => {
      if (readControl(this.writer)?.state !== 'open') return false;
      if (!hasLog(this.writer)) {
        throw new CrossfadeError(
          'NoMigration',
          `source ${this.writer.name} keeps no change log any more: the migration was rolled back`,
        );
      }
      logKeys(this.writer, table, keys);
      return true;
    });
    return logged ? { position: endOfLog(this.writer) } : null;
  }

  /** @returns null where the target is not open */
  private async logOnTarget(table: TablePlan, keys: KeyValue[][]): Promise<Moment | null> {
    const columns = keyColumns(table);
    const inputs = keys.map((key) => key.map((value, i) => keyInput(value, columns[i]!)));
    const held = inputs.filter((key): key is string[] => key.every((text) => text !== null));
    // A key that the target's log cannot name can only go with its whole table.
    const named =
      held.length === keys.length
        ? `SELECT ARRAY[${columns.map((_, i) => `d.k${i}::text`).join(', ')}] FROM ${keysAsRows(table, held)}`
        : 'SELECT NULL::text[]';
    const { rows } = await this.client.query<{ seq: string | null }>(
      `WITH logged AS (
         INSERT INTO crossfade.log (table_id, key)
         SELECT ${table.id}, n.key FROM (${named}) AS n(key)
          WHERE EXISTS (SELECT 1 FROM crossfade.control WHERE state = 'open' AND finished_at IS NULL)
         RETURNING seq)
       SELECT max(seq) AS seq FROM logged`,
    );
    const seq = rows[0]?.seq ?? null;
    return seq === null ? null : { sequence: BigInt(seq) };
  }
}
