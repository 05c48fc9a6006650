/**
 * Compares what the clients were told with what a database holds. It shares no code with the engine or the router: it
 * folds the journals with the clients' own model, and reads with the drivers.
 */
import { isDeepStrictEqual } from 'node:util';
import { ACCOUNTS, BALANCE, COUNTERS } from '../application/database.ts';
import { after, type Holdings } from '../application/holdings.ts';
import type { Found } from './found.ts';
import type { History, Told } from './history.ts';
import { violations, type Violation } from './violation.ts';

const SHOWN = 5;

/**
 * @param since of a database that no longer follows: what was acknowledged before that moment, by Date.now(), has to be
 * there; what came later may be there, as far as it goes, but not in another order
 * @returns empty where the database holds exactly what was acknowledged
 */
export function check(
  history: History,
  found: Found,
  ballast: Found['ballast'],
  since = Number.POSITIVE_INFINITY,
): Violation[] {
  const values = [...history.clients].flatMap(([client, told]) => checkClient(client, told, found, since));
  for (const client of found.holdings.keys()) {
    if (!history.clients.has(client)) values.push(`client ${client} has rows and never wrote any`);
  }
  if (found.orphans > 0) values.push(`${found.orphans} items have no entry`);
  const untouched = isDeepStrictEqual(found.ballast, ballast)
    ? []
    : [`table ballast: ${JSON.stringify(found.ballast)} instead of ${JSON.stringify(ballast)}`];
  return [
    ...violations('values', values),
    ...checkShared(history, found, since),
    ...violations('untouched rows', untouched),
  ];
}

/** The rows of a client are those that its acknowledged operations left; an unknown one, its last, may be among them. */
function checkClient(client: number, told: Told[], found: Found, since: number): string[] {
  let holdings: Holdings = new Map();
  let possible = [holdings];
  for (const { operation, outcome, to } of told) {
    if (outcome === 'refused') continue;
    const next = after(holdings, operation);
    if (outcome === 'unknown') possible.push(next);
    else {
      possible = to < since ? [next] : [...possible, next];
      holdings = next;
    }
  }
  const actual = found.holdings.get(client) ?? new Map();
  if (possible.some((one) => isDeepStrictEqual(sorted(one), sorted(actual)))) return [];
  return differences(possible[0]!, actual).map((line) => `client ${client}: ${line}`);
}

function sorted(holdings: Holdings): unknown[] {
  return [...holdings].sort(([a], [b]) => a - b);
}

function differences(expected: Holdings, actual: Holdings): string[] {
  const lines: string[] = [];
  for (const k of new Set([...expected.keys(), ...actual.keys()])) {
    const [is, ought] = [actual.get(k), expected.get(k)];
    if (isDeepStrictEqual(is, ought)) continue;
    lines.push(`entry ${k} is ${JSON.stringify(is) ?? 'missing'}, was ${JSON.stringify(ought) ?? 'deleted'}`);
  }
  return lines.slice(0, SHOWN);
}

/** Sums and counters follow from the operations that are noted; these follow from what was told. */
function checkShared(history: History, found: Found, since: number): Violation[] {
  const operations: string[] = [];
  const balances = new Map(Array.from({ length: ACCOUNTS }, (_, i) => [i + 1, BALANCE]));
  const counts = new Map(Array.from({ length: COUNTERS }, (_, i) => [i + 1, 0]));
  const known = new Set<string>();
  for (const [client, told] of history.clients) {
    for (const { number, operation, outcome, to } of told) {
      if (operation.kind !== 'transfer' && operation.kind !== 'count') continue;
      const name = `${client}.${number}`;
      known.add(name);
      const times = found.operations.get(name) ?? 0;
      const certain = outcome === 'acknowledged' && to < since;
      const allowed = certain ? [1] : outcome === 'refused' ? [0] : [0, 1];
      if (!allowed.includes(times)) {
        operations.push(`operation ${name}, a ${operation.kind}, was ${outcome} and is there ${times} times`);
      }
      if (operation.kind === 'count') {
        counts.set(operation.counter, counts.get(operation.counter)! + times);
      } else {
        balances.set(operation.from, balances.get(operation.from)! - times * operation.amount);
        balances.set(operation.to, balances.get(operation.to)! + times * operation.amount);
      }
    }
  }
  for (const name of found.operations.keys()) {
    if (!known.has(name)) operations.push(`operation ${name} is there and was never attempted`);
  }
  const sums = [
    ...compare('account', balances, found.accounts),
    ...compare('counter', counts, found.counters),
  ];
  return [...violations('operations', operations), ...violations('sums', sums)];
}

function compare(what: string, ought: Map<number, number>, is: Map<number, number>): string[] {
  return [...ought]
    .filter(([id, value]) => is.get(id) !== value)
    .map(([id, value]) => `${what} ${id} is ${is.get(id)}, the operations make ${value}`);
}
