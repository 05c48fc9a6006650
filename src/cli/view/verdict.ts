/** A verdict for people: each table, and the differences one below the other. */
import type { Verdict } from '../../contract.ts';
import { differencesText, healedText, mismatchText, schemaText } from '../../verdict-text.ts';
import { count, counted, duration, fit, plain, wrap, type Paint } from './format.ts';

/** @returns text without a trailing newline */
export function renderVerdict(verdict: Verdict, width = 80, paint: Paint = plain): string {
  const name = Math.min(40, Math.max(0, ...verdict.tables.map(({ table }) => table.length)));
  const lines = verdict.tables.map(
    ({ table, rows, equal }) =>
      `${equal ? paint('green', '✔') : paint('red', '✖')} ${fit(table, name)} ${count(rows).padStart(12)} rows`,
  );
  for (const mismatch of verdict.mismatches)
    lines.push(...wrap(mismatchText(mismatch), width - 2).map((line) => `  ${line}`));
  const more = verdict.mismatchCount - verdict.mismatches.length;
  if (more > 0) lines.push(`  … and ${count(more)} more`);
  const { healed = [], healedCount = 0 } = verdict;
  for (const mismatch of healed) {
    const text = `repaired: ${mismatchText(mismatch)}`;
    lines.push(...wrap(text, width - 2).map((line) => paint('green', `  ${line}`)));
  }
  if (healedCount > healed.length)
    lines.push(paint('green', `  … and ${count(healedCount - healed.length)} more repaired`));
  for (const finding of verdict.schema)
    lines.push(...wrap(schemaText(finding), width - 2).map((line) => `  ${line}`));
  const moreObjects = verdict.schemaCount - verdict.schema.length;
  if (moreObjects > 0) lines.push(`  … and ${count(moreObjects)} more of the schema`);
  if (verdict.quarantined > 0) {
    lines.push(
      paint('red', `${counted(verdict.quarantined, 'key')} in quarantine: no exact form on the target`),
    );
  }
  const how = verdict.mode === 'full' ? 'compared in full' : 'sampled';
  lines.push(
    verdict.equal
      ? paint(
          'green',
          `${counted(verdict.rows, 'row')} ${how}, every one agrees, and so does the schema (${duration(verdict.ms)})`,
        )
      : paint(
          'red',
          `${differencesText(verdict)} in ${counted(verdict.rows, 'row')}, ${how} (${duration(verdict.ms)})`,
        ),
  );
  if (verdict.healedCount !== undefined) lines.push(paint('green', healedText(verdict)));
  return lines.join('\n');
}
