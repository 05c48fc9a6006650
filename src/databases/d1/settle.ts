/**
 * References of a mirror that was filled without a log: its rows are of several moments, so that a row may be there whose
 * parent came after the parent's page was read. Such rows are read again, with their parents, in one snapshot.
 */
import { asciiLower, quoted, sameName } from '../identifiers.ts';
import { keyText, type KeyValue } from '../key.ts';
import { RowStatement } from '../sqlite/bind.ts';
import { exactRows } from '../sqlite/exact-rows.ts';
import { orphansSql } from '../sqlite/orphans.ts';
import { readSchema, type SourceForeignKey, type SourceTable } from '../sqlite/schema.ts';
import type { D1Client } from './client.ts';
import type { MirrorFile } from './mirror-file.ts';
import { inReads, insertSql, rowsWithSql, TableRows } from './table-rows.ts';

/** A parent that is put in may miss its own. */
const PASSES = 10;
/** Of one reference; more are not the work of a few seconds. */
const MOST_ROWS = 2_000;

interface Reference {
  child: TableRows;
  columns: string[];
  parent: TableRows;
  parentColumns: string[];
}

/** Rows that miss a parent: by the child's key and by what they refer to. */
interface Orphan {
  key: KeyValue[];
  refersTo: KeyValue[];
}

/**
 * @param mine runs a change of the mirror while this process still fills it
 * @throws as `D1Client.read` and `mine`
 */
export async function settleReferences(
  client: D1Client,
  mirror: MirrorFile,
  mine: (work: () => void) => void,
): Promise<void> {
  const { tables } = readSchema(mirror.db);
  const references = tables.flatMap((child) => child.foreignKeys.flatMap((key) => resolve(child, key)));
  const seen = new Set<string>();
  for (let pass = 1; pass <= PASSES; pass++) {
    let settled = true;
    for (const [i, reference] of references.entries()) {
      // What misses its parent in D1 as well is not read a second time.
      const isNew = ({ key, refersTo }: Orphan): boolean => {
        const name = `${i} ${keyText([...key, ...refersTo])}`;
        return !seen.has(name) && seen.add(name) !== undefined;
      };
      const orphans = orphansOf(mirror, reference).filter(isNew);
      if (orphans.length > 0) settled = false;
      for (const some of inReads(orphans, ({ key, refersTo }) => [...key, ...refersTo]))
        await readAgain(reference, some);
    }
    if (settled) return;
  }

  function resolve(child: SourceTable, key: SourceForeignKey): Reference[] {
    const parent = tables.find(({ name }) => asciiLower(name) === asciiLower(key.parent));
    const parentColumns = key.parentColumns ?? parent?.primaryKey ?? [];
    const isThere = (name: string): boolean =>
      parent?.columns.some((column) => sameName(column.name, name)) === true;
    if (parent === undefined || parentColumns.length !== key.columns.length || !parentColumns.every(isThere))
      return [];
    return [
      {
        child: new TableRows(client, child),
        columns: key.columns,
        parent: new TableRows(client, parent),
        parentColumns,
      },
    ];
  }

  async function readAgain({ child, parent, parentColumns }: Reference, orphans: Orphan[]): Promise<void> {
    const keys = orphans.map(({ key }) => key);
    const children = child.statements(rowsWithSql(child.table.name, child.key, keys));
    const parents = parent.statements(
      rowsWithSql(
        parent.table.name,
        parentColumns,
        orphans.map(({ refersTo }) => refersTo),
      ),
    );
    const answers = await client.read([...children, ...parents]);
    const found = await child.rows(answers.slice(0, children.length));
    const referred = await parent.rows(answers.slice(children.length));
    mine(() => {
      const remove = new RowStatement(
        mirror.db,
        (marks) =>
          `DELETE FROM ${quoted(child.table.name)} WHERE ${child.key.map((name, i) => `${quoted(name)} IS ${marks[i]}`).join(' AND ')}`,
      );
      for (const key of keys) remove.run(key);
      const putChild = new RowStatement(mirror.db, insertSql(child));
      for (const row of found) putChild.run(row);
      const putParent = new RowStatement(mirror.db, insertSql(parent));
      for (const row of referred) putParent.run(row);
    });
  }
}

function orphansOf(mirror: MirrorFile, { child, columns, parent, parentColumns }: Reference): Orphan[] {
  const where = orphansSql(columns, parent.table, parentColumns);
  const from = `FROM ${quoted(child.table.name)} t WHERE ${where} LIMIT ${MOST_ROWS}`;
  const names = [...child.key, ...columns].map((name) => `t.${quoted(name)}`);
  return exactRows(mirror.db, names, from).map((row) => ({
    key: row.slice(0, child.key.length),
    refersTo: row.slice(child.key.length),
  }));
}
