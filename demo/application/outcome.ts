/** What an application may conclude from a failed write. */

/** Thrown inside a transaction to take it back: the application's own rules forbid the write. */
export class ApplicationRefusal extends Error {}

/** SQLSTATE classes of statements that the server rejected, so that nothing was applied; CF is crossfade's fence. */
const REJECTED_CLASSES = ['0A', '22', '23', '25', '40', '42', '53', '54', '55', 'CF'];
const REJECTED_SQLITE = ['CONSTRAINT', 'BUSY', 'LOCKED', 'READONLY', 'ERROR', 'MISMATCH'];

/** `refused`: certainly not applied. Anything that is not known to be a rejection may have been applied. */
export function outcomeOf(error: unknown): 'refused' | 'unknown' {
  if (error instanceof ApplicationRefusal) return 'refused';
  const code = (error as { code?: unknown } | null)?.code;
  if (typeof code !== 'string') return 'unknown';
  if (code === 'Fenced' || code === 'SourceBusy') return 'refused';
  // 40003 is the one rejection that does not know: statement_completion_unknown.
  if (/^[0-9A-Z]{5}$/.test(code)) {
    return code !== '40003' && REJECTED_CLASSES.includes(code.slice(0, 2)) ? 'refused' : 'unknown';
  }
  return REJECTED_SQLITE.some((word) => code.startsWith(`SQLITE_${word}`)) ? 'refused' : 'unknown';
}
