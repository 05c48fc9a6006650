/**
 * Columns without a value: their declared type and default only guess what the application will write, and a wrong guess
 * sets the first row aside and stops the migration. The columns that have values tell more.
 */
import type { ColumnKind } from '../contract.ts';
import { isMomentKind } from '../databases/moment.ts';
import { isDate, isDatetime } from '../databases/sqlite/declared.ts';
import type { SourceColumn } from '../databases/sqlite/schema.ts';
import { impossible, preferred, valueCount, type Choice, type ColumnCase } from './column-types.ts';
import type { Choices } from './plan-foreign-keys.ts';

/** Is it a text in the source, which a text column holds? */
function isText(kind: ColumnKind): boolean {
  return kind === 'text' || kind === 'date' || kind === 'json' || isMomentKind(kind);
}

/**
 * Settles the kinds of empty columns by those of the same name and declared type; dates, which an application writes in
 * one form everywhere, else by all its other dates.
 */
export function settleEmptyColumns(tables: Iterable<Choices>): void {
  const all = [...tables].flatMap((choices) => [...choices.values()]);
  const [known, empty] = [new Map<string, Set<ColumnKind>>(), [] as typeof all];
  for (const side of all) {
    const { subject, choice } = side;
    if (side.fixed === true || subject.rowid || choice.obstacle !== undefined) continue;
    if (valueCount(subject.facts) === 0) {
      empty.push(side);
      continue;
    }
    for (const place of placesOf(subject.column)) {
      known.set(place, (known.get(place) ?? new Set()).add(choice.kind));
    }
  }
  for (const side of empty) {
    const told = placesOf(side.subject.column).find((place) => known.has(place));
    if (told !== undefined) side.choice = settled(side.subject, side.choice, known.get(told)!);
  }
}

/** Where columns of the same use are looked for, the nearest first. */
function placesOf({ name, declared }: SourceColumn): string[] {
  const same = JSON.stringify([name.toLowerCase(), declared.toLowerCase()]);
  return isDatetime(declared) ? [same, 'datetime'] : isDate(declared) ? [same, 'date'] : [same];
}

function settled(subject: ColumnCase, own: Choice, known: ReadonlySet<ColumnKind>): Choice {
  if (known.size === 1 && known.has(own.kind)) return own;
  const { declared } = subject.column;
  const candidates: ColumnKind[] = ['mixed'];
  if ([...known, own.kind].every(isText)) candidates.unshift('text');
  if (known.size === 1 && (isDatetime(declared) || isDate(declared))) candidates.unshift(...known);
  const kind = preferred(
    candidates.filter((candidate) => impossible(candidate, subject) === null),
    subject,
  );
  if (kind === undefined || kind === own.kind) return own;
  const others = [...known].map((other) => (other === 'mixed' ? 'several forms' : other)).join(' and ');
  return { kind, why: `no values yet; declared ${declared}; columns like it hold ${others}` };
}
