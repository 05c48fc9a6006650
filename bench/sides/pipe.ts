/** `sqlite3 -csv … | psql -c '\copy …'`, table by table: what one would do by hand. */
import type { TablePlan } from '../../src/contract.ts';
import { quoted } from '../../src/databases/identifiers.ts';
import type { Side } from '../interleave.ts';
import { findProgram, libpqEnvironment, runShell } from '../programs.ts';
import { columnList, createBareTables } from '../tables.ts';
import type { CopyWork } from './copy-work.ts';

const SCRIPT = 'sqlite3 -readonly -csv "$1" "$2" | psql -X -q -v ON_ERROR_STOP=1 -c "$3"';

export function pipe(name: string, work: CopyWork): Side {
  const { bench, source } = work;
  const missing = ['sqlite3', 'psql'].filter((program) => findProgram(program) === undefined);
  return {
    name,
    ...(missing.length === 0 ? {} : { unavailable: `${missing.join(' and ')} not installed` }),
    run: () =>
      work.measure(
        name,
        (url) => createBareTables(url, source.plan),
        async (url) => {
          let ms = 0;
          for (const table of source.plan.tables) {
            const parameters = [
              source.path,
              selectSql(table),
              `\\copy public.${quoted(table.name)} (${columnList(table)}) FROM STDIN WITH (FORMAT csv)`,
            ];
            ms += (await runShell(SCRIPT, parameters, libpqEnvironment(url), bench.signal)).ms;
          }
          return { ms };
        },
      ),
  };
}

function selectSql(table: TablePlan): string {
  const cells = table.columns.map(({ name, kind }) => {
    const column = quoted(name);
    // '\x' || hex(NULL) would be an empty blob.
    return kind === 'bytea' ? `iif(${column} IS NULL, NULL, '\\x' || hex(${column}))` : column;
  });
  return `SELECT ${cells.join(', ')} FROM ${quoted(table.name)}`;
}
