/**
 * One sequence of operations. Where an outcome is unknown the lane leaves all its rows alone for ever and goes on as a
 * new client: a statement that is still on its way may be applied later, but nothing else touches what it touches.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { outcomeOf } from './outcome.ts';
import { Random } from '../../demo/database/random.ts';
import { messageOf } from '../../src/errors.ts';
import type { Slow } from '../faults.ts';
import { choose } from './choose.ts';
import { after, type Holdings } from './holdings.ts';
import type { Journal, Side } from './journal.ts';
import { statements, type Statement } from './operations.ts';

/** Clients that a lane may become one after the other. */
export const GENERATIONS = 10_000;

export interface Connection {
  /**
   * Runs the statements as one transaction.
   * @param pauseMs between two of them
   * @returns where, if the client and not the router chose it
   */
  apply(statements: Statement[], key: string, pauseMs: number): Promise<Side | undefined>;
  /**
   * `v` of an entry of this client, read where the connection likes; undefined where there is no such row.
   * @param key as whom; as anybody where it is undefined
   */
  read?(client: number, k: number, key: string | undefined): Promise<string | undefined>;
}

export interface LaneOptions {
  lane: number;
  seed: number;
  journal: Journal;
  connection: Connection;
  /** Mean pause between two operations, ms. */
  paceMs: number;
  slow: Slow;
  signal: AbortSignal;
}

export async function runLane(options: LaneOptions): Promise<void> {
  const { lane, signal } = options;
  const random = new Random(options.seed * 1_000 + lane);
  for (let generation = 0; generation < GENERATIONS && !signal.aborted; generation++) {
    await live(lane * GENERATIONS + generation, random, options);
  }
}

/** Until an outcome is unknown. */
async function live(
  client: number,
  random: Random,
  { journal, connection, paceMs, slow, signal }: LaneOptions,
): Promise<void> {
  let holdings: Holdings = new Map();
  for (let number = 1; !signal.aborted; number++) {
    const attempt = choose(random, client, number, holdings);
    journal.write({ client, number, at: Date.now(), attempt });
    try {
      const pauseMs = pauseOf(random, slow);
      const side = await connection.apply(statements(client, number, attempt), String(client), pauseMs);
      const where = side === undefined ? {} : { side };
      journal.write({ client, number, at: Date.now(), outcome: 'acknowledged', ...where });
      holdings = after(holdings, attempt);
    } catch (error) {
      const outcome = outcomeOf(error);
      journal.write({ client, number, at: Date.now(), outcome, error: messageOf(error) });
      if (outcome === 'unknown') return;
    }
    await readBack(client, random, holdings, journal, connection);
    await sleep(random.below(2 * paceMs + 1), undefined, { signal }).catch(() => undefined);
  }
}

/** Some transactions stay open for a while, across whatever a switch does meanwhile. */
function pauseOf(random: Random, slow: Slow): number {
  return random.chance(slow.share) ? random.below(slow.ms) : 0;
}

async function readBack(
  client: number,
  random: Random,
  holdings: Holdings,
  journal: Journal,
  connection: Connection,
): Promise<void> {
  if (connection.read === undefined || holdings.size === 0) return;
  const k = random.pick([...holdings.keys()]);
  const expected = holdings.get(k)!.v;
  try {
    const key = random.chance(0.7) ? String(client) : undefined;
    const found = await connection.read(client, k, key);
    if (found !== expected) {
      const stale = `entry (${client}, ${k}): wrote ${expected}, read ${found ?? 'no row'}`;
      journal.write({ client, at: Date.now(), stale });
    }
  } catch {
    // A read that fails is allowed while servers die; it says nothing about what is stored.
  }
}
