/**
 * Leaves one form of dates to `timestamp` and one to `timestamptz`. What max(at), a view or a union makes of a column has
 * PostgreSQL's type and nothing else that tells where it comes from, so only the type can say how the source wrote it.
 */
import type { MomentKind } from '../contract.ts';
import {
  isMomentKind,
  MOMENT_KINDS,
  MOMENT_TYPES,
  momentForm,
  momentType,
  USUAL_MOMENTS,
  type HeldMoments,
} from '../databases/moment.ts';
import { chooseKind, valueCount } from './column-types.ts';
import type { Choices, Chosen } from './plan-foreign-keys.ts';

/**
 * Of several forms for one type, that of an override stays, else that of the most columns, else of the most values. The
 * other columns get the next kind that holds them, which is text.
 * @returns the form of each type; the usual one where no column is of that type
 */
export function settleMoments(tables: Iterable<Choices>): HeldMoments {
  const dated = new Map<MomentKind, Chosen[]>();
  for (const side of [...tables].flatMap((choices) => [...choices.values()])) {
    const { kind, obstacle } = side.choice;
    if (!isMomentKind(kind) || obstacle !== undefined) continue;
    dated.set(kind, [...(dated.get(kind) ?? []), side]);
  }
  const held = { ...USUAL_MOMENTS };
  for (const type of MOMENT_TYPES) {
    const [first, ...others] = MOMENT_KINDS.filter(
      (kind) => momentType(kind) === type && dated.has(kind),
    ).sort((a, b) => compareWeights(weight(dated.get(b)!), weight(dated.get(a)!)));
    if (first === undefined) continue;
    held[type] = first;
    for (const kind of others) for (const side of dated.get(kind)!) giveUp(side, kind, first);
  }
  return held;
}

/** What counts for a form, the most important first. */
function weight(sides: Chosen[]): number[] {
  const counts = sides.map(({ subject }) => valueCount(subject.facts));
  return [
    sides.filter(({ fixed }) => fixed).length,
    counts.filter((count) => count > 0).length,
    counts.reduce((sum, count) => sum + count, 0),
  ];
}

function compareWeights(a: number[], b: number[]): number {
  return a.map((count, i) => count - b[i]!).find((difference) => difference !== 0) ?? 0;
}

function giveUp(side: Chosen, kind: MomentKind, other: MomentKind): void {
  if (side.fixed === true) {
    side.choice.obstacle = {
      code: 'override',
      what: `overrides ask for ${momentType(kind)} here, where dates are written ${momentForm(kind)}, and where they are written ${momentForm(other)}: a database has one form for a type`,
      remedy: 'take one of the overrides out or change it to text',
    };
    return;
  }
  const choice = chooseKind(side.subject, MOMENT_KINDS);
  side.choice = {
    ...choice,
    why: `${choice.why}; written ${momentForm(kind)}, others ${momentForm(other)}`,
    beside: other,
  };
}
