/** What the application asks its Workers, and what they answer. */
import type { AlertKind, Operation, ReadOptions, Side } from '../../src/workers/index.ts';

export interface Asked {
  do: 'query' | 'write' | 'batch';
  /** One, except of a batch. */
  operations: readonly Operation[];
  options: ReadOptions;
  /** What the user's last answer gave. */
  session: string | null;
}

export interface Answer {
  /** What `DatabaseConnection` gave. */
  value?: unknown;
  error?: { code?: string; message: string };
  primary: Side;
  session?: string;
  alerts: AlertKind[];
}
