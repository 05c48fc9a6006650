/** The faults that a run may meet, and when: all of it decided by the seed. */
import type { Phase } from '../src/contract.ts';
import type { Random } from '../demo/database/random.ts';
import { SEAMS } from './seams.ts';

/** What only one kind of source can suffer. */
export type SourceFault =
  | { kind: 'lock-source'; ms: number }
  /** Cloudflare refuses the next requests, and says when to come again. */
  | { kind: 'd1-rate-limit'; count: number }
  | { kind: 'd1-error'; count: number }
  /** The next requests are withheld for so long, and done then. */
  | { kind: 'd1-stall'; count: number; ms: number }
  /** The next requests are done, and their replies are lost. */
  | { kind: 'd1-lost-reply'; count: number; changing: boolean }
  /** The connections of the next requests end, and D1 hears of them so much later. */
  | { kind: 'd1-late'; count: number; ms: number; changing: boolean }
  /** The applications' bindings lose the answers to what D1 has done. */
  | { kind: 'd1-lost-binding'; count: number };

/** What is done to the run. */
export type Fault =
  | SourceFault
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

export const SOURCE_NAMES = ['sqlite', 'd1'] as const;
/** The kinds of sources that a run may migrate. */
export type SourceName = (typeof SOURCE_NAMES)[number];

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

/** Each kind's share of the lots. */
const WEIGHTS: Record<SourceName, [FaultKind, number][]> = {
  sqlite: [
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
  ],
  d1: [
    ['kill-worker', 4],
    ['seam', 6],
    ['hold-worker', 1],
    ['hold-at-seam', 1],
    ['crash-postgres', 2],
    ['crash-temporal', 1],
    ['hang-postgres', 1],
    ['hang-temporal', 1],
    ['cut-connections', 2],
    ['cut-at-commit', 2],
    ['lock-target', 1],
    ['kill-application', 2],
    ['rebuild-table', 1],
    ['add-column', 1],
    ['add-table', 1],
    ['disk-full', 1],
    ['pause', 1],
    ['abort', 3],
    ['cancel', 1],
    ['terminate', 1],
    ['d1-rate-limit', 3],
    ['d1-error', 3],
    ['d1-stall', 2],
    ['d1-lost-reply', 4],
    ['d1-late', 3],
    ['d1-lost-binding', 1],
  ],
};

/** The kinds that a source of this kind may meet. */
export function faultKinds(source: SourceName): FaultKind[] {
  return WEIGHTS[source].map(([kind]) => kind);
}

function lotsOf(source: SourceName): FaultKind[] {
  return WEIGHTS[source].flatMap(([kind, weight]) => Array.from({ length: weight }, () => kind));
}

/** Until the heartbeat timeout has passed, a retry has begun, and it has done something. */
const HELD_MS = 14_000;
/** Changes of the source's schema. */
export const CHANGES: readonly FaultKind[] = ['rebuild-table', 'add-column', 'add-table'];
/** After one of these the run is on its way back: no second one is needed. */
export const ENDING: readonly FaultKind[] = ['abort', 'cancel', 'terminate', ...CHANGES];

/** Is it a name that an aim may hold? */
export function isFault(name: string, source: SourceName): boolean {
  if (name === NONE) return true;
  const [kind, seam] = name.split(':') as [FaultKind, string?];
  if (!faultKinds(source).includes(kind)) return false;
  return seam === undefined || seamsOf(kind).includes(seam);
}

/**
 * The first fault goes through the lots with the seed, so that as many runs in a row as there are lots choose every kind:
 * by chance alone, a rare one was missing from every other session. The others are drawn.
 */
export function chooseFaults(
  seed: number,
  random: Random,
  aim: Aim,
  source: SourceName = 'sqlite',
): Injection[] {
  if (aim.faults.includes(NONE)) return [];
  const lots = aim.faults.length === 0 ? lotsOf(source) : aim.faults;
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
    case 'd1-rate-limit':
    case 'd1-error':
    case 'd1-lost-binding':
      return { kind, count: 1 + random.below(4) };
    case 'd1-stall':
      return { kind, count: 1 + random.below(3), ms: 500 + random.below(6_000) };
    case 'd1-lost-reply':
      return { kind, count: 1 + random.below(4), changing: random.chance(0.6) };
    case 'd1-late':
      return {
        kind,
        count: 1 + random.below(3),
        ms: 200 + random.below(8_000),
        changing: random.chance(0.6),
      };
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
