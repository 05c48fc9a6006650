/** What an error of D1 says about the statements that were sent. Its texts: https://developers.cloudflare.com/d1/observability/debug-d1/ */
import { CONTROL_TABLE } from '../databases/sqlite/control.ts';
import { CrossfadeError, messageOf } from '../errors.ts';
import { FENCED } from '../protocol.ts';
import { NotPrimary } from '../router/not-primary.ts';

/** A batch that D1 refused because of one of its statements; nothing of it was done. */
export class D1StatementError extends Error {
  /** SQLite's, as the driver of a file would give it. */
  readonly code: string;

  constructor(message: string, code: string, cause: unknown) {
    super(message, { cause });
    this.name = 'D1StatementError';
    this.code = code;
  }
}

/** Refused before anything ran: by the binding, or by the object that holds the database. */
const NOT_BEGUN =
  /^D1_TYPE_ERROR|Wrong number of parameter bindings|did not contain a statement|To execute a transaction/;
const OVERLOADED = /overloaded|Too many requests queued/;

/** Transient, by https://developers.cloudflare.com/d1/best-practices/retry-queries/ and the list of D1's errors. */
const LOST =
  /Network connection lost|object to be reset|object was reset|reset because its code was updated|internal error|transient issue/i;

/** An error that says that D1, or the way to it, was lost for a moment. */
export function isLost(error: unknown): boolean {
  return LOST.test(messageOf(error));
}

export function isControlMissing(error: unknown): boolean {
  return messageOf(error).includes(`no such table: ${CONTROL_TABLE}`);
}

/**
 * Maps an error of a batch, keeping it as cause. What is none of a statement says nothing about what was done: a connection
 * that was lost, an object that was reset.
 * @param writes does the batch change anything?
 */
export function d1Error(error: unknown, writes: boolean): unknown {
  const message = messageOf(error);
  // The router's own statement found another control row than its route.
  if (isControlMissing(error) || message.includes(`'${FENCED}'`)) return new NotPrimary('source');
  const code = /extended: (SQLITE_[A-Z_]+)/.exec(message)?.[1] ?? /\bSQLITE_[A-Z_]+/.exec(message)?.[0];
  const text = message.replace(/^D1_ERROR: /, '');
  if (code !== undefined && !code.startsWith('SQLITE_IOERR')) return new D1StatementError(text, code, error);
  if (NOT_BEGUN.test(message)) return new D1StatementError(text, 'SQLITE_MISUSE', error);
  if (OVERLOADED.test(message)) {
    return new CrossfadeError(
      'SourceBusy',
      `D1 took no more statements, and did nothing of these: ${text}`,
      error,
    );
  }
  if (!writes) return error;
  return new CrossfadeError(
    'OutcomeUnknown',
    `D1 gave no answer to a write (${text}): it may or may not have been applied, so it was not sent again. Read the rows ` +
      'it should have changed before repeating it',
    error,
  );
}
