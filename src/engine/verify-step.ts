/** Verification as a phase of the migration: a whole pass, then what changed meanwhile; remembers how far it has come. */
import type pg from 'pg';
import type { Mismatch, Progress, Verdict } from '../contract.ts';
import { CrossfadeError } from '../errors.ts';
import { holdLeaseSql, leaseError, type TargetLease } from '../databases/postgres/lease.ts';
import { pause, type Endpoints } from './endpoints.ts';
import { MISMATCHES_SHOWN } from './found.ts';
import { readCheckpoint, readCopied } from './store.ts';
import { changeTarget } from './target-schema.ts';
import { Verifier } from './verify.ts';

export interface VerifyStepOptions {
  endpoints: Endpoints;
  /** Lease `control` in the target. */
  lease: TargetLease;
  mode: 'full' | 'sample';
  sampleRows: number;
  signal: AbortSignal;
  onProgress(progress: Progress): void;
}

/** A round of changes that is this short ends the phase; what comes later is verified stage by stage. */
const SHORT_ROUND = 1_000n;
const ROUNDS = 20;

/** Waits until every table is live and replay has reached what the log held when the wait began. */
export async function awaitCatchUp(
  endpoints: Endpoints,
  maxLagMs: number,
  lease: TargetLease,
  signal: AbortSignal,
): Promise<void> {
  await changeTarget(endpoints, lease, async (client) => {
    while (!signal.aborted) {
      const copied = [...(await readCopied(client)).values()];
      const { lagMs } = await readCheckpoint(client);
      if (copied.every((table) => table.state === 'live') && lagMs !== null && lagMs <= maxLagMs) return;
      await pause(50, signal);
    }
  });
}

/** Full or sampled verification under live writes. */
export async function verifyStep(options: VerifyStepOptions): Promise<Verdict> {
  return changeTarget(options.endpoints, options.lease, async (client) => {
    const start = (await readCheckpoint(client)).position;
    const verifier = await Verifier.open(options.endpoints, 'crossfade verify');
    try {
      const verdict = await verifier.verify(options);
      const later: Mismatch[] = [];
      let laterCount = 0;
      let from = start;
      for (let round = 0; round < ROUNDS && !options.signal.aborted; round++) {
        const { position, mismatches, mismatchCount } = await verifier.verifyChanges(from, options.signal);
        later.push(...mismatches);
        laterCount += mismatchCount;
        const short = position - from < SHORT_ROUND;
        from = position;
        await saveVerified(client, options.lease, from);
        if (short) break;
      }
      return {
        ...verdict,
        equal: verdict.equal && laterCount === 0,
        mismatches: [...verdict.mismatches, ...later].slice(0, MISMATCHES_SHOWN),
        mismatchCount: verdict.mismatchCount + laterCount,
      };
    } finally {
      await verifier.close();
    }
  });
}

/** Verifies what changed since the last verification. @returns the differences, the first of them and their number */
export async function verifyRecent(
  endpoints: Endpoints,
  lease: TargetLease,
  signal: AbortSignal,
): Promise<{ mismatches: Mismatch[]; mismatchCount: number }> {
  return changeTarget(endpoints, lease, async (client) => {
    const { verifiedPosition } = await readCheckpoint(client);
    if (verifiedPosition === null) {
      throw new CrossfadeError('Internal', 'no verification has run yet, so there is nothing to go on from');
    }
    const verifier = await Verifier.open(endpoints, 'crossfade verify');
    try {
      const { position, ...found } = await verifier.verifyChanges(verifiedPosition, signal);
      if (found.mismatchCount === 0) await saveVerified(client, lease, position);
      return found;
    } finally {
      await verifier.close();
    }
  });
}

async function saveVerified(client: pg.Client, lease: TargetLease, position: bigint): Promise<void> {
  try {
    await client.query(
      `UPDATE crossfade.checkpoint SET verified_position = ${position} WHERE id = 1; ${holdLeaseSql(lease)}`,
    );
  } catch (error) {
    throw leaseError(error);
  }
}
