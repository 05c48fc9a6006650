/** What a client may conclude from a failed write. */
import { outcomeOf as driverOutcome } from '../../demo/application/outcome.ts';

/** `refused`: certainly not applied, by the word of the driver or of the router, which the checker holds them to. */
export function outcomeOf(error: unknown): 'refused' | 'unknown' {
  return (error as { code?: unknown } | null)?.code === 'TargetUnreachable'
    ? 'refused'
    : driverOutcome(error);
}
