/**
 * The types that cross a boundary: workflow input, progress, verdicts, reports, and the strategy's defaults; the plan is in `plan-contract.ts`.
 * Plain JSON only, and nothing that a workflow may not import: workflows, activities, router and command line all use this file.
 */
import { DEFAULT_POLICIES, type Overrides, type Policies } from './choices.ts';
import type { Finding } from './plan-contract.ts';

export type { Overrides, Policies } from './choices.ts';
export type {
  ColumnKind,
  MomentKind,
  ColumnCensus,
  ColumnPlan,
  GeneratedColumnPlan,
  IndexPlan,
  ForeignKeyPlan,
  TablePlan,
  ViewPlan,
  Finding,
  Plan,
} from './plan-contract.ts';

/** The phases of `migrateDatabase`, in order. */
export const PHASES = [
  'plan',
  'backup',
  'tables',
  'capture',
  'copy',
  'indexes',
  'verify',
  'shift',
  'foreign-keys',
  'cutover',
  'soak',
  'finish',
] as const;
export type Phase = (typeof PHASES)[number];

/** Which of the two databases: the source is SQLite, the target PostgreSQL, whichever is primary. */
export type Side = 'source' | 'target';

/** The whole input of `migrateDatabase`, defaults filled in. Durations are milliseconds unless the name says otherwise. */
export interface MigrationInput {
  /** Name of the source connection; the worker resolves it from its own environment or configuration file. */
  source: string;
  /** Name of the target connection. */
  target: string;
  policies: Policies;
  /** Choices for single tables and columns. */
  overrides: Overrides;
  capture: {
    /** The change log keeps so many rows; a migration that falls further behind has to begin again. */
    maxLogRows: number;
  };
  copy: {
    /** Rows of a chunk at most. */
    batchRows: number;
    /** Bytes of a chunk at most; a single row may exceed it. */
    batchBytes: number;
    /** Ceiling for the copy, 0 for none. */
    maxRowsPerSecond: number;
    /** Tables copied at the same time. */
    parallel: number;
  };
  verify: {
    mode: 'full' | 'sample';
    /** Rows per table in sample mode, and per table of the independent check in full mode. */
    sampleRows: number;
  };
  shift: {
    /** Read percentages, one per stage. */
    stages: number[];
    stageWaitMs: number;
    /** Wait for `approve` before each stage and before the cutover. */
    approval: boolean;
    /** What a failed gate does: step back, try again twice and then hold for a person; or roll back at once. */
    onBreach: 'hold' | 'rollback';
  };
  gates: {
    /** Share of failed reads, 0 to 1. */
    maxErrorRate: number;
    /** p95 of the target over p95 of the source, minus one. */
    maxLatencyIncrease: number;
    /** A target p95 under this is never a breach: a SQLite file answers in microseconds, a server needs a round trip. */
    latencyFloorMs: number;
    maxLagMs: number;
    /** Reads that a stage needs on the target before it is judged. */
    minSamples: number;
  };
  dualWrites: {
    enabled: boolean;
    /** After this the write is acknowledged all the same and `dual_write_failure` is raised. */
    timeoutMs: number;
  };
  cutover: {
    /** The longest time for which application writes are refused. */
    maxPauseMs: number;
  };
  soakMs: number;
  /** After *finish*: `fenced` leaves the read-only marker on the source, `free` removes every object of ours. */
  sourceAfterFinish: 'fenced' | 'free';
  /** What a rollback does with the target's tables. */
  targetAfterRollback: 'drop' | 'keep';
}

/** The strategy's numbers. */
export const DEFAULT_INPUT: MigrationInput = {
  source: 'source',
  target: 'target',
  policies: DEFAULT_POLICIES,
  overrides: {},
  capture: { maxLogRows: 20_000_000 },
  copy: { batchRows: 1_000, batchBytes: 2 * 1024 * 1024, maxRowsPerSecond: 0, parallel: 2 },
  verify: { mode: 'full', sampleRows: 100 },
  shift: { stages: [10, 25, 50, 75, 100], stageWaitMs: 5 * 60_000, approval: false, onBreach: 'hold' },
  gates: {
    maxErrorRate: 0.01,
    maxLatencyIncrease: 0.1,
    latencyFloorMs: 50,
    maxLagMs: 10_000,
    minSamples: 100,
  },
  dualWrites: { enabled: true, timeoutMs: 2_000 },
  cutover: { maxPauseMs: 10_000 },
  soakMs: 10 * 60_000,
  sourceAfterFinish: 'fenced',
  targetAfterRollback: 'drop',
};

/** What became of the planned views. */
export interface ViewsReport {
  created: number;
  leftOutCount: number;
  /** The first ten. */
  leftOut: Finding[];
}

/** What of a plan travels through Temporal: its size does not grow with columns or rows. */
export interface PlanSummary {
  tables: number;
  rows: number;
  bytes: number;
  /** The first ten of each. */
  blockers: Finding[];
  notices: Finding[];
  blockerCount: number;
  noticeCount: number;
}

/**
 * A difference between the databases that stood after replay had passed it. Key and values are shortened to 80
 * characters, long values around where they begin to differ; of a missing row the other side's is told, with its columns.
 */
export interface Mismatch {
  table: string;
  key: string;
  kind: 'missing-on-secondary' | 'missing-on-primary' | 'different';
  column?: string;
  primary?: string;
  secondary?: string;
}

/** A planned object of the target that is missing, not valid, or another than planned. */
export interface SchemaFinding {
  /** Name in the source. */
  table: string;
  /** Names the object and its fault, e.g. `unique index "u" is missing`. */
  what: string;
}

export interface Verdict {
  /** No difference in rows or schema that is left, and nothing in quarantine. */
  equal: boolean;
  mode: 'full' | 'sample';
  at: string;
  ms: number;
  rows: number;
  tables: { table: string; rows: number; equal: boolean }[];
  /** The first twenty. */
  mismatches: Mismatch[];
  mismatchCount: number;
  /** The first twenty. Objects of a phase that is not past yet are not missed. */
  schema: SchemaFinding[];
  schemaCount: number;
  quarantined: number;
  /** Keys that differ and wait for replay, which does not run. */
  undecided: number;
  /** Of a repair: what differed and agrees now; the first twenty. */
  healed?: Mismatch[];
  healedCount?: number;
}

/** Counts and latencies of one side within one window, from the routers' reports. */
export interface TrafficFigures {
  count: number;
  errors: number;
  p50Ms: number;
  p95Ms: number;
}

export interface TrafficSnapshot {
  /** Routers that reported within the last ten seconds. */
  routers: number;
  /** Length of the window, ms. */
  windowMs: number;
  reads: Record<Side, TrafficFigures>;
  writes: Record<Side, TrafficFigures>;
  /** Reads that failed on the secondary and were answered by the primary. */
  fallbacks: number;
  dualWriteFailures: number;
}

export interface GateFigures {
  /** `routers`: the application's own reads; `probes`: no router has registered, so crossfade reads both databases itself. */
  judgedBy: 'routers' | 'probes';
  reads: Record<Side, TrafficFigures>;
  lagMs: number;
  mismatches: number;
  quarantined: number;
}

export interface GateDecision {
  verdict: 'pass' | 'breach' | 'hold';
  /** One line each, readable alone. */
  reasons: string[];
}

export interface StageRecord {
  percent: number;
  startedAt: string;
  endedAt?: string;
  figures?: GateFigures;
  decision?: GateDecision;
}

export interface CopyReport {
  rows: number;
  bytes: number;
  /** In a migration's report from the first row to the last, pauses and lost workers included. */
  ms: number;
  tables: { table: string; rows: number; bytes: number }[];
}

export interface CutoverReport {
  /** `moved`: the commit point was passed; `returned`: the state before the cutover holds again. */
  outcome: 'moved' | 'returned';
  epoch: number;
  /** Time during which application writes were refused, ms. */
  pauseMs: number;
  /** Changes applied under the fence. */
  drained: number;
  reason?: string;
}

export type Outcome = 'running' | 'complete' | 'refused' | 'rolled back' | 'failed';

export interface PhaseRecord {
  phase: Phase;
  startedAt: string;
  endedAt?: string;
}

/** Answer of the workflow's `status` query. */
export interface MigrationStatus {
  migration: string;
  source: string;
  target: string;
  outcome: Outcome;
  phase: Phase;
  phases: PhaseRecord[];
  paused: boolean;
  /** What the workflow waits for, when it waits for a person or a gate. */
  waitingFor?: string;
  primary: Side;
  readPercent: number;
  plan?: PlanSummary;
  backup?: { path: string; bytes: number };
  copy?: CopyReport;
  views?: ViewsReport;
  verdict?: Verdict;
  stages: StageRecord[];
  cutover?: CutoverReport;
  rollback?: { reason: string; steps: string[]; writesBack?: CutoverReport };
  /** Why the run ended as it did, or why its last attempt failed. */
  reason?: string;
}

/** Heartbeat details of the long activities: what `crossfade watch` and the Temporal UI show while they run. */
export type Progress =
  | {
      kind: 'copy';
      table: string;
      rows: number;
      rowsTotal: number;
      bytes: number;
      /** Over the last few seconds. */
      rowsPerSecond: number;
      bytesPerSecond: number;
    }
  | {
      kind: 'replay';
      position: number;
      head: number;
      lagMs: number;
      changes: number;
      quarantined: number;
      /** The first three rows in quarantine, one line each; a worker of an earlier version does not tell. */
      quarantine?: string[];
    }
  | { kind: 'verify'; table: string; rows: number; rowsTotal: number }
  | { kind: 'backup'; bytes: number };

/** Result of `migrateDatabase`. */
export interface MigrationReport {
  migration: string;
  outcome: Outcome;
  startedAt: string;
  endedAt: string;
  phases: (PhaseRecord & { ms: number })[];
  plan: PlanSummary;
  backup?: { path: string; bytes: number };
  copy?: CopyReport;
  views?: ViewsReport;
  verdict?: Verdict;
  stages: StageRecord[];
  cutover?: CutoverReport;
  rollback?: { reason: string; steps: string[]; writesBack?: CutoverReport };
}

/** Input of `verifyDatabases`. */
export interface VerifyInput {
  source: string;
  target: string;
  mode: 'full' | 'sample';
  sampleRows: number;
  /** Has the primary's rows written again where the secondary's differ; needs a migration whose replay runs. */
  repair: boolean;
}

/** Input of `rollbackMigration`. */
export interface RollbackInput {
  source: string;
  target: string;
  targetAfterRollback: 'drop' | 'keep';
}

/** Task queue of the workflows and of nothing else; activities run on a queue of the host that has the source file. */
export const TASK_QUEUE = 'crossfade';

/** Factor between two latency buckets: bucket n holds latencies from GROWTH^n to GROWTH^(n+1) microseconds. */
export const LATENCY_BUCKET_GROWTH = 1.05;
