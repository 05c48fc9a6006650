/**
 * A program that knows nothing of crossfade and writes with its own drivers: to the source until a fence refuses it, then
 * to PostgreSQL until that refuses it, as a program whose configuration names both. Now and then it tries the other one
 * first, which must not let it in.
 * Arguments as those of router-process. TARGET_URL names PostgreSQL.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { Random } from '../../demo/database/random.ts';
import { runClient } from './client.ts';
import type { Connection } from './lane.ts';
import type { Statement } from './operations.ts';

export interface ForeignSource {
  /** Runs the statements as one transaction, which is taken back where one of them changes nothing that had to. */
  apply(statements: Statement[], pauseMs: number): Promise<void>;
  close(): void;
}

const FENCED = 'crossfade: fenced';
const WRONG_SIDE = 0.1;

export async function runForeign(source: ForeignSource): Promise<void> {
  const pool = new pg.Pool({ connectionString: process.env['TARGET_URL'], connectionTimeoutMillis: 2_000 });
  pool.on('error', () => undefined);
  // Of a connection that breaks between two statements.
  pool.on('connect', (client) => client.on('error', () => undefined));
  const random = new Random(process.pid);
  let side: 'source' | 'target' = 'source';
  const connection: Connection = {
    async apply(statements, _key, pauseMs) {
      const other = side === 'source' ? 'target' : 'source';
      const chosen = random.chance(WRONG_SIDE) ? other : side;
      try {
        if (chosen === 'source') await source.apply(statements, pauseMs);
        else await applyToTarget(pool, statements, pauseMs);
      } catch (error) {
        if (chosen === side && String(error).includes(FENCED)) side = other;
        throw error;
      }
      return chosen;
    },
  };
  await runClient(connection, async () => {
    source.close();
    await pool.end();
  });
}

async function applyToTarget(pool: pg.Pool, statements: Statement[], pauseMs: number): Promise<void> {
  const client = await pool.connect();
  let failure: Error | undefined;
  try {
    await client.query('BEGIN');
    for (const { sql, params } of statements) {
      let n = 0;
      const text = (typeof sql === 'string' ? sql : sql.postgres).replaceAll('?', () => `$${++n}`);
      await client.query(text, params);
      if (pauseMs > 0) await sleep(pauseMs);
    }
    await client.query('COMMIT');
  } catch (error) {
    failure = error as Error;
    throw error;
  } finally {
    // Not used again after a failure: its transaction may be open.
    client.release(failure);
  }
}
