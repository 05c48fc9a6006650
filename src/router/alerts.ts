/** What the router tells besides answering: log lines, and alerts for whoever is on call. */
import pg from 'pg';
import { driverCode, messageOf } from '../errors.ts';
import type { Sql } from '../databases/adapter.ts';

export type AlertKind =
  /** A write was acknowledged before the target had it. */
  | 'dual_write_failure'
  /** Both databases answered the same read differently. */
  | 'shadow_mismatch'
  /** Reads that should go to the target are answered by the source. */
  | 'target_unreachable'
  /** A write found no database that would take it until its time ran out. */
  | 'fence_timeout'
  /** The connection broke while a write was under way. */
  | 'outcome_unknown'
  /** A switch passed its commit point and this router could not open the new primary. */
  | 'roll_forward_failed';

export interface Alert {
  kind: AlertKind;
  message: string;
}

/** Where log lines go; a pino logger is one. */
export interface Log {
  info(details: object, message: string): void;
  warn(details: object, message: string): void;
  error(details: object, message: string): void;
}

export class Alerts {
  readonly log: Log;
  readonly #onAlert: ((alert: Alert) => void) | undefined;

  constructor(log: Log, onAlert: ((alert: Alert) => void) | undefined) {
    this.log = log;
    this.#onAlert = onAlert;
  }

  raise(kind: AlertKind, message: string, details: Record<string, unknown> = {}): void {
    this.log.warn({ alert: kind, ...details }, message);
    try {
      this.#onAlert?.({ kind, message });
    } catch (error) {
      // The application's handler must not turn a write that was applied into an error.
      this.log.error({ alert: kind, reason: messageOf(error) }, 'onAlert threw');
    }
  }
}

/** An error for a log line: PostgreSQL's messages may quote values, its codes do not. */
export function reasonOf(error: unknown): string {
  return error instanceof pg.DatabaseError ? `SQLSTATE ${driverCode(error)}` : messageOf(error);
}

/** A statement for a log line, its parameters left out. */
export function shortened(sql: Sql): string {
  const text = (typeof sql === 'string' ? sql : sql.sqlite).replace(/\s+/g, ' ').trim();
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}
