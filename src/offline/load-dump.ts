/** Loads SQL text, as `wrangler d1 export` and sqlite3's `.dump` write it, into an empty database. */
import { createReadStream } from 'node:fs';
import { isUtf8 } from 'node:buffer';
import type Database from 'better-sqlite3';
import { CrossfadeError, messageOf } from '../errors.ts';
import { countBeyondDoubles, readable } from './literals.ts';
import type { Losses } from './losses.ts';
import { StatementSplitter, type Statement } from './statements.ts';

const CHUNK_BYTES = 1024 * 1024;
const NOT_SQL = 'it is no SQL text as "wrangler d1 export" and the .dump of sqlite3 write it';
/** What wrangler begins with, and sqlite3 does not. */
const WRANGLER = /^PRAGMA\s+defer_foreign_keys\b/i;
/** Values that the maker of the dump wrote without a line feed. */
const ESCAPED = Buffer.from(`,'\\n',char(10))`);

type Verb = 'run' | 'insert' | 'trigger' | 'schema' | 'begin' | 'commit' | 'skip' | 'rolled-back';

/**
 * Reads the file once, holding one statement at a time.
 * @param losses is told what the dump shows of what its maker lost
 * @returns what creates the dump's triggers, for when every row is there: none may fire on the dump's own rows
 * @throws CrossfadeError InvalidInput with the line: no SQL, a statement that fails, or a dump that was cut off
 */
export async function loadDump(
  db: Database.Database,
  path: string,
  losses: Losses,
  signal: AbortSignal,
  onBytes: (bytes: number) => void = () => undefined,
): Promise<() => void> {
  const loader = new Loader(db, path, losses);
  const splitter = new StatementSplitter();
  let first = true;
  for await (const read of createReadStream(path, { highWaterMark: CHUNK_BYTES })) {
    let chunk = read as Buffer;
    signal.throwIfAborted();
    if (first) {
      refuseOthers(path, chunk);
      if (chunk.subarray(0, 3).equals(BYTE_ORDER_MARK)) chunk = chunk.subarray(3);
      first = false;
    }
    for (const statement of split(splitter, chunk, path)) loader.take(statement);
    onBytes(chunk.length);
  }
  loader.end(splitter);
  return () => loader.createTriggers();
}

const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf]);

function* split(splitter: StatementSplitter, chunk: Buffer, path: string): Generator<Statement> {
  try {
    yield* splitter.push(chunk);
  } catch (error) {
    throw error instanceof CrossfadeError
      ? new CrossfadeError(error.code, `${path}, ${error.message}`, error)
      : error;
  }
}

/** Files that are taken for dumps by their names. */
function refuseOthers(path: string, start: Buffer): void {
  const text = start.toString('latin1', 0, 16);
  const what = text.startsWith('SQLite format 3')
    ? 'it is a SQLite database, not a dump of one: use "crossfade run" or "plan" with --source sqlite:PATH'
    : text.startsWith('\x1f\x8b') || text.startsWith('PK\x03\x04') || text.startsWith('(\xb5/\xfd')
      ? 'it is compressed: unpack it'
      : text.startsWith('\xff\xfe') || text.startsWith('\xfe\xff')
        ? 'it is UTF-16: write it as UTF-8'
        : /^[{[]/.test(text.trimStart())
          ? 'it looks like JSON: name the folder that has one file per table'
          : null;
  if (what !== null) throw new CrossfadeError('InvalidInput', `${path}: ${what}`);
}

class Loader {
  private readonly db: Database.Database;
  private readonly path: string;
  private readonly losses: Losses;
  private readonly triggers: { text: string; line: number }[] = [];
  private statements = 0;
  /** Line of a BEGIN that is not committed. */
  private open: number | null = null;
  private unsafe = false;

  constructor(db: Database.Database, path: string, losses: Losses) {
    this.db = db;
    this.path = path;
    this.losses = losses;
  }

  take(statement: Statement): void {
    const { sql, line } = statement;
    const verb = this.verbOf(sql.toString('latin1', 0, 200), line);
    this.statements++;
    if (verb === 'begin') this.open = line;
    if (verb === 'commit') this.open = null;
    if (verb === 'rolled-back') {
      throw this.fault(
        line,
        'the dump ends with ROLLBACK: sqlite3 met an error in the database, and the dump is not whole',
      );
    }
    if (verb === 'begin' || verb === 'commit' || verb === 'skip') return;
    const text = this.textOf(statement, verb);
    if (verb === 'trigger') this.triggers.push({ text, line });
    else this.run(text, line, verb === 'schema');
  }

  end(splitter: StatementSplitter): void {
    if (!splitter.atRest) {
      throw this.fault(
        splitter.line,
        `a statement begins there that has not ended where the file ends, in line ${splitter.lastLine}: the dump is cut off`,
      );
    }
    if (this.open !== null) {
      throw this.fault(this.open, 'a transaction begins there that nothing commits: the dump is cut off');
    }
    if (this.statements === 0) {
      throw new CrossfadeError('InvalidInput', `${this.path} has no statement in it: check the path`);
    }
  }

  createTriggers(): void {
    for (const { text, line } of this.triggers) this.run(text, line, false);
  }

  private verbOf(start: string, line: number): Verb {
    const [, first = '', second = '', third = ''] = /^(\w+)\s*(\S*)\s*(\S*)/.exec(start) ?? [];
    switch (first.toUpperCase()) {
      case 'PRAGMA':
        if (WRANGLER.test(start)) this.losses.byJavaScript = true;
        return 'skip';
      case 'SAVEPOINT':
      case 'RELEASE':
      case 'ANALYZE':
        return 'skip';
      case 'BEGIN':
        return 'begin';
      case 'COMMIT':
      case 'END':
        return 'commit';
      case 'ROLLBACK':
        return 'rolled-back';
      case 'CREATE':
        if (/^trigger$/i.test(second) || (/^temp(?:orary)?$/i.test(second) && /^trigger$/i.test(third)))
          return 'trigger';
        return 'run';
      case 'INSERT':
      case 'REPLACE':
        if (/^\w+\s+INTO\s+["'`[]?sqlite_stat/i.test(start)) return 'skip';
        return /^\w+\s+INTO\s+["'`[]?sqlite_(?:schema|master)\b/i.test(start) ? 'schema' : 'insert';
      case 'UPDATE':
      case 'DELETE':
      case 'ALTER':
      case 'DROP':
        return 'run';
      default:
        throw this.fault(
          line,
          this.statements === 0
            ? NOT_SQL
            : `${JSON.stringify(start.replaceAll(/\s+/g, ' ').slice(0, 40))} is no statement of a dump`,
        );
    }
  }

  private textOf({ sql, line, infinity, longNumber }: Statement, verb: Verb): string {
    const plain = isUtf8(sql) && !sql.includes(0);
    if (verb === 'insert') {
      if (longNumber) this.losses.integers(countBeyondDoubles(sql), `line ${line}`);
      this.losses.escapes(occurrences(sql, ESCAPED), `line ${line}`);
      if (!plain || infinity) {
        const text = readable(sql);
        if (text !== null) return text;
      }
    }
    if (plain) return sql.toString('utf8');
    throw this.fault(
      line,
      this.statements === 1 ? NOT_SQL : 'it has bytes that are not UTF-8 outside of a text',
    );
  }

  private run(text: string, line: number, schema: boolean): void {
    try {
      // sqlite3 writes a virtual table so that its shadow tables can follow as they were.
      if (schema && !this.unsafe) {
        this.unsafe = true;
        this.db.unsafeMode(true);
        this.db.pragma('writable_schema = ON');
      }
      this.db.exec(text);
    } catch (error) {
      const near = text.replaceAll(/\s+/g, ' ').slice(0, 80);
      const first = this.statements === 1 ? `${NOT_SQL}: ` : '';
      throw this.fault(line, `${first}${messageOf(error)}, in: ${near}${text.length > 80 ? '…' : ''}`, error);
    }
  }

  private fault(line: number, what: string, cause?: unknown): CrossfadeError {
    return new CrossfadeError('InvalidInput', `${this.path}, line ${line}: ${what}`, cause);
  }
}

function occurrences(text: Buffer, of: Buffer): number {
  let count = 0;
  for (let at = text.indexOf(of); at !== -1; at = text.indexOf(of, at + of.length)) count++;
  return count;
}
