/** Loads an export's folder as psql does, by what `load.sql` says. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type pg from 'pg';
import { runWithCopies } from '../../src/databases/postgres/copy-stream.ts';

const COPY = ' FROM stdin;\n';
const COPY_END = Buffer.from('\n\\.\n');

/** @throws pg.DatabaseError with everything undone */
export async function loadExport(client: pg.Client, folder: string): Promise<void> {
  try {
    for (const line of readFileSync(join(folder, 'load.sql'), 'utf8').split('\n')) {
      const [, file] = /^\\ir (.+)$/.exec(line) ?? [];
      if (file !== undefined) await loadFile(client, readFileSync(join(folder, file)));
      else if (line !== '' && !/^\\(?:set|echo) |^--/.test(line)) await client.query(line);
    }
  } catch (error) {
    await client.query('ROLLBACK');
    throw error;
  }
}

async function loadFile(client: pg.Client, text: Buffer): Promise<void> {
  const at = text.indexOf(COPY);
  if (at === -1) {
    await client.query(text.toString('utf8'));
    return;
  }
  const head = text.subarray(0, at + COPY.length).toString('utf8');
  // From the line feed of the head on, which an empty table's end needs.
  const data = text.subarray(at + COPY.length - 1);
  const end = data.indexOf(COPY_END);
  // Like psql, which takes the end of the file for the end of the rows.
  await runWithCopies(client, head, [end === -1 ? data.subarray(1) : data.subarray(1, end + 1)]);
}
