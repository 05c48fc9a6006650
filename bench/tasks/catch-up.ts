/** Replay alone, until nothing is left in the log. */
import type { TargetLease } from '../../src/databases/postgres/lease.ts';
import type { Endpoints } from '../../src/engine/endpoints.ts';
import { Replayer } from '../../src/engine/replay.ts';
import { serve } from './serve.ts';

export interface CatchUpInput {
  endpoints: Endpoints;
  lease: TargetLease;
}

/** Result: changes applied. */
serve<CatchUpInput, number>(async ({ endpoints, lease }) => {
  const replayer = await Replayer.open(endpoints, lease);
  try {
    let changes = 0;
    for (let passed = await replayer.step(); passed > 0; passed = await replayer.step()) changes += passed;
    return changes;
  } finally {
    await replayer.close();
  }
});
