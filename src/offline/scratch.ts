/** The SQLite database that a dump is loaded into on its way to the target. */
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { CrossfadeError, messageOf } from '../errors.ts';

export class Scratch {
  readonly folder: string;
  readonly path: string;

  private constructor(folder: string) {
    this.folder = folder;
    this.path = join(folder, 'import.sqlite');
  }

  /** An empty database in WAL mode, in a folder of its own below `parent`. @throws CrossfadeError InvalidInput */
  static async create(parent: string): Promise<Scratch> {
    let folder: string;
    try {
      folder = await mkdtemp(join(parent, 'crossfade-import-'));
    } catch (error) {
      throw new CrossfadeError(
        'InvalidInput',
        `no folder can be made in ${parent} for the database that the dump is loaded into (${messageOf(error)}): choose another with --temp`,
        error,
      );
    }
    const scratch = new Scratch(folder);
    const db = new Database(scratch.path);
    db.pragma('journal_mode = WAL');
    db.close();
    return scratch;
  }

  /** Does `work` in one transaction, without a journal: what fails is thrown away as a whole. */
  async load(work: (db: Database.Database) => Promise<void>): Promise<void> {
    const db = new Database(this.path);
    try {
      db.pragma('journal_mode = OFF');
      db.pragma('synchronous = OFF');
      db.pragma('locking_mode = EXCLUSIVE');
      db.pragma('cache_size = -65536');
      // A dump's tables are in no order, and its rows have been accepted once.
      db.pragma('foreign_keys = OFF');
      db.pragma('ignore_check_constraints = ON');
      db.exec('BEGIN');
      await work(db);
      db.exec('COMMIT');
      db.pragma('locking_mode = NORMAL');
      db.pragma('journal_mode = WAL');
    } finally {
      db.close();
    }
  }

  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}
