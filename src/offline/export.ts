/**
 * From SQLite to files that psql loads into PostgreSQL, where nothing can reach both databases. Plan and rows come from one
 * snapshot of the source, so that every row is as the plan found it, whatever is written meanwhile.
 */
import {
  mkdir,
  mkdtemp,
  open,
  readdir,
  rename,
  rm,
  rmdir,
  writeFile,
  type FileHandle,
} from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { setImmediate as yieldToLoop } from 'node:timers/promises';
import type Database from 'better-sqlite3';
import { DEFAULT_INPUT, type Plan, type TablePlan } from '../contract.ts';
import { quoted } from '../databases/identifiers.ts';
import type { KeyValue } from '../databases/key.ts';
import { ChunkReader } from '../databases/sqlite/chunk.ts';
import { openSource } from '../databases/sqlite/connection.ts';
import { readControl } from '../databases/sqlite/control.ts';
import { CopyBuffer } from '../databases/sqlite/copy-buffer.ts';
import { proveEncoder } from '../databases/sqlite/encode.ts';
import { sqliteSequences } from '../databases/sqlite/sequences.ts';
import { checkIntegrity } from '../engine/integrity.ts';
import { planMigration, type PlanChoices } from '../engine/plan.ts';
import { CrossfadeError, messageOf } from '../errors.ts';
import {
  constraintsSql,
  copyHead,
  COPY_END,
  countsSql,
  indexesSql,
  loadScript,
  schemaSql,
  viewsSql,
  type ExportedTable,
} from './export-sql.ts';

export interface ExportOptions {
  sourcePath: string;
  /** Must not be there, or be empty. */
  out: string;
  choices: PlanChoices;
  signal: AbortSignal;
  /** Told before the first row is written; with blockers in the plan nothing will be. */
  onPlanned?: (plan: Plan) => void;
  onTable?: (table: ExportedTable) => void;
}

export interface Exported {
  plan: Plan;
  tables: ExportedTable[];
}

/**
 * Writes the folder, which appears whole or not at all.
 * @returns the plan; with blockers in it nothing was written
 * @throws CrossfadeError InvalidInput for the folder; Mismatch where a row has no form that the plan knows; as `openSource`
 */
export async function exportDatabase(options: ExportOptions): Promise<Exported> {
  const out = resolve(options.out);
  await proveFree(out);
  const db = openSource(options.sourcePath, 'read');
  try {
    await checkIntegrity(options.sourcePath);
    proveEncoder(db);
    // The snapshot begins with the first read, not with BEGIN, and lasts to the end.
    db.exec('BEGIN; SELECT count(*) FROM sqlite_master');
    const plan = await planMigration(db, options.choices);
    const control = readControl(db);
    if (control?.state === 'moved') {
      plan.notices.push({
        code: 'moved-source',
        message:
          `migration "${control.migration}" has moved the writes of ${options.sourcePath} to PostgreSQL: ` +
          'what was written there since may be missing here',
      });
    }
    options.onPlanned?.(plan);
    if (plan.blockers.length > 0) return { plan, tables: [] };
    const tables = await inFolder(out, (folder) => writeFolder(folder, db, plan, options));
    return { plan, tables };
  } finally {
    db.close();
  }
}

async function proveFree(out: string): Promise<void> {
  const names = await readdir(out).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw new CrossfadeError(
      'InvalidInput',
      `the folder ${out} cannot be written: ${messageOf(error)}`,
      error,
    );
  });
  if (names.length > 0) {
    throw new CrossfadeError(
      'InvalidInput',
      `the folder ${out} is not empty: name one that is not there yet`,
    );
  }
}

/** Does `work` in a folder beside, which takes the name when everything in it is on the disk. */
async function inFolder<T>(out: string, work: (folder: string) => Promise<T>): Promise<T> {
  let folder: string;
  try {
    await mkdir(dirname(out), { recursive: true });
    folder = await mkdtemp(`${out}.partial-`);
  } catch (error) {
    throw new CrossfadeError(
      'InvalidInput',
      `the folder ${out} cannot be written: ${messageOf(error)}`,
      error,
    );
  }
  try {
    const result = await work(folder);
    await rmdir(out).catch(() => undefined);
    await rename(folder, out);
    return result;
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

async function writeFolder(
  folder: string,
  db: Database.Database,
  plan: Plan,
  options: ExportOptions,
): Promise<ExportedTable[]> {
  await mkdir(join(folder, 'data'));
  const exported: ExportedTable[] = [];
  for (const table of plan.tables) {
    const one = { table, file: `data/${dataFile(table)}`, rows: 0 };
    one.rows = await writeRows(db, table, join(folder, one.file), options.signal);
    exported.push(one);
    options.onTable?.(one);
  }
  const files = {
    'schema.sql': schemaSql(plan),
    'indexes.sql': indexesSql(plan),
    'constraints.sql': constraintsSql(plan, sqliteSequences(db)),
    'counts.sql': countsSql(exported),
    ...((plan.views ?? []).length === 0 ? {} : { 'views.sql': viewsSql(plan) }),
    'load.sql': loadScript(exported),
  };
  for (const [name, text] of Object.entries(files))
    await writeFile(join(folder, name), text, { flush: true });
  return exported;
}

/** Names of tables may have anything in them. */
function dataFile({ id, name }: TablePlan): string {
  return `${String(id).padStart(4, '0')}-${name.replaceAll(/[^A-Za-z0-9_]+/g, '-').slice(0, 60)}.sql`;
}

async function writeRows(
  db: Database.Database,
  table: TablePlan,
  path: string,
  signal: AbortSignal,
): Promise<number> {
  const { batchRows, batchBytes } = DEFAULT_INPUT.copy;
  const reader = new ChunkReader(db, table);
  const text = new CopyBuffer();
  const file = await open(path, 'wx');
  try {
    await file.appendFile(copyHead(table));
    let rows = 0;
    for (let after: KeyValue[] | null = null; ;) {
      signal.throwIfAborted();
      const chunk = reader.read(after, reader.rowLimit(batchRows), text);
      // Written before the next chunk is read into the same memory.
      if (chunk.last === null || text.length >= batchBytes) {
        await append(file, text.contents, path);
        text.clear();
      }
      if (chunk.last === null) break;
      const [odd] = chunk.setAside;
      if (odd !== undefined) {
        throw new CrossfadeError(
          'Mismatch',
          `source table ${quoted(table.name)}, key ${odd.key}: ${odd.reason}; change the row, or choose a type for the column by overrides`,
        );
      }
      rows += chunk.rows;
      after = chunk.last;
      await yieldToLoop();
    }
    await file.appendFile(COPY_END);
    await file.sync();
    return rows;
  } finally {
    await file.close();
  }
}

async function append(file: FileHandle, bytes: Buffer, path: string): Promise<void> {
  try {
    await file.appendFile(bytes);
  } catch (error) {
    throw new CrossfadeError('InvalidInput', `${path} cannot be written: ${messageOf(error)}`, error);
  }
}
