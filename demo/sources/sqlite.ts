/** A SQLite file, and an application that has it open. */
import { constants, copyFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SourceKind } from './source.ts';

export const SQLITE: SourceKind = {
  name: 'SQLite',
  defaults: { users: 100_000, ops: 400 },
  latencyFloorMs: 250,
  async open({ directory, baseline }) {
    const file = join(directory, 'source.sqlite');
    // A clone where the file system can, else a copy.
    copyFileSync(baseline, file, constants.COPYFILE_FICLONE);
    return {
      env: { SOURCE_URL: `sqlite:${file}` },
      file,
      application: 'application-process',
      where: file,
      failed: new Promise<never>(() => undefined),
    };
  },
};
