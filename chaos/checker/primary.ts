/** Did a database take a write while it was not the primary? Told by clients that write without the router. */
import type { History, Told } from './history.ts';
import { violations, type Violation } from './violation.ts';

/**
 * A migration makes the target primary once, so all that it took lies between two moments, and within them the source
 * may take nothing.
 */
export function checkPrimary({ clients }: History): Violation[] {
  const taken = [...clients.values()].flat().filter(({ outcome }) => outcome === 'acknowledged');
  const byTarget = taken.filter(({ side }) => side === 'target');
  const opened = Math.min(...byTarget.map(({ to }) => to));
  const last = Math.max(...byTarget.map(({ from }) => from));
  const wrong = taken.filter(({ side, from, to }) => side === 'source' && from > opened && to < last);
  return violations(
    'primary',
    wrong.map(
      (told) =>
        `the source took ${inWords(told)}, between writes that the target took from ${opened} to ${last}`,
    ),
  );
}

function inWords({ number, operation, from, to }: Told): string {
  return `operation ${number}, a ${operation.kind}, from ${from} to ${to}`;
}
