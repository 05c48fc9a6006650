/** Rows of D1 as an application gets them: blobs as Buffers, every integer exact. */
import type { Row } from '../databases/adapter.ts';
import { quoted } from '../databases/identifiers.ts';
import { narrowed } from '../router/values.ts';
import type { Statement } from './statements.ts';

/** D1 gives blobs as arrays of their bytes. In place. */
export function withBuffers(rows: unknown[]): Row[] {
  for (const row of rows as Record<string, unknown>[]) {
    for (const name in row) {
      const value = row[name];
      if (Array.isArray(value)) row[name] = Buffer.from(value as number[]);
    }
  }
  return rows as Row[];
}

/**
 * Two statements instead of one that reads: JSON, as which D1 answers, rounds integers beyond 2^53, so they travel as text
 * with a letter for its class. The first one fails where two columns have one name, of which an answer has a single value.
 * @param row of the statement's answer
 */
export function exactly({ text, values }: Statement, row: Row): [Statement, Statement] {
  const names = Object.keys(row);
  const inner = `(\n${text.replace(/[\s;]+$/, '')}\n)`;
  const cells = names.map((name) => {
    const column = quoted(name);
    return (
      `CASE typeof(${column}) WHEN 'integer' THEN 'i' || ${column} WHEN 'text' THEN 't' || ${column} ` +
      `ELSE ${column} END AS ${column}`
    );
  });
  const columns = names.map((_, i) => `c${i}`);
  return [
    { text: `WITH q(${columns.join(', ')}) AS ${inner} SELECT 1 FROM q LIMIT 0`, values },
    { text: `SELECT ${cells.join(', ')} FROM ${inner}`, values },
  ];
}

/** The rows of the second statement of `exactly`. In place. */
export function fromCells(rows: unknown[]): Row[] {
  for (const row of rows as Record<string, unknown>[]) {
    for (const name in row) {
      const value = row[name];
      if (typeof value !== 'string') continue;
      row[name] = value.startsWith('i') ? narrowed(BigInt(value.slice(1))) : value.slice(1);
    }
  }
  return withBuffers(rows);
}
