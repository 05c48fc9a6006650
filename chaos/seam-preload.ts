/**
 * Loaded into a worker before anything else: kills or stops the process at a named seam of the protocol, which it
 * recognises by a statement. The shipped code knows nothing of it. CHAOS_SEAM: `name:nth:kill` or `name:nth:hold`, the nth
 * time that the seam is met. CHAOS_MET: a file that is made at that moment.
 */
import { writeFileSync } from 'node:fs';
import Database from 'better-sqlite3';
import pg from 'pg';
import { SEAMS, type Seam } from './seams.ts';

const [name = '', nth = '1', how = 'kill'] = (process.env['CHAOS_SEAM'] ?? '').split(':');
const seam = SEAMS[name];
if (seam?.database === 'target') watchTarget(seam, Number(nth));
const isD1 = (process.env['SOURCE_URL'] ?? '').startsWith('d1:');
if (seam?.database === 'source') (isD1 ? watchD1 : watchSource)(seam, Number(nth));

function die(): void {
  writeFileSync(process.env['CHAOS_MET'] ?? '', '');
  process.kill(process.pid, how === 'hold' ? 'SIGSTOP' : 'SIGKILL');
}

/** What is sent with `pg.Client.query`: SQL, a query config, or the engine's own query with rows to copy. */
type Sent =
  | string
  | { text?: string; sql?: string; settle?: () => void; handleCopyInResponse?: (wire: unknown) => void };

function watchTarget({ statement, moment }: Seam, times: number): void {
  let left = times;
  /** Connections inside BEGIN … COMMIT, and those of them whose transaction has met the seam. */
  const inside = new WeakSet<object>();
  const met = new WeakSet<object>();
  const prototype = pg.Client.prototype as unknown as {
    query(this: object, sent: Sent, ...more: unknown[]): unknown;
  };
  const { query } = prototype;
  prototype.query = function (sent, ...more) {
    const sql = typeof sent === 'string' ? sent : (sent.text ?? sent.sql ?? '');
    const reached = statement.test(sql) && --left === 0;
    if (reached && moment === 'before') die();
    if (reached && typeof sent === 'object' && sent.settle !== undefined) {
      if (moment === 'rows') afterRows(sent);
      else sent.settle = die;
      return query.call(this, sent, ...more);
    }
    if (reached) met.add(this);
    const answer = query.call(this, sent, ...more);
    if (sql === 'BEGIN') inside.add(this);
    const commits = sql === 'COMMIT' || !inside.has(this);
    if (sql === 'COMMIT' || sql === 'ROLLBACK') inside.delete(this);
    if (met.has(this) && commits) void (answer as Promise<unknown>).then(die, die);
    return answer;
  };
}

function afterRows(sent: Exclude<Sent, string>): void {
  const original = sent.handleCopyInResponse?.bind(sent);
  sent.handleCopyInResponse = (wire) => {
    original?.(wire);
    die();
  };
}

function watchSource({ statement, moment }: Seam, times: number): void {
  let left = times;
  const prototype = Database.prototype as unknown as Record<'prepare' | 'exec', (sql: string) => unknown>;
  for (const method of ['prepare', 'exec'] as const) {
    const original = prototype[method];
    prototype[method] = function (this: unknown, sql: string): unknown {
      if (statement.test(sql) && --left === 0) {
        if (moment === 'before') die();
        // The engine's write transactions end within the turn in which they began.
        setImmediate(die);
      }
      return original.call(this, sql);
    };
  }
}

/** Its statements run on the mirror first, as a trial: what counts is the request that has them. */
function watchD1({ statement, moment }: Seam, times: number): void {
  let left = times;
  const { fetch } = globalThis;
  globalThis.fetch = async (input, init) => {
    const request = new Request(input, init);
    const reached = statementsOf(await request.clone().text()).some((sql) => statement.test(sql));
    if (!reached || --left !== 0) return fetch(request);
    if (moment === 'before') die();
    // Also where D1 refuses the batch: then the worker dies before it decides the step again.
    return fetch(request).finally(die);
  };
}

function statementsOf(body: string): string[] {
  if (!body.startsWith('{')) return [];
  const { batch = [] } = JSON.parse(body) as { batch?: { sql: string }[] };
  return batch.map(({ sql }) => sql);
}
