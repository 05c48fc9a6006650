/** The sources of this process: files as they are, D1 databases behind mirrors that are followed while somebody uses them. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { SourceConnection } from './connections.ts';
import { D1Client } from './databases/d1/client.ts';
import type { FillProgress } from './databases/d1/fill.ts';
import { openD1, type OpenD1 } from './databases/d1/open.ts';
import { directories, privateDirectory } from './embedded/directories.ts';
import { CrossfadeError } from './errors.ts';

/** A source in use. */
export interface UsedSource {
  /** The SQLite file: the source itself, or its mirror. */
  path: string;
  release(): Promise<void>;
}

interface Followed {
  open: OpenD1;
  path: string;
  users: number;
  stop: (() => Promise<void>) | null;
}

/** Who is told what the sources are about. */
export interface SourceWatch {
  /** A D1 database does not answer between two steps; the next step fails for it. */
  onUnreachable(error: unknown): void;
  /** A request goes to Cloudflare, and whether it repeats one that failed. */
  onRequest?(repeated: boolean): void;
}

export class Sources {
  private readonly env: NodeJS.ProcessEnv;
  private readonly watch: SourceWatch;
  private readonly d1 = new Map<string, Promise<Followed>>();

  /**
   * @param env where the mirrors' directory is found: CROSSFADE_HOME, or the user's own
   */
  constructor(env: NodeJS.ProcessEnv, watch: SourceWatch = { onUnreachable: () => undefined }) {
    this.env = env;
    this.watch = watch;
  }

  /** Is it there? Reads nothing. @throws CrossfadeError SourceMissing, SourceDenied, SourceBusy */
  async prove(source: SourceConnection): Promise<void> {
    if (source.kind === 'd1') {
      await D1Client.open(source.d1.address, source.d1.access);
    } else if (!existsSync(source.path)) {
      throw new CrossfadeError(
        'SourceMissing',
        `source ${source.path} does not exist on this worker's host: check the path`,
      );
    }
  }

  /**
   * The file to read, up to date: of a D1 database every row is read first where that has not been done.
   * @throws as `LiveD1.ready`
   */
  async use(source: SourceConnection, onProgress?: (progress: FillProgress) => void): Promise<UsedSource> {
    if (source.kind === 'sqlite') return { path: source.path, release: async () => undefined };
    const followed = await this.open(source);
    const { live } = followed.open;
    followed.users++;
    const release = async (): Promise<void> => {
      followed.users--;
      if (followed.users > 0) return;
      const { stop } = followed;
      followed.stop = null;
      await stop?.();
    };
    try {
      await live.ready(onProgress);
      followed.stop ??= live.follow(this.watch.onUnreachable).stop;
      return { path: followed.path, release };
    } catch (error) {
      await release();
      throw error;
    }
  }

  async close(): Promise<void> {
    for (const opening of this.d1.values()) {
      const followed = await opening.catch(() => null);
      await followed?.stop?.();
      followed?.open.close();
    }
    this.d1.clear();
  }

  private open(source: SourceConnection & { kind: 'd1' }): Promise<Followed> {
    const { account, database } = source.d1.address;
    const name = `${account}/${database}`;
    const known = this.d1.get(name);
    if (known !== undefined) return known;
    const opening = this.openMirror(source);
    this.d1.set(name, opening);
    opening.catch(() => this.d1.delete(name));
    return opening;
  }

  private async openMirror({ d1 }: SourceConnection & { kind: 'd1' }): Promise<Followed> {
    const folder = await privateDirectory(directories(this.env).data, 'mirrors');
    const client = await D1Client.open(d1.address, d1.access, this.watch.onRequest);
    const path = join(folder, `d1-${client.id}.db`);
    return { open: openD1(client, path), path, users: 0, stop: null };
  }
}

/** Does `work` with a source, and closes it. @throws as `Sources.use` and `work` */
export async function withSource<T>(
  source: SourceConnection,
  env: NodeJS.ProcessEnv,
  work: (path: string) => Promise<T>,
): Promise<T> {
  const sources = new Sources(env);
  try {
    const { path } = await sources.use(source);
    return await work(path);
  } finally {
    await sources.close();
  }
}
