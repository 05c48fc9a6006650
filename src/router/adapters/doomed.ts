/** What the two kinds of transaction share: the first failure dooms it, and it is closed when its callback is done. */
import { CrossfadeError } from '../../errors.ts';
import { isFenceRefusal } from '../../protocol.ts';

/**
 * PostgreSQL refuses every statement after a failed one until the rollback, SQLite would go on. An application that
 * relied on going on would break at the cutover, so that both refuse from the start.
 */
export class Doom {
  #closed = false;
  #failed = false;
  #failure: unknown;

  /** Before each statement. @throws CrossfadeError InvalidInput */
  check(): void {
    if (this.#closed) {
      throw new CrossfadeError(
        'InvalidInput',
        'the transaction has ended: await its statements inside the callback',
      );
    }
    if (this.#failed) {
      throw new CrossfadeError(
        'InvalidInput',
        'an earlier statement of this transaction failed: it can only be rolled back, let its callback throw',
        this.#failure,
      );
    }
  }

  /** Keeps the first failure and throws it again. */
  fail(error: unknown): never {
    if (!this.#failed) {
      this.#failed = true;
      this.#failure = error;
    }
    throw error;
  }

  /** When the callback is done. @throws the first failure, which the callback had caught */
  close(): void {
    this.#closed = true;
    if (this.#failed) throw this.#failure;
  }

  /** What the caller of transaction() gets when `thrown` ended it: a refusal by the fence is never hidden by the callback. */
  reason(thrown: unknown): unknown {
    this.#closed = true;
    return this.#failed && isFenceRefusal(this.#failure) ? this.#failure : thrown;
  }
}
