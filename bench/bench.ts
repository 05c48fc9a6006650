/** What every measurement works with: the server, generated sources, databases that are gone afterwards. */
import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { DEFAULT_INPUT, type Plan } from '../src/contract.ts';
import { openSource } from '../src/databases/sqlite/connection.ts';
import { planMigration } from '../src/engine/plan.ts';
import type { BenchOptions } from './arguments.ts';
import type { Cleanup } from './cleanup.ts';
import { generateSource } from './data/generate.ts';
import type { Run } from './interleave.ts';
import { createDatabase, type TargetDatabase, type TargetServer } from './target.ts';

export interface Source {
  path: string;
  rows: number;
  /** Size of the file. */
  bytes: number;
  plan: Plan;
}

export interface BenchParts {
  options: BenchOptions;
  server: TargetServer;
  /** For files of the measurements; removed at the end. */
  directory: string;
  cleanup: Cleanup;
  signal: AbortSignal;
  onLine(line: string): void;
}

export class Bench {
  readonly options: BenchOptions;
  readonly server: TargetServer;
  readonly directory: string;
  readonly cleanup: Cleanup;
  readonly signal: AbortSignal;
  readonly log: (line: string) => void;
  readonly #sources = new Map<number, Promise<Source>>();

  constructor({ options, server, directory, cleanup, signal, onLine }: BenchParts) {
    this.options = options;
    this.server = server;
    this.directory = directory;
    this.cleanup = cleanup;
    this.signal = signal;
    this.log = onLine;
  }

  /** The generated source of this many rows, shared by the measurements: they leave its rows as they are. */
  source(rows: number): Promise<Source> {
    let source = this.#sources.get(rows);
    if (source === undefined) {
      source = this.#generate(rows);
      this.#sources.set(rows, source);
    }
    return source;
  }

  /** A source of its own for a measurement that changes rows. */
  async ownSource(rows: number): Promise<Source> {
    return this.#generate(rows);
  }

  async #generate(rows: number): Promise<Source> {
    const started = performance.now();
    const path = join(this.directory, `${rows}-${randomUUID().slice(0, 8)}.sqlite`);
    const bytes = await generateSource(path, rows, this.signal);
    const generated = performance.now();
    const plan = await planOf(path);
    this.log(
      `generated ${count(rows)} rows, ${mebibytes(bytes)}, in ${seconds(generated - started)}; ` +
        `planned in ${seconds(performance.now() - generated)}`,
    );
    return { path, rows, bytes, plan };
  }

  /** Removes a source before the end, to free its space. */
  removeSource(source: Source): void {
    for (const suffix of ['', '-wal', '-shm']) rmSync(source.path + suffix, { force: true });
  }

  /** An empty database; dropped at the end where nobody has dropped it before. */
  async database(): Promise<TargetDatabase> {
    const database = await createDatabase(this.server);
    const drop = this.cleanup.add('drop a database', () => database.drop());
    return { url: database.url, drop };
  }

  /** Runs `work` on an empty database and drops it. */
  async withDatabase<T>(work: (url: string) => Promise<T>): Promise<T> {
    const database = await this.database();
    try {
      return await work(database.url);
    } finally {
      await database.drop();
    }
  }

  /** To be given to `interleave`. */
  onRun(measurement: string): (side: string, round: number, run: Run) => void {
    return (side, round, { ms }) =>
      this.log(`${measurement} ${round + 1}/${this.options.runs}: ${side} ${seconds(ms)}`);
  }
}

/** @throws Error where something blocks the migration */
export async function planOf(path: string): Promise<Plan> {
  const db = openSource(path, 'read');
  try {
    const plan = await planMigration(db, DEFAULT_INPUT);
    if (plan.blockers.length > 0) throw new Error(JSON.stringify(plan.blockers));
    return plan;
  } finally {
    db.close();
  }
}

export function seconds(ms: number): string {
  return ms < 1_000 ? `${ms.toFixed(0)} ms` : `${(ms / 1_000).toFixed(2)} s`;
}

export function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(0)} MiB`;
}

export function count(n: number): string {
  return Math.round(n).toLocaleString('en-US');
}
