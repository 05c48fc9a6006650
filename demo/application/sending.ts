/** What the operations share: building a statement, sending a write, and forgetting what it left unknown. */
import { sentence } from '../database/phrases.ts';
import type { Random } from '../database/random.ts';
import type { Client, Sent, Write } from './client.ts';
import type { Holdings, OwnedContent } from './holdings.ts';
import type { Owners, Values } from './journal.ts';
import type { Row, WriteResult } from './store.ts';

export interface Lane {
  client: Client;
  own: Holdings;
  random: Random;
  /** A name that no other lane, run or call has had. */
  uniqueName(): string;
}

export const NOBODY: Owners = { users: [], content: [] };

/** The form of CURRENT_TIMESTAMP. */
export function now(): string {
  return new Date().toISOString().slice(0, 19).replace('T', ' ');
}

/** INSERT of these values, in this order. */
export function insertSql(table: string, values: Values, returning: string): string {
  const columns = Object.keys(values);
  return `INSERT INTO ${table} (${columns.join(', ')}) VALUES (${columns.map(() => '?').join(', ')})
          RETURNING ${returning}`;
}

/** The values as the driver takes them. */
export function bound(values: Values): (string | number | null | Buffer)[] {
  return Object.values(values).map((value) =>
    value !== null && typeof value === 'object' ? Buffer.from(value.hex, 'hex') : value,
  );
}

/** For a statement with RETURNING. */
export function returnedRow(result: WriteResult): Sent {
  return { changes: result.rows.length, returned: [result.rows[0] ?? null] };
}

export function changedOnly(result: WriteResult): Sent {
  return { changes: result.changes, returned: [null] };
}

/** Sends the write; where its outcome is unknown, leaves alone for ever all that it may have touched. */
export async function send(lane: Lane, write: Write): Promise<(Row | null)[] | null> {
  const written = await lane.client.write(write);
  if (written.outcome === 'ack') return written.returned;
  if (written.outcome === 'unknown') lane.own.forget(write.owners);
  return null;
}

export function ownersOf({ id, userId }: OwnedContent): Owners {
  return { users: [userId], content: [id] };
}

export function analyticsValues({ random, uniqueName }: Lane): Values {
  return {
    date: now().slice(0, 10),
    views: random.below(500),
    clicks: random.below(50),
    engagement_rate: random.fraction(),
    revenue: random.chance(0.5) ? random.below(100_000) / 100 : null,
    source: random.pick(['search', 'feed', 'share', null]),
    metadata: JSON.stringify({ event: uniqueName(), note: sentence(random, 3) }),
  };
}

export async function deleteRow(
  lane: Lane,
  table: string,
  key: Record<string, number>,
  owners: Owners,
  readKey?: string,
): Promise<boolean> {
  const where = Object.keys(key)
    .map((column) => `${column} = ?`)
    .join(' AND ');
  const values = Object.values(key);
  const returned = await send(lane, {
    operation: `delete from ${table}`,
    owners,
    effects: [{ kind: 'delete', table, key: values }],
    changes: 1,
    send: async (store) =>
      changedOnly(
        await store.write(
          `DELETE FROM ${table} WHERE ${where}`,
          values,
          readKey === undefined ? {} : { key: readKey },
        ),
      ),
  });
  return returned !== null;
}
