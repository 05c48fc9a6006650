/** The name that was probably meant: for messages about a name that is not known. */

/** @returns the known name that differs least, without regard to case; undefined where none is near */
export function closestName(name: string, known: readonly string[]): string | undefined {
  // A third of the letters may be wrong, or one of a short name.
  const farthest = Math.max(1, Math.floor(name.length / 3));
  let [closest, least]: [string | undefined, number] = [undefined, farthest + 1];
  for (const candidate of known) {
    // The distance is at least the difference of the lengths; a very long name is not worth the table.
    if (Math.abs(candidate.length - name.length) >= least || name.length > 200) continue;
    const edits = editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (edits < least) [closest, least] = [candidate, edits];
  }
  return closest;
}

/** Letters to insert, delete or replace until one text is the other (Levenshtein). */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length]!;
}
