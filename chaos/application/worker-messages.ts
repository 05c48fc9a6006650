/** What a process asks an application's Worker, as JSON, and what that answers. */
import { fetchOnce } from '../../cloudflare/fetch-once.ts';
import type { Statement } from './operations.ts';

export interface Asked {
  /** One transaction; ignored where something is read. */
  statements: Statement[];
  /** Between two of them, where the database has transactions that wait. */
  pauseMs?: number;
  read?: { sql: string; params: (string | number)[] };
  key?: string;
  /** Of this user, from an earlier answer. */
  session?: string;
}

export interface Answer {
  rows?: Record<string, unknown>[];
  error?: { code?: string; message: string };
  session?: string;
}

/** @throws the Worker's error with its code, or one without where there is no answer */
export async function ask(address: string, asked: Asked): Promise<Answer> {
  const response = await fetchOnce(address, { method: 'POST', body: JSON.stringify(asked) });
  if (!response.ok) throw new Error(`the Worker answers ${response.status}: ${await response.text()}`);
  return (await response.json()) as Answer;
}

/** @throws the error that the answer tells */
export function rowsOf({ rows = [], error }: Answer): Record<string, unknown>[] {
  if (error === undefined) return rows;
  throw Object.assign(new Error(error.message), error.code === undefined ? {} : { code: error.code });
}
