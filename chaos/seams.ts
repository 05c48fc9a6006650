/** The seams of the protocol at which a worker is killed, each recognised by a statement that is sent there and only there. */

export interface Seam {
  /** What is half done when the process dies. */
  what: string;
  database: 'source' | 'target';
  statement: RegExp;
  /**
   * `before`: the statement is never sent. `rows`: so are the rows that it copies, but not their end. `committed`: its
   * transaction has ended, and nobody has seen the answer.
   */
  moment: 'before' | 'rows' | 'committed';
}

export const SEAMS: Record<string, Seam> = {
  'copy-checkpoint': {
    what: 'a chunk is written, its checkpoint is not',
    database: 'target',
    statement: /UPDATE crossfade\.copied SET last_key/,
    moment: 'rows',
  },
  'copy-answer': {
    what: 'a chunk and its checkpoint are committed, nobody knows',
    database: 'target',
    statement: /UPDATE crossfade\.copied SET last_key/,
    moment: 'committed',
  },
  'table-live': {
    what: 'a table is copied and replay has not taken it up',
    database: 'target',
    statement: /UPDATE crossfade\.copied SET state = 'live'/,
    moment: 'before',
  },
  'replay-apply': {
    what: 'replay has read a batch and not applied it',
    database: 'target',
    statement: /UPDATE crossfade\.checkpoint SET position/,
    moment: 'before',
  },
  'replay-answer': {
    what: 'a batch of replay is committed, nobody knows',
    database: 'target',
    statement: /UPDATE crossfade\.checkpoint SET position/,
    moment: 'committed',
  },
  verified: {
    what: 'verification has ended and its position is not noted',
    database: 'target',
    statement: /UPDATE crossfade\.checkpoint SET verified_position/,
    moment: 'before',
  },
  'cutover-prepared': {
    what: 'the target expects the cutover, the source is not fenced',
    database: 'target',
    statement: /UPDATE crossfade\.control SET open_hash/,
    moment: 'committed',
  },
  'source-fenced': {
    what: 'the source is fenced and nothing is drained',
    database: 'source',
    statement: /UPDATE _crossfade_control\s+SET state = 'fencing'/,
    moment: 'committed',
  },
  'commit-point': {
    what: 'everything is drained, the commit point is not passed',
    database: 'source',
    statement: /UPDATE _crossfade_control\s+SET state = 'moved'/,
    moment: 'before',
  },
  'target-opens': {
    what: 'the commit point is passed, the target is not open',
    database: 'target',
    statement: /SELECT crossfade\.open_target/,
    moment: 'before',
  },
  'reverse-delete': {
    what: 'a batch is in the source and still in the log of the target',
    database: 'target',
    statement: /DELETE FROM crossfade\.log WHERE seq/,
    moment: 'before',
  },
  'target-fenced': {
    what: 'the target is fenced and nothing is drained',
    database: 'target',
    statement: /UPDATE crossfade\.control SET state = 'fencing'/,
    moment: 'committed',
  },
  'way-back-commit-point': {
    what: 'everything is drained back, the commit point is not passed',
    database: 'target',
    statement: /UPDATE crossfade\.control SET state = 'moved'/,
    moment: 'before',
  },
  'way-back-committed': {
    what: 'the way back has passed its commit point, the source is not open',
    database: 'target',
    statement: /UPDATE crossfade\.control SET state = 'moved'/,
    moment: 'committed',
  },
  'source-opens': {
    what: 'the source is about to open',
    database: 'source',
    statement: /UPDATE _crossfade_control\s+SET state = 'open'/,
    moment: 'before',
  },
  'clean-source': {
    what: 'our objects are about to leave the source',
    database: 'source',
    // The fence drops triggers as well, and never a table.
    statement: /DROP TABLE IF EXISTS _crossfade_/,
    moment: 'before',
  },
  'drop-target': {
    what: "the target's tables are about to be dropped",
    database: 'target',
    statement: /DROP SCHEMA (IF EXISTS )?crossfade/,
    moment: 'before',
  },
  finish: {
    what: 'the way back is closed, the triggers are still there',
    database: 'target',
    statement: /UPDATE crossfade\.control SET finished_at/,
    moment: 'committed',
  },
};
