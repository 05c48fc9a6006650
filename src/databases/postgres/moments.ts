/**
 * The form of a database's dates, kept where it outlives the migration and its schema: as a comment on the columns.
 */
import type pg from 'pg';
import type { TablePlan } from '../../contract.ts';
import { CrossfadeError } from '../../errors.ts';
import { literal, quoted } from '../identifiers.ts';
import {
  isMomentKind,
  momentForm,
  momentKindOf,
  momentType,
  USUAL_MOMENTS,
  type HeldMoments,
} from '../moment.ts';
import { nameOnTarget, targetTable } from './names.ts';

const PREFIX = 'crossfade: ';

/** Statements that say on the columns how the source writes their dates, where that is not what everybody takes them for. */
export function commentMomentsSql(table: TablePlan): string[] {
  return [...table.columns, ...(table.generated ?? [])].flatMap(({ kind, ...column }) => {
    if (!isMomentKind(kind) || USUAL_MOMENTS[momentType(kind)] === kind) return [];
    return [
      `COMMENT ON COLUMN ${targetTable(table)}.${quoted(nameOnTarget(column))} IS ${literal(PREFIX + momentForm(kind))}`,
    ];
  });
}

const READ = `
  SELECT DISTINCT substr(d.description, ${PREFIX.length + 1}) AS form
    FROM pg_catalog.pg_description d
    JOIN pg_catalog.pg_attribute a ON a.attrelid = d.objoid AND a.attnum = d.objsubid
   WHERE d.classoid = 'pg_catalog.pg_class'::regclass AND starts_with(d.description, ${literal(PREFIX)})
     AND a.atttypid IN ('timestamp'::regtype, 'timestamptz'::regtype) AND NOT a.attisdropped
     AND pg_catalog.pg_table_is_visible(a.attrelid)`;

/**
 * The form that each type stands for, by the comments of the tables that the session finds without their schema.
 * @throws CrossfadeError BadConnection where they contradict each other or are none of ours
 */
export async function readHeldMoments(client: pg.ClientBase, timeoutMs?: number): Promise<HeldMoments> {
  const { rows } = await client.query<{ form: string }>({
    text: READ,
    ...(timeoutMs === undefined ? {} : { query_timeout: timeoutMs }),
  } as pg.QueryConfig);
  const held = { ...USUAL_MOMENTS };
  for (const { form } of rows) {
    const kind = momentKindOf(form);
    const type = kind && momentType(kind);
    if (kind === undefined || type === undefined || held[type] !== USUAL_MOMENTS[type]) {
      throw new CrossfadeError(
        'BadConnection',
        `target: comments on columns say ${rows.map((row) => `"${PREFIX}${row.form}"`).join(', ')}, and a database has one ` +
          'form of dates for timestamp and one for timestamptz: restore the comment that the plan gave them',
      );
    }
    held[type] = kind;
  }
  return held;
}
