/** The faults that a run may meet, and when: all of it decided by the seed. */
import type { Phase } from '../src/contract.ts';
import type { Random } from '../demo/database/random.ts';
import { SEAMS } from './seams.ts';

/** What is done to the run. */
export type Fault =
  | { kind: 'kill-worker' }
  /** The worker that runs at that time dies when it meets the seam for the nth time. */
  | { kind: 'seam'; seam: string; nth: number }
  /** Longer than the heartbeat timeout of 10 s: another attempt begins, and then both are there. */
  | { kind: 'hold-worker'; ms: number }
  /** The same, at the moment when it is about to send what it has read. */
  | { kind: 'hold-at-seam'; seam: string; nth: number; ms: number }
  | { kind: 'crash-postgres' }
  | { kind: 'crash-temporal' }
  /** The server's processes stop, and go on: its connections stay open, and nothing answers. */
  | { kind: 'hang-postgres'; ms: number }
  | { kind: 'hang-temporal'; ms: number }
  | { kind: 'cut-connections' }
  | { kind: 'cut-at-commit'; count: number }
  | { kind: 'lock-source'; ms: number }
  | { kind: 'lock-target'; ms: number }
  | { kind: 'kill-application' }
  | { kind: 'rebuild-table' }
  | { kind: 'add-column' }
  | { kind: 'add-table' }
  /** The target's disk has no room left. */
  | { kind: 'disk-full'; ms: number }
  | { kind: 'pause'; ms: number }
  | { kind: 'abort' }
  | { kind: 'cancel' }
  /** The workflow is gone, and `rollbackMigration` has to find its way from the control rows. */
  | { kind: 'terminate' };

export type FaultKind = Fault['kind'];

/** What to choose from. */
export interface Aim {
  /** Kinds, or `kind:seam`; every kind where it is empty. */
  faults: readonly string[];
  /** Every phase where it is empty. */
  phases: readonly Phase[];
  /** At most so many. */
  most?: number;
  slow?: Slow;
}

/** The applications' transactions that stay open for a while: their share, and the longest pause between two statements. */
export interface Slow {
  share: number;
  ms: number;
}

/** In place of a kind: nothing is done. */
export const NONE = 'none';

export interface Injection {
  fault: Fault;
  /** Phase of the migration that has to be reached, and how long after that. */
  phase: Phase;
  afterMs: number;
}

const PHASES: Phase[] = [
  'plan',
  'copy',
  'copy',
  'indexes',
  'verify',
  'shift',
  'shift',
  'foreign-keys',
  'cutover',
  'cutover',
  'soak',
  'soak',
  'finish',
];

const WEIGHTS: [FaultKind, number][] = [
  ['kill-worker', 5],
  ['seam', 8],
  ['hold-worker', 1],
  ['hold-at-seam', 1],
  ['crash-postgres', 3],
  ['crash-temporal', 2],
  ['hang-postgres', 2],
  ['hang-temporal', 1],
  ['cut-connections', 4],
  ['cut-at-commit', 4],
  ['lock-source', 3],
  ['lock-target', 2],
  ['kill-application', 4],
  ['rebuild-table', 1],
  ['add-column', 1],
  ['add-table', 1],
  ['disk-full', 2],
  ['pause', 2],
  ['abort', 3],
  ['cancel', 1],
  ['terminate', 1],
];

export const FAULT_KINDS: FaultKind[] = WEIGHTS.map(([kind]) => kind);

const LOTS = WEIGHTS.flatMap(([kind, weight]) => Array.from({ length: weight }, () => kind));
/** Until the heartbeat timeout has passed, a retry has begun, and it has done something. */
const HELD_MS = 14_000;
/** Changes of the source's schema. */
export const CHANGES: readonly FaultKind[] = ['rebuild-table', 'add-column', 'add-table'];
/** After one of these the run is on its way back: no second one is needed. */
export const ENDING: readonly FaultKind[] = ['abort', 'cancel', 'terminate', ...CHANGES];

/** Is it a name that an aim may hold? */
export function isFault(name: string): boolean {
  if (name === NONE) return true;
  const [kind, seam] = name.split(':') as [FaultKind, string?];
  if (!FAULT_KINDS.includes(kind)) return false;
  return seam === undefined || seamsOf(kind).includes(seam);
}

/**
 * The first fault goes through the lots with the seed, so that as many runs in a row as there are lots choose every kind:
 * by chance alone, a rare one was missing from every other session. The others are drawn.
 */
export function chooseFaults(seed: number, random: Random, aim: Aim): Injection[] {
  if (aim.faults.includes(NONE)) return [];
  const lots = aim.faults.length === 0 ? LOTS : aim.faults;
  const injections: Injection[] = [];
  let ends = false;
  for (let i = 0, count = 1 + random.below(aim.most ?? 4); i < count; i++) {
    const lot = i === 0 ? lots[seed % lots.length]! : random.pick(lots);
    const [kind, seam] = lot.split(':') as [FaultKind, string?];
    if (ENDING.includes(kind)) {
      if (ends) continue;
      ends = true;
    }
    // After the cutover a change of the source's schema stands in the way of every rollback until it is undone.
    const phases = CHANGES.includes(kind) ? PHASES.slice(0, 5) : aim.phases.length > 0 ? aim.phases : PHASES;
    injections.push({
      fault: faultOf(kind, seam, random),
      phase: random.pick(phases),
      afterMs: random.below(700),
    });
  }
  return injections;
}

function seamsOf(kind: FaultKind): string[] {
  if (kind === 'seam') return Object.keys(SEAMS);
  if (kind !== 'hold-at-seam') return [];
  return Object.keys(SEAMS).filter((name) => SEAMS[name]!.moment === 'before');
}

function faultOf(kind: FaultKind, seam: string | undefined, random: Random): Fault {
  switch (kind) {
    case 'seam':
      return { kind, seam: seam ?? random.pick(seamsOf(kind)), nth: 1 + random.below(3) };
    case 'hold-at-seam':
      return { kind, seam: seam ?? random.pick(seamsOf(kind)), nth: 1 + random.below(3), ms: HELD_MS };
    case 'hold-worker':
      return { kind, ms: HELD_MS };
    case 'cut-at-commit':
      return { kind, count: 1 + random.below(5) };
    case 'lock-source':
      return { kind, ms: 500 + random.below(4_000) };
    case 'lock-target':
      return { kind, ms: 500 + random.below(8_000) };
    case 'disk-full':
      return { kind, ms: 300 + random.below(3_000) };
    case 'hang-postgres':
    case 'hang-temporal':
      return { kind, ms: random.chance(0.5) ? 500 + random.below(4_000) : HELD_MS };
    case 'pause':
      return { kind, ms: 300 + random.below(1_500) };
    default:
      return { kind };
  }
}

/** For the timeline. */
export function inWords(fault: Fault): string {
  const { kind, ...rest } = fault;
  const details = Object.entries(rest).map(([name, value]) => `${name} ${value}`);
  const what = 'seam' in fault ? `: ${SEAMS[fault.seam]!.what}` : '';
  return details.length === 0 ? kind : `${kind} (${details.join(', ')})${what}`;
}
