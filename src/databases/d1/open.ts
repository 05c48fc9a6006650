/** Opens a D1 database as a source: its mirror's file, and the live database behind it. */
import { setOrigin } from '../sqlite/origin.ts';
import type { D1Source } from './address.ts';
import { D1Client } from './client.ts';
import { LiveD1 } from './live.ts';
import { MirrorFile } from './mirror-file.ts';

export interface OpenD1 {
  live: LiveD1;
  client: D1Client;
  close(): void;
}

/**
 * Finds the database and opens the mirror, which may be there from before; nothing is read into it yet, see `LiveD1.ready`.
 * @param path of the mirror's file, which every reader of the source opens
 * @throws CrossfadeError SourceMissing, SourceDenied, SourceBusy
 */
export async function openD1({ address, access }: D1Source, path: string): Promise<OpenD1> {
  const client = await D1Client.open(address, access);
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
