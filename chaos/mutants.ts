/**
 * The protections of the protocol, each with the edits of the compiled code that take it away and nothing else. A run
 * of the chaos with one of them gone has to be noticed, or the harness proves nothing.
 */
import type { Aim } from './faults.ts';

export interface Edit {
  /** Below the build's folder. */
  file: string;
  /** Occurs there exactly once. */
  find: string;
  put: string;
}

export interface Mutant {
  /** What is taken away. */
  without: string;
  edits: Edit[];
  /** Faults that give the gap a chance to show. */
  aim: Aim;
}

export const MUTANTS: Record<string, Mutant> = {
  'before-triggers': {
    without: 'the BEFORE triggers, which log the rows that a REPLACE deletes without firing a delete trigger',
    edits: [
      {
        file: 'src/databases/sqlite/capture.js',
        find: 'conflicts.forEach((conflict, i) => {',
        put: '[].forEach((conflict, i) => {',
      },
    ],
    aim: { faults: ['none'], phases: [] },
  },
  'final-position': {
    without: "a final position that is read after the fence, and the commit point's look at the log's head",
    edits: [
      {
        file: 'src/engine/cutover.js',
        find: 'const before = this.replayer.applied;',
        put: 'const before = this.replayer.applied;\n        this.early = logHead(this.db).position;',
      },
      {
        file: 'src/engine/cutover.js',
        find: 'const final = logHead(this.db).position;',
        put: 'const final = this.early;',
      },
      {
        file: 'src/engine/cutover.js',
        find: 'if (head.position !== applied.position || head.token !== applied.token) {',
        put: 'if (false) {',
      },
    ],
    aim: { faults: ['none'], phases: [], slow: { share: 0.5, ms: 200 } },
  },
  checkpoint: {
    without: 'the one transaction of rows and checkpoint: the checkpoint is committed before its rows',
    edits: [
      {
        file: 'src/databases/postgres/apply.js',
        find: 'const copies = batch.tables.filter((part) => part.rows !== null);',
        put: 'const copies = batch.tables.filter((part) => part.rows !== null);\n    await applier.client.query(batch.checkpointSql);',
      },
      {
        file: 'src/databases/postgres/apply.js',
        find: 'sql.push(batch.checkpointSql, holdLeaseSql(applier.lease));',
        put: 'sql.push(holdLeaseSql(applier.lease));',
      },
    ],
    aim: { faults: ['seam:replay-answer', 'seam:copy-answer'], phases: ['copy', 'indexes', 'shift'] },
  },
  'open-transactions': {
    without:
      'the wait of the fence, and of the commit point, for write transactions that are open on PostgreSQL',
    edits: [
      {
        file: 'src/engine/rollback.js',
        find: '/ 2)}ms`]);\n        await client.query(`SELECT pg_advisory_xact_lock(${FENCE_LOCK_KEY})`);',
        put: '/ 2)}ms`]);',
      },
      {
        file: 'src/engine/rollback.js',
        find: 'await client.query(`SELECT pg_advisory_xact_lock(${FENCE_LOCK_KEY})`);\n        // DDL',
        put: '// DDL',
      },
    ],
    aim: { faults: ['abort'], phases: ['soak'], slow: { share: 0.5, ms: 1_500 } },
  },
  'stale-owner': {
    without: 'the refusal of a worker whose step another one has taken over, and the end of its connections',
    edits: [
      {
        file: 'src/databases/sqlite/control.js',
        find: 'return held !== undefined;',
        put: 'return true;',
      },
      {
        file: 'src/databases/postgres/lease.js',
        find: 'SELECT pg_terminate_backend(pid) FROM',
        put: 'SELECT 1 FROM',
      },
      {
        file: 'src/databases/postgres/control.js',
        find: 'PERFORM 1 FROM crossfade.lease WHERE role = p_role AND epoch = p_epoch AND holder = p_holder FOR SHARE;',
        put: 'PERFORM 1;',
      },
      {
        file: 'src/databases/postgres/control.js',
        find: "IF applier <> '' AND EXISTS (SELECT 1 FROM crossfade.lease WHERE role IN ('copy', 'replay') AND holder = applier) THEN",
        put: "IF applier <> '' THEN",
      },
    ],
    aim: { faults: ['hold-at-seam:replay-apply'], phases: ['copy', 'indexes', 'shift'], most: 1 },
  },
  'high-water-mark': {
    without:
      'the deletion of exactly those log rows of the target that were applied: all up to the newest one go',
    edits: [
      {
        file: 'src/engine/reverse.js',
        find: "'DELETE FROM crossfade.log WHERE seq = ANY($1::bigint[])'",
        put: "'DELETE FROM crossfade.log WHERE seq <= (SELECT max(s) FROM unnest($1::bigint[]) s)'",
      },
    ],
    aim: { faults: ['abort'], phases: ['soak'] },
  },
  'unknown-outcomes': {
    without: 'the rule of the router that a write whose outcome is unknown is not sent again',
    edits: [
      {
        file: 'src/router/writes.js',
        find: 'if (isFenceRefusal(error))\n            return true;',
        put: "if (isFenceRefusal(error) || driverCode(error) === 'OutcomeUnknown')\n            return true;",
      },
    ],
    aim: { faults: ['cut-at-commit'], phases: ['soak'] },
  },
};
