/** What the engine keeps in the target's control schema: the plan and the copy's checkpoints. */
import type pg from 'pg';
import type { Plan, TablePlan } from '../contract.ts';
import { CrossfadeError } from '../errors.ts';
import { parseKeyText, type KeyValue } from '../databases/key.ts';

export interface Copied {
  tableId: number;
  state: 'pending' | 'copying' | 'copied' | 'live';
  /** Log position taken before the first chunk; replay of the table starts after it. */
  replayFrom: bigint | null;
  replayedTo: bigint | null;
  lastKey: KeyValue[] | null;
  /** Of a table without a key: the source's numbering of its rows, see `numbering.ts`. */
  numbering: bigint | null;
  rows: number;
  bytes: number;
}

export interface Checkpoint {
  /** Every change up to this log position is applied, for live tables. */
  position: bigint;
  /** Token of the log row at that position. */
  token: bigint;
  wholeBatches: boolean;
  verifiedPosition: bigint | null;
  /** Milliseconds for which the target has been behind the source; null before the first batch. */
  lagMs: number | null;
  head: bigint;
  changes: number;
}

/** Phases that create objects of the application on the target. */
export type BuiltPhase = 'tables' | 'indexes' | 'foreign-keys';

/** The phases whose objects are all there. */
export async function readBuilt(client: pg.Client): Promise<Set<BuiltPhase>> {
  const { rows } = await client.query<{ built: BuiltPhase[] }>(
    'SELECT built FROM crossfade.checkpoint WHERE id = 1',
  );
  return new Set(rows[0]?.built ?? []);
}

/** Statement that notes the end of a phase; may be repeated. */
export function noteBuiltSql(phase: BuiltPhase): string {
  return `UPDATE crossfade.checkpoint SET built = array_append(array_remove(built, '${phase}'), '${phase}') WHERE id = 1`;
}

/** The plan that the migration runs by. @throws CrossfadeError NoMigration */
export async function readPlan(client: pg.Client): Promise<Plan> {
  const { rows } = await client.query<{ plan: Plan | string }>(
    `SELECT plan FROM crossfade.control WHERE id = 1`,
  );
  const plan = rows[0]?.plan;
  if (plan === undefined) {
    throw new CrossfadeError('NoMigration', 'the target has no control row of a migration');
  }
  return typeof plan === 'string' ? (JSON.parse(plan) as Plan) : plan;
}

export async function readCopied(client: pg.Client): Promise<Map<number, Copied>> {
  const { rows } = await client.query<Record<string, unknown>>(
    `SELECT table_id, state, replay_from, replayed_to, last_key, numbering, rows, bytes FROM crossfade.copied`,
  );
  return new Map(
    rows.map((row) => [
      Number(row['table_id']),
      {
        tableId: Number(row['table_id']),
        state: row['state'] as Copied['state'],
        replayFrom: position(row['replay_from']),
        replayedTo: position(row['replayed_to']),
        lastKey: row['last_key'] === null ? null : parseKeyText(String(row['last_key'])),
        numbering: position(row['numbering']),
        rows: Number(row['rows']),
        bytes: Number(row['bytes']),
      },
    ]),
  );
}

export async function readCheckpoint(client: pg.Client): Promise<Checkpoint> {
  const { rows } = await client.query<Record<string, unknown>>(
    `SELECT position, token, head, whole_batches, verified_position, changes,
            extract(epoch FROM clock_timestamp() - caught_up_at) * 1000 AS lag_ms FROM crossfade.checkpoint WHERE id = 1`,
  );
  const row = rows[0];
  if (row === undefined) {
    throw new CrossfadeError('NoMigration', 'the target has no checkpoint of a migration');
  }
  return {
    position: BigInt(String(row['position'])),
    token: BigInt(String(row['token'])),
    head: BigInt(String(row['head'])),
    wholeBatches: row['whole_batches'] === true || row['whole_batches'] === 't',
    verifiedPosition: position(row['verified_position']),
    lagMs: row['lag_ms'] === null ? null : Number(row['lag_ms']),
    changes: Number(row['changes']),
  };
}

function position(value: unknown): bigint | null {
  return value === null || value === undefined ? null : BigInt(String(value));
}

/** Table of a plan by its number in the log. */
export function tablesById(plan: Plan): Map<number, TablePlan> {
  return new Map(plan.tables.map((table) => [table.id, table]));
}
