/** Opens a D1 database as a source: its mirror's file, and the live database behind it. */
import { setOrigin } from '../sqlite/origin.ts';
import type { D1Client } from './client.ts';
import { LiveD1 } from './live.ts';
import { MirrorFile } from './mirror-file.ts';

export interface OpenD1 {
  live: LiveD1;
  client: D1Client;
  close(): void;
}

/**
 * Opens the mirror, which may be there from before; nothing is read into it yet, see `LiveD1.ready`.
 * @param path of the mirror's file, which every reader of the source opens
 */
export function openD1(client: D1Client, path: string): OpenD1 {
  const mirror = new MirrorFile(path);
  const live = new LiveD1(client, mirror);
  setOrigin(path, live);
  return {
    live,
    client,
    close: () => {
      setOrigin(path, undefined);
      mirror.close();
    },
  };
}
