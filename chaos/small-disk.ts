/** A file system of its own for the target's data, small enough to be filled, and to be given its room again. */
import { chmodSync, chownSync, closeSync, mkdirSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { keep } from './keep.ts';

/** Of a run's database, of those that failed and are kept, and of what fills the rest. */
const SIZE = '96m';
const PIECE = Buffer.alloc(1 << 20);

export class SmallDisk {
  readonly path: string;

  readonly #unmount: () => Promise<void>;

  private constructor(path: string, unmount: () => Promise<void>) {
    this.path = path;
    this.#unmount = unmount;
  }

  /** Why there can be none; undefined where there can. */
  static impossible(): string | undefined {
    if (process.platform !== 'linux') return 'mounting a file system in memory needs Linux';
    return process.getuid?.() === 0 ? undefined : 'mounting a file system needs root';
  }

  /**
   * @param path does not exist yet
   * @param ownedAs a file of the server's user
   * @throws Error where mounting is refused, as in a container
   */
  static async create(path: string, ownedAs: string): Promise<SmallDisk> {
    mkdirSync(path);
    const disk = new SmallDisk(path, await keep('disk', [path, SIZE]));
    const { uid, gid } = statSync(ownedAs);
    chownSync(path, uid, gid);
    // A tablespace is a directory in which nothing is; what fills the disk stands beside it.
    mkdirSync(join(path, 'data'));
    chownSync(join(path, 'data'), uid, gid);
    chmodSync(join(path, 'data'), 0o700);
    return disk;
  }

  get data(): string {
    return join(this.path, 'data');
  }

  /** Leaves no room at all. */
  fill(): void {
    const file = openSync(this.#filler, 'w');
    try {
      for (let bytes = PIECE.length; bytes >= 4_096;) {
        try {
          if (writeSync(file, PIECE, 0, bytes) < bytes) bytes >>= 1;
        } catch (error) {
          if ((error as { code?: unknown }).code !== 'ENOSPC') throw error;
          bytes >>= 1;
        }
      }
    } finally {
      closeSync(file);
    }
  }

  free(): void {
    rmSync(this.#filler, { force: true });
  }

  async remove(): Promise<void> {
    await this.#unmount();
    rmSync(this.path, { recursive: true, force: true });
  }

  get #filler(): string {
    return join(this.path, 'filler');
  }
}
