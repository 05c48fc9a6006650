/** Copy of every row, against other ways to bring the same rows into the same tables with the same primary keys. */
import { interleave, ratiosTo } from '../interleave.ts';
import { shellVersion } from '../machine.ts';
import type { Measurement } from '../results.ts';
import { CopyWork } from '../sides/copy-work.ts';
import { crossfadeCopy } from '../sides/crossfade-copy.ts';
import { pgloader } from '../sides/pgloader.ts';
import { pipe } from '../sides/pipe.ts';
import { serverFile } from '../sides/server-file.ts';

const CROSSFADE = 'crossfade, with checkpoints';
const PIPE = 'sqlite3 -csv | psql \\copy';
const PGLOADER = 'pgloader, rows only';
const SERVER = 'server: COPY from a text file';

export const copy: Measurement = {
  name: 'copy',
  async run(bench) {
    const work = new CopyWork(bench, await bench.source(bench.options.rows));
    const sides = [
      crossfadeCopy(CROSSFADE, work),
      pipe(PIPE, work),
      await serverFile(SERVER, work),
      pgloader(PGLOADER, work),
    ];
    const results = await interleave(sides, bench.options.runs, bench.signal, bench.onRun('copy'));
    const notes = ['The server’s COPY is the limit: nothing on the wire, no checkpoints, no source to read.'];
    for (const side of work.inexact) {
      const version = side === PIPE ? ` (sqlite3 ${await shellVersion()})` : '';
      notes.push(`${side}${version} changed doubles on the way; every other value is equal.`);
    }
    if (!work.settled) notes.push('The role may not run CHECKPOINT: a run may pay for the one before it.');
    return {
      title: 'copy: every row into tables that have their primary keys',
      unit: 'rows',
      sides: results,
      ratios: ratiosTo(CROSSFADE, results, { [SERVER]: 1.3, [PIPE]: 0.85 }),
      figures: [],
      notes,
    };
  },
};
