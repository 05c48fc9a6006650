/** Reads a view from both databases on snapshots that show the same state of its tables, and says whether its rows are the same. */
import { fork, type ChildProcess } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type pg from 'pg';
import type { ViewPlan } from '../contract.ts';
import { quoted } from '../databases/identifiers.ts';
import { asText } from '../databases/postgres/connection.ts';
import { createViewSql, targetView } from '../databases/postgres/ddl.ts';
import { readHeldMoments } from '../databases/postgres/moments.ts';
import { LOG_TABLE } from '../databases/sqlite/control.ts';
import { messageOf } from '../errors.ts';
import { oneLine } from './findings.ts';
import { RowSet, sourceCell, targetCell } from './view-rows.ts';

const ROWS = 1_000;

/** Says why a view is not kept; thrown within a trial. */
export class NotTheSame extends Error {}

/** A process that reads views of the source, started when the first one is read. */
export class ViewReader {
  private process: ChildProcess | undefined;
  /** Of the process, and its end. */
  private readonly answers = new EventEmitter<{ answer: [Answer] }>();
  private readonly sourcePath: string;

  constructor(sourcePath: string) {
    this.sourcePath = sourcePath;
  }

  /**
   * @param position where the source's log must end for the view's tables
   * @returns null where they have changed since @throws NotTheSame where the source cannot read it
   */
  async read(
    view: ViewPlan,
    position: bigint,
    rows: RowSet,
    signal: AbortSignal,
  ): Promise<'read' | 'changed'> {
    const columns = view.columns.map(({ name }) => quoted(name));
    const cells = columns.flatMap((name) => [
      `typeof(${name})`,
      `CASE typeof(${name}) WHEN 'text' THEN CAST(${name} AS BLOB) ELSE ${name} END`,
    ]);
    let answer = await this.ask(
      {
        sql: `SELECT ${cells.join(', ')} FROM main.${quoted(view.name)}`,
        changedSql: changedSql(view, position),
      },
      signal,
    );
    for (;;) {
      if (answer.failed !== undefined) throw new NotTheSame(`the source cannot read it (${answer.failed})`);
      if (answer.rows === undefined) return 'changed';
      if (answer.rows.length === 0) return 'read';
      for (const row of answer.rows) {
        rows.add(columns.map((_, i) => sourceCell(row[2 * i], row[2 * i + 1])));
      }
      answer = await this.ask('next', signal);
    }
  }

  private async ask(message: object | string, signal: AbortSignal): Promise<Answer> {
    this.process ??= this.start();
    this.process.send(message);
    const [answer] = (await once(this.answers, 'answer', { signal })) as [Answer];
    return answer;
  }

  private start(): ChildProcess {
    const path = fileURLToPath(new URL('./view-reader.js', import.meta.url));
    const child = fork(path, [this.sourcePath], { execArgv: [], serialization: 'advanced' });
    child.on('message', (answer) => this.answers.emit('answer', answer as Answer));
    child.on('error', (error) => this.answers.emit('answer', { failed: error.message }));
    child.on('exit', () => this.answers.emit('answer', { failed: 'its reader ended' }));
    return child;
  }

  /** Ends the process, whatever it is doing. */
  stop(): void {
    this.process?.removeAllListeners();
    this.process?.kill('SIGKILL');
    this.process = undefined;
  }
}

interface Answer {
  changed?: boolean;
  rows?: unknown[][];
  failed?: string;
}

/** Finds a row where the view's tables have changed after the position, or the log does not reach back to it. */
function changedSql(view: ViewPlan, position: bigint): string {
  return (
    `SELECT 1 FROM ${LOG_TABLE} WHERE seq > ${position} AND t IN (${view.tables.join(', ')}) ` +
    `UNION ALL SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM ${LOG_TABLE} WHERE seq <= ${position}) LIMIT 1`
  );
}

/**
 * Makes the view in a transaction that is rolled back, and compares its rows.
 * @param timeoutMs for either side @returns 'changed' where the source has moved on: try again
 * @throws NotTheSame with the reason; the connection's errors
 */
export async function tryView(
  client: pg.Client,
  reader: ViewReader,
  view: ViewPlan,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<'same' | 'changed'> {
  const approximate = view.columns.map((column) => column.approximate === true);
  const [source, target] = [new RowSet(approximate), new RowSet(approximate)];
  const late = AbortSignal.timeout(timeoutMs);
  // Ends what the other side goes on with: an answer that nobody waits for would be taken for the next view's.
  const ended = new AbortController();
  const timely = AbortSignal.any([signal, late, ended.signal]);
  let changed = false;
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
  try {
    await client.query(
      `SET LOCAL statement_timeout = ${timeoutMs}; SET LOCAL idle_in_transaction_session_timeout = ${2 * timeoutMs}`,
    );
    const { rows } = await client.query<{ position: string }>(
      'SELECT position FROM crossfade.checkpoint WHERE id = 1',
    );
    const reading = reader.read(view, BigInt(rows[0]?.position ?? 0), source, timely).then((found) => {
      changed = found === 'changed';
      if (changed) ended.abort();
    });
    await Promise.all([reading, readTarget(client, view, target, timely)]);
    if (changed) return 'changed';
  } catch (error) {
    if (changed) return 'changed';
    ended.abort();
    reader.stop();
    signal.throwIfAborted();
    if (late.aborted || isTimeout(error)) {
      throw new NotTheSame(`its rows could not be compared within ${timeoutMs / 1_000} s`);
    }
    throw error;
  } finally {
    await client.query('ROLLBACK').catch(() => undefined);
  }
  if (source.equals(target)) return 'same';
  throw new NotTheSame(difference(source, target));
}

async function readTarget(
  client: pg.Client,
  view: ViewPlan,
  rows: RowSet,
  signal: AbortSignal,
): Promise<void> {
  const moments = await readHeldMoments(client);
  await refusable(client.query(createViewSql(view)));
  await refusable(client.query(`DECLARE shown NO SCROLL CURSOR FOR SELECT * FROM ${targetView(view)}`));
  for (;;) {
    signal.throwIfAborted();
    const found = await refusable(
      client.query<(string | null)[]>({ text: `FETCH ${ROWS} FROM shown`, rowMode: 'array', types: asText }),
    );
    for (const row of found.rows) {
      rows.add(
        row.map((text, i) =>
          targetCell(text, found.fields[i]!.dataTypeID, found.fields[i]!.dataTypeModifier, moments),
        ),
      );
    }
    if (found.rows.length < ROWS) return;
  }
}

/** What PostgreSQL says against the SQL itself is an answer; a broken connection is not. */
async function refusable<T>(query: Promise<T>): Promise<T> {
  try {
    return await query;
  } catch (error) {
    // Classes 22 (data), 21 (cardinality), 0A (not supported), 42 (syntax, names, types).
    if (!/^(22|21|0A|42)/.test(codeOf(error))) throw error;
    throw new NotTheSame(`PostgreSQL refuses it (${messageOf(error)})`);
  }
}

function codeOf(error: unknown): string {
  return String((error as { code?: unknown }).code ?? '');
}

/** 57014: cancelled, by the statement's timeout. */
function isTimeout(error: unknown): boolean {
  return codeOf(error) === '57014';
}

function difference(source: RowSet, target: RowSet): string {
  if (source.rows !== target.rows) return `it has ${source.rows} rows on the source and ${target.rows} there`;
  const [here, there] = [source.example(target), target.example(source)];
  const example =
    here === null || there === null
      ? ''
      : `, for example ${oneLine(here)} on the source and ${oneLine(there)} there`;
  return `it returns other rows there${example}`;
}
