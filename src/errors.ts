/**
 * Every error that crossfade raises on purpose, in one closed list. Messages name the database, table, column or key
 * range and say what the operator can do; the original error is kept as `cause`.
 */

/** `retryable`: the same step may succeed later without a change of input or configuration. */
const CODES = {
  InvalidInput: { retryable: false, exit: 2 },
  UnknownConnection: { retryable: false, exit: 2 },
  BadConnection: { retryable: false, exit: 2 },
  SourceMissing: { retryable: false, exit: 2 },
  SourceNotSqlite: { retryable: false, exit: 2 },
  SourceDenied: { retryable: false, exit: 2 },
  SourceCorrupt: { retryable: false, exit: 3 },
  SourceNotWal: { retryable: false, exit: 3 },
  SourceBusy: { retryable: true, exit: 1 },
  SourceStale: { retryable: true, exit: 1 },
  TargetUnreachable: { retryable: true, exit: 2 },
  TargetRefused: { retryable: false, exit: 2 },
  TemporalUnreachable: { retryable: true, exit: 2 },
  TargetNotEmpty: { retryable: false, exit: 2 },
  MigrationExists: { retryable: false, exit: 2 },
  NoMigration: { retryable: false, exit: 2 },
  NotCopied: { retryable: true, exit: 1 },
  PlanRefused: { retryable: false, exit: 3 },
  SchemaChanged: { retryable: false, exit: 1 },
  LogDiscontinuity: { retryable: false, exit: 1 },
  LogOverflow: { retryable: false, exit: 1 },
  LeaseLost: { retryable: false, exit: 1 },
  Fenced: { retryable: true, exit: 1 },
  OutcomeUnknown: { retryable: false, exit: 1 },
  Mismatch: { retryable: false, exit: 1 },
  Orphans: { retryable: false, exit: 1 },
  Quarantined: { retryable: false, exit: 1 },
  CutoverReturned: { retryable: false, exit: 1 },
  RollbackImpossible: { retryable: false, exit: 1 },
  Aborted: { retryable: false, exit: 4 },
  EncoderInexact: { retryable: false, exit: 1 },
  ToolMissing: { retryable: false, exit: 2 },
  Internal: { retryable: false, exit: 1 },
} as const;

export type ErrorCode = keyof typeof CODES;

export class CrossfadeError extends Error {
  readonly code: ErrorCode;
  readonly retryable: boolean;
  /** Exit status of the command line for this error. */
  readonly exit: number;

  constructor(code: ErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'CrossfadeError';
    this.code = code;
    this.retryable = CODES[code].retryable;
    this.exit = CODES[code].exit;
  }
}

/** Exit status of an error code that crossed a process boundary as text (an ApplicationFailure's `type`). */
export function exitOf(code: string): number {
  return code in CODES ? CODES[code as ErrorCode].exit : 1;
}

/** Message of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** SQLSTATE or SQLite code of a driver's error, '' where it has none. */
export function driverCode(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : '';
}
