/**
 * Compares what the clients were told with what a database holds. It shares no code with the engine or the router: it
 * folds the journals with the clients' own model, and reads with the drivers.
 */
import { isDeepStrictEqual } from 'node:util';
import { ACCOUNTS, BALANCE, COUNTERS } from '../application/database.ts';
import { after, type Holdings } from '../application/holdings.ts';
import type { Found } from './found.ts';
import type { History, Told } from './history.ts';

const SHOWN = 5;

/** @returns the violations, a line each; empty where the database holds exactly what was acknowledged */
export function check(history: History, found: Found, ballast: Found['ballast']): string[] {
  const violations: string[] = [];
  for (const [client, told] of history.clients) violations.push(...checkClient(client, told, found));
  for (const client of found.holdings.keys()) {
    if (!history.clients.has(client)) violations.push(`client ${client} has rows and never wrote any`);
  }
  violations.push(...checkShared(history, found));
  if (found.orphans > 0) violations.push(`${found.orphans} items have no entry`);
  if (!isDeepStrictEqual(found.ballast, ballast)) {
    violations.push(`table ballast: ${JSON.stringify(found.ballast)} instead of ${JSON.stringify(ballast)}`);
  }
  return violations;
}

/** The rows of a client are those that its acknowledged operations left; an unknown one, its last, may be among them. */
function checkClient(client: number, told: Told[], found: Found): string[] {
  let holdings: Holdings = new Map();
  for (const { operation, outcome } of told) {
    if (outcome === 'acknowledged') holdings = after(holdings, operation);
  }
  const possible = [holdings];
  const last = told.at(-1);
  if (last?.outcome === 'unknown') possible.push(after(holdings, last.operation));
  const actual = found.holdings.get(client) ?? new Map();
  if (possible.some((one) => isDeepStrictEqual(sorted(one), sorted(actual)))) return [];
  return differences(holdings, actual).map((line) => `client ${client}: ${line}`);
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
function checkShared(history: History, found: Found): string[] {
  const violations: string[] = [];
  const balances = new Map(Array.from({ length: ACCOUNTS }, (_, i) => [i + 1, BALANCE]));
  const counts = new Map(Array.from({ length: COUNTERS }, (_, i) => [i + 1, 0]));
  const known = new Set<string>();
  for (const [client, told] of history.clients) {
    for (const { number, operation, outcome } of told) {
      if (operation.kind !== 'transfer' && operation.kind !== 'count') continue;
      const name = `${client}.${number}`;
      known.add(name);
      const times = found.operations.get(name) ?? 0;
      const allowed = outcome === 'acknowledged' ? [1] : outcome === 'refused' ? [0] : [0, 1];
      if (!allowed.includes(times)) {
        violations.push(`operation ${name}, a ${operation.kind}, was ${outcome} and is there ${times} times`);
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
    if (!known.has(name)) violations.push(`operation ${name} is there and was never attempted`);
  }
  const compare = (what: string, ought: Map<number, number>, is: Map<number, number>): void => {
    for (const [id, value] of ought) {
      if (is.get(id) !== value)
        violations.push(`${what} ${id} is ${is.get(id)}, the operations make ${value}`);
    }
  };
  compare('account', balances, found.accounts);
  compare('counter', counts, found.counters);
  return violations;
}
