/**
 * Reads the same keys from both databases so that a difference is decided, not suspected, while writes go on.
 *
 * While the source is primary, the target's snapshot comes first and holds its checkpoint C with the rows, because they
 * commit together. A key that the source's log has not touched after C has, in the source's later snapshot, the row
 * that was applied at C: any difference is real.
 *
 * While the target is primary, the source's snapshot comes first and holds the name of the last batch that came back.
 * If the target, in its later snapshot, has noted no later one, its log still names every key whose row may be newer
 * than the source's: for any other, a difference is real.
 *
 * A touched key is undecided. Whoever looks again once replay has passed the moment of the read finds it either
 * decided, or touched again: then replay has written its whole row in between.
 */
import type Database from 'better-sqlite3';
import type pg from 'pg';
import type { TablePlan } from '../contract.ts';
import {
  keyInput,
  keyColumns,
  keysAsRows,
  keyText,
  keyTypes,
  parseKeyText,
  type KeyValue,
} from '../databases/key.ts';
import { quarantinedAmong } from '../databases/postgres/apply.ts';
import { copyOut } from '../databases/postgres/copy-stream.ts';
import { sameKeyAs, targetColumns, targetTable } from '../databases/postgres/names.ts';
import { readControl } from '../databases/sqlite/control.ts';
import { toCopyText } from '../databases/sqlite/copy-buffer.ts';
import { endOfLog, reachesBack, type ChangedKeys } from '../databases/sqlite/log.ts';
import { numberingOf, Renumbered } from '../databases/sqlite/numbering.ts';
import { batchTokens, continues } from '../databases/sqlite/receive.ts';
import { readTransaction } from '../databases/sqlite/transaction.ts';
import { differences, type Difference } from './compare.ts';
import { pause } from './endpoints.ts';

/** How long replay may take to copy a table without a key again after a VACUUM. */
const RENUMBERED_MS = 120_000;
/** After so long without a common batch one of the databases was restored, and nothing will make them meet. */
const APART_MS = 20_000;
const AGAIN_MS = 20;

/** The two databases of a comparison. */
export interface Pair {
  db: Database.Database;
  client: pg.Client;
  /** For the keys that are read; of the connection `db`. */
  staged: ChangedKeys;
  /** As the target's control row said last; it changes while a verification runs. */
  targetIsPrimary: boolean;
}

/** What replay has to pass until an undecided key is worth another look: a log position of the source, or of the target's log. */
export type Moment = { position: bigint } | { sequence: bigint };

export interface PairedRead<D> {
  /** Really different, and not in quarantine. */
  different: D[];
  /** Different, but the row of one side may be a later one. */
  undecided: D[];
  moment: Moment;
  targetIsPrimary: boolean;
}

interface Reads<S, T, D> {
  /** Synchronous, on one snapshot of the source; the keys are staged in it. */
  source(): S;
  target(): Promise<T>;
  compare(source: S, target: T): D[];
}

/** What a snapshot of the target says of the migration. */
interface View {
  position: bigint;
  targetIsPrimary: boolean;
  finished: boolean;
  /** The last batch that went back to the source. */
  noted: string | null;
}

/** Runs `work` on one snapshot of the target. */
export async function onTargetSnapshot<T>(client: pg.Client, work: (view: View) => Promise<T>): Promise<T> {
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  try {
    const { rows } = await client.query<{
      position: string;
      noted: string | null;
      primary: boolean;
      finished: boolean;
    }>(
      `SELECT k.position, k.reverse_token AS noted, c.state IN ('open', 'fencing') AS "primary",
              c.finished_at IS NOT NULL AS finished
         FROM crossfade.checkpoint k, crossfade.control c WHERE k.id = 1 AND c.id = 1`,
    );
    const { position = 0, noted = null, primary = false, finished = false } = rows[0] ?? {};
    return await work({ position: BigInt(position), noted, targetIsPrimary: primary, finished });
  } finally {
    await client.query('COMMIT').catch(() => undefined);
  }
}

/** Why two snapshots do not belong together; another pair may. */
type Unpaired = 'trimmed' | 'renumbered' | 'switched' | 'apart';

/** Reads the same keys from both databases on paired snapshots, and compares them. */
export async function readPaired<S, T, D extends { key: string }>(
  pair: Pair,
  table: TablePlan,
  keys: KeyValue[][],
  reads: Reads<S, T, D>,
): Promise<PairedRead<D>> {
  const started = performance.now();
  for (;;) {
    const apartFor = performance.now() - started;
    const found = pair.targetIsPrimary
      ? await readBack(pair, table, keys, reads, apartFor > APART_MS)
      : await readForth(pair, table, keys, reads);
    if (typeof found !== 'string') return found;
    if (found === 'switched') pair.targetIsPrimary = !pair.targetIsPrimary;
    // Replay replaces the table.
    if (found === 'renumbered' && apartFor > RENUMBERED_MS) throw new Renumbered(pair.db.name);
    if (found !== 'trimmed') await pause(AGAIN_MS, new AbortController().signal);
  }
}

/** The source is primary. */
async function readForth<S, T, D extends { key: string }>(
  pair: Pair,
  table: TablePlan,
  keys: KeyValue[][],
  reads: Reads<S, T, D>,
): Promise<PairedRead<D> | Unpaired> {
  const { db, client, staged } = pair;
  return onTargetSnapshot(client, async (view) => {
    if (view.targetIsPrimary) return 'switched';
    const numbering = await numberingThere(client, table, view);
    const source = readTransaction(db, () => {
      if (table.rowNumbered && numberingOf(db) !== numbering) return 'renumbered';
      if (!reachesBack(db, view.position)) return 'trimmed';
      // A cutover since the target's snapshot: rows of the target may be here already.
      if (readControl(db)?.state === 'moved' && batchTokens(db)?.last !== null) return 'switched';
      staged.stageKeys(table, keys);
      const undecided = staged.touchedAfter(table, view.position);
      return { rows: reads.source(), undecided, moment: { position: endOfLog(db) } };
    });
    if (typeof source === 'string') return source;
    return settle(pair, table, reads.compare(source.rows, await reads.target()), source);
  });
}

/** The target is primary. */
async function readBack<S, T, D extends { key: string }>(
  pair: Pair,
  table: TablePlan,
  keys: KeyValue[][],
  reads: Reads<S, T, D>,
  evenApart: boolean,
): Promise<PairedRead<D> | Unpaired> {
  const { db, client, staged } = pair;
  const source = readTransaction(db, () => {
    staged.stageKeys(table, keys);
    return {
      rows: reads.source(),
      tokens: readControl(db) === null ? null : batchTokens(db),
      numbering: numberingOf(db),
    };
  });
  return onTargetSnapshot(client, async (view) => {
    if (!view.targetIsPrimary) return 'switched';
    if (table.rowNumbered && source.numbering !== (await numberingThere(client, table, view)))
      return 'renumbered';
    if (!view.finished && !evenApart && !continues(source.tokens, view.noted)) return 'apart';
    const { undecided, moment } = await pendingBack(client, table, keys);
    const different = reads.compare(source.rows, await reads.target());
    return settle(pair, table, different, { undecided, moment });
  });
}

async function settle<D extends { key: string }>(
  { client, targetIsPrimary }: Pair,
  table: TablePlan,
  found: D[],
  { undecided, moment }: { undecided: Set<string>; moment: Moment },
): Promise<PairedRead<D>> {
  const kept =
    found.length === 0
      ? new Set()
      : await quarantinedAmong(
          client,
          table,
          found.map(({ key }) => key),
        );
  const told = found.filter(({ key }) => !kept.has(key));
  return {
    different: told.filter(({ key }) => !undecided.has(key)),
    undecided: told.filter(({ key }) => undecided.has(key)),
    moment,
    targetIsPrimary,
  };
}

/** The numbering that the target's rows have; null where the source's own was dropped, after *finish*. */
async function numberingThere(client: pg.Client, table: TablePlan, view: View): Promise<bigint | null> {
  if (!table.rowNumbered || view.finished) return null;
  const { rows } = await client.query<{ numbering: string | null }>(
    'SELECT numbering FROM crossfade.copied WHERE table_id = $1',
    [table.id],
  );
  const numbering = rows[0]?.numbering;
  return numbering === null || numbering === undefined ? null : BigInt(numbering);
}

/** Rows of the given keys that differ. */
export function compareKeys(
  pair: Pair,
  table: TablePlan,
  keys: KeyValue[][],
): Promise<PairedRead<Difference>> {
  return readPaired(pair, table, keys, {
    source: () => sourceRows(pair.staged, table),
    target: () => targetRows(pair.client, table, keys),
    compare: (source, target) => differences(table, source, target),
  });
}

/** Which of the keys the target's log names, all of them after a TRUNCATE; and the newest row that says so. */
async function pendingBack(
  client: pg.Client,
  table: TablePlan,
  keys: KeyValue[][],
): Promise<{ undecided: Set<string>; moment: Moment }> {
  const log = await client.query<{ newest: string | null; whole: boolean | null }>(
    'SELECT max(seq) AS newest, bool_or(key IS NULL) AS whole FROM crossfade.log WHERE table_id = $1',
    [table.id],
  );
  const { newest = null, whole = false } = log.rows[0] ?? {};
  if (newest === null) return { undecided: new Set(), moment: { sequence: 0n } };
  const moment = { sequence: BigInt(newest) };
  if (whole === true) return { undecided: new Set(keys.map(keyText)), moment };
  const held = heldKeys(table, keys);
  if (held.inputs.length === 0) return { undecided: new Set(), moment };
  const numbered = keysAsRows(table, held.inputs).replace(
    /\) AS d\((.*)\)$/,
    ') WITH ORDINALITY AS d($1, n)',
  );
  // By value: two spellings of one number are one key.
  const same = keyTypes(table)
    .map((type, i) => `(l.key)[${i + 1}]::${type} = d.k${i}`)
    .join(' AND ');
  const { rows } = await client.query<{ n: string }>(
    `SELECT DISTINCT d.n FROM ${numbered} JOIN crossfade.log l ON ${same} WHERE l.table_id = $1`,
    [table.id],
  );
  return { undecided: new Set(rows.map(({ n }) => keyText(held.keys[Number(n) - 1]!))), moment };
}

function sourceRows(staged: ChangedKeys, table: TablePlan): Buffer {
  const found = staged.rows(table, 0, staged.highest());
  const text =
    found.data === null ? Buffer.alloc(0) : toCopyText(found.data, table.columns.length, found.good);
  if (text !== null && found.good === found.rows) return text;
  // Rows that cannot be written as text are in the quarantine, which the verdict counts by itself.
  const texts = staged.numbered(table, 0, staged.highest()).map(({ number }) => {
    const row = staged.rows(table, number - 1, number);
    return row.data === null ? null : toCopyText(row.data, table.columns.length, 1);
  });
  return Buffer.concat(texts.filter((part) => part !== null));
}

/** Those of the keys that the target can hold at all, with their `keyInput` texts. */
function heldKeys(table: TablePlan, keys: KeyValue[][]): { keys: KeyValue[][]; inputs: string[][] } {
  const columns = keyColumns(table);
  const held: { keys: KeyValue[][]; inputs: string[][] } = { keys: [], inputs: [] };
  for (const key of keys) {
    const input = key.map((value, i) => keyInput(value, columns[i]!));
    if (!input.every((text) => text !== null)) continue;
    held.keys.push(key);
    held.inputs.push(input);
  }
  return held;
}

async function targetRows(client: pg.Client, table: TablePlan, keys: KeyValue[][]): Promise<Buffer> {
  const { inputs } = heldKeys(table, keys);
  if (inputs.length === 0) return Buffer.alloc(0);
  const columns = targetColumns(table, 't').join(', ');
  return copyOut(
    client,
    `COPY (SELECT ${columns} FROM ${targetTable(table)} t JOIN ${keysAsRows(table, inputs)} ON ${sameKeyAs(table)}) TO STDOUT`,
  );
}

/** The keys of differences, to be compared again. */
export function keysOf(found: { key: string }[]): KeyValue[][] {
  return found.map(({ key }) => parseKeyText(key));
}
