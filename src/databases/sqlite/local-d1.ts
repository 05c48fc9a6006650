/**
 * Finds the SQLite file of a local D1 database, as wrangler and miniflare keep it: one file per database in a folder
 * `miniflare-D1DatabaseObject`, named after the database's id (miniflare, src/plugins/d1 and src/plugins/do: the name of a
 * Durable Object that is made from the id). The file itself is an ordinary SQLite database in WAL mode.
 */
import { createHash, createHmac } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import Database from 'better-sqlite3';
import { CrossfadeError, messageOf } from '../../errors.ts';

const OBJECT_FOLDER = 'miniflare-D1DatabaseObject';
/** Where that folder is, from what an operator may name: itself, a persist folder, `.wrangler/state`, a project. */
const PLACES = ['', 'd1', 'v3/d1', 'state/v3/d1', '.wrangler/state/v3/d1'];
/** `metadata.sqlite`, which workerd keeps beside them, is none. */
const DATABASE_FILE = /^[0-9a-f]{64}\.sqlite$/;
const CONFIGURATIONS = ['wrangler.toml', 'wrangler.json', 'wrangler.jsonc'];
const LISTED = 10;
const TABLES_LISTED = 5;

/**
 * Absolute path of the file that `PATH` or `PATH?database_id=ID` means. PATH is a project's folder, its `.wrangler` or
 * `.wrangler/state`, a folder that was given to wrangler's `--persist-to` or miniflare's `d1Persist`, or the file.
 * @param from what to call it in a message
 * @throws CrossfadeError BadConnection where several databases are meant, SourceMissing where there is none
 */
export function localD1Path(text: string, from: string): string {
  const { path, id } = parse(text, from);
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) throw missing(`${from}: ${path} does not exist: check the path`);
  if (!found.isDirectory()) {
    if (id === null || basename(path) === fileOf(id)) return path;
    throw new CrossfadeError(
      'BadConnection',
      `${from}: ${path} is not the file of database ${id}, which is called ${fileOf(id)}: give the file or the id, not both`,
    );
  }
  const files = databasesIn(path);
  if (id === null && files.length === 1) return files[0]!;
  if (files.length === 0) {
    throw missing(
      `${from}: there is no local D1 database in ${path} (no ${join(OBJECT_FOLDER, '<64 digits>.sqlite')} in it, nor below ` +
        `${PLACES.slice(1).join(', ')}): name the project that "wrangler dev" has run in, the folder of its --persist-to, or the file`,
    );
  }
  const known = idsOf(path);
  if (id === null) {
    throw new CrossfadeError(
      'BadConnection',
      `${from}: ${path} has ${files.length} local D1 databases: choose one by d1-local:PATH?database_id=ID, with its ` +
        `preview_database_id or else its database_id in wrangler's configuration, or by d1-local:FILE.${list(files, known)}`,
    );
  }
  const meant = files.find((file) => basename(file) === fileOf(id));
  if (meant !== undefined) return meant;
  throw missing(
    `${from}: ${path} has no local D1 database with id ${id} (${fileOf(id)}); a preview_database_id counts more than a ` +
      `database_id, and a file is made by the first use.${list(files, known)}`,
  );
}

function parse(text: string, from: string): { path: string; id: string | null } {
  const mark = text.indexOf('?');
  const path = mark === -1 ? text : text.slice(0, mark);
  if (path === '') throw new CrossfadeError('BadConnection', `${from} names no path: use d1-local:PATH`);
  if (mark === -1) return { path: resolve(path), id: null };
  const parameters = new URLSearchParams(text.slice(mark + 1));
  const id = parameters.get('database_id');
  if (id === null || id === '' || parameters.size !== 1) {
    throw new CrossfadeError(
      'BadConnection',
      `${from} has "?${text.slice(mark + 1)}": the only parameter is database_id, as in d1-local:PATH?database_id=ID`,
    );
  }
  return { path: resolve(path), id };
}

function missing(message: string): CrossfadeError {
  return new CrossfadeError('SourceMissing', message);
}

/** In name order. */
function databasesIn(folder: string): string[] {
  const folders = [
    ...(basename(folder) === OBJECT_FOLDER ? [folder] : []),
    ...PLACES.map((place) => join(folder, place, OBJECT_FOLDER)),
  ].filter((place) => existsSync(place));
  return folders.flatMap((place) =>
    readdirSync(place)
      .filter((name) => DATABASE_FILE.test(name))
      .sort()
      .map((name) => join(place, name)),
  );
}

/** workerd's id of the Durable Object with this name, and the file that has its data. */
function fileOf(id: string): string {
  const key = createHash('sha256').update(OBJECT_FOLDER).digest();
  const hmac = (data: string | Buffer): Buffer =>
    createHmac('sha256', key).update(data).digest().subarray(0, 16);
  const name = hmac(id);
  return `${Buffer.concat([name, hmac(name)]).toString('hex')}.sqlite`;
}

/** The ids in a project's configuration of wrangler, by file. Only for messages, so nothing is understood but the ids. */
function idsOf(folder: string): Map<string, string> {
  const ids = new Map<string, string>();
  for (const name of CONFIGURATIONS) {
    const file = join(folder, name);
    if (!existsSync(file)) continue;
    const text = readFileSync(file, 'utf8');
    for (const [, id] of text.matchAll(/\b(?:preview_)?database_id"?\s*[:=]\s*["']([^"']+)["']/g)) {
      ids.set(fileOf(id!), id!);
    }
  }
  return ids;
}

function list(files: string[], ids: Map<string, string>): string {
  const lines = files.slice(0, LISTED).map((file) => {
    const id = ids.get(basename(file));
    return `\n  ${file}${id === undefined ? '' : ` (${id})`}: ${contentsOf(file)}`;
  });
  const more = files.length - lines.length;
  return lines.join('') + (more > 0 ? `\n  and ${more} more` : '');
}

/** Size and tables, for an operator to know a database by. */
function contentsOf(file: string): string {
  let db: Database.Database | undefined;
  try {
    db = new Database(file, { readonly: true, fileMustExist: true });
    const bytes =
      Number(db.pragma('page_count', { simple: true })) * Number(db.pragma('page_size', { simple: true }));
    const tables = db
      .prepare<[], string>(
        `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
            AND name NOT LIKE '\\_cf\\_%' ESCAPE '\\' ORDER BY name`,
      )
      .pluck()
      .all();
    const more = tables.length - TABLES_LISTED;
    const named = tables.slice(0, TABLES_LISTED).join(', ') + (more > 0 ? ` and ${more} more` : '');
    return `${Math.ceil(bytes / 1024)} KB, ${tables.length === 0 ? 'no tables' : `tables ${named}`}`;
  } catch (error) {
    return `cannot be read: ${messageOf(error)}`;
  } finally {
    db?.close();
  }
}
