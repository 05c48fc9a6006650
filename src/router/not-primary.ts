/** What a router says where a database may not serve. */
import type { Side } from '../contract.ts';
import { CrossfadeError } from '../errors.ts';
import { FENCED } from '../protocol.ts';

/** A database is not, or perhaps no longer, the primary: nothing was done. Recognised by `isFenceRefusal`. */
export class NotPrimary extends Error {
  constructor(side: Side) {
    super(`${FENCED} (by the ${side}'s control row)`);
  }
}

export function targetUnknown(): CrossfadeError {
  return new CrossfadeError(
    'Fenced',
    'the source has moved to a target that this DatabaseConnection does not know: give it as `target`',
  );
}
