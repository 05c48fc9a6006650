/** Leases in the target: who may write the next batch. */
import type pg from 'pg';
import { CrossfadeError, driverCode } from '../../errors.ts';
import { LEASE_SETTING, SQLSTATE_LEASE_LOST } from '../../protocol.ts';
import { literal } from '../identifiers.ts';
import { proveMigration, type Lease } from '../sqlite/control.ts';
import { readControl, type TargetLeaseRole } from './control.ts';

export type TargetLease = Lease<TargetLeaseRole>;

/** Name of a lease owner's connections. */
export function applicationName(lease: TargetLease): string {
  return `crossfade ${lease.role} ${lease.holder}`.slice(0, 63);
}

/**
 * Takes the lease and ends the connections of the owner before, whose open transaction might hold locks.
 * @throws CrossfadeError LeaseLost where a later owner or another epoch has it
 */
export async function takeLease(client: pg.Client, lease: TargetLease): Promise<void> {
  proveMigration(lease, (await readControl(client))?.migration, 'target');
  try {
    const { rows } = await client.query<{ holder: string }>(
      `SELECT holder FROM crossfade.lease WHERE role = $1 AND epoch = $2 AND ordinal < $3`,
      [lease.role, lease.epoch, lease.ordinal],
    );
    const before = rows[0]?.holder;
    if (before !== undefined && before !== '') {
      const name = applicationName({ ...lease, holder: before });
      await client.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1 AND usename = current_user`,
        [name],
      );
    }
    await client.query(`SELECT crossfade.take_lease($1, $2, $3, $4)`, [
      lease.role,
      lease.epoch,
      lease.ordinal,
      lease.holder,
    ]);
  } catch (error) {
    throw leaseError(error);
  }
}

/** Ordinal of the latest owner of any lease. */
export async function lastOrdinal(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ last: string }>('SELECT max(ordinal) AS last FROM crossfade.lease');
  return Number(rows[0]?.last ?? 0);
}

/** First statement of a batch: lets it pass the fence and the reverse capture, for this transaction only. */
export function passFenceSql(lease: TargetLease): string {
  return `SELECT set_config('${LEASE_SETTING}', ${literal(lease.holder)}, true)`;
}

/** Last statement of a batch: fails it where the lease was taken over, and keeps the lease until COMMIT. */
export function holdLeaseSql(lease: TargetLease): string {
  return `SELECT crossfade.hold_lease(${literal(lease.role)}, ${lease.epoch}, ${literal(lease.holder)})`;
}

/** Maps a lost lease to our error; anything else passes through. */
export function leaseError(error: unknown): unknown {
  if (driverCode(error) !== SQLSTATE_LEASE_LOST) return error;
  return new CrossfadeError(
    'LeaseLost',
    'target: another worker has taken this step over; this one stops without effect',
    error,
  );
}
