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
  /** In which kind of run it can be met. */
  on: 'forward' | 'cutover' | 'back';
}

export const SEAMS: Record<string, Seam> = {
  'copy-checkpoint': {
    what: 'a chunk is written, its checkpoint is not',
    database: 'target',
    statement: /UPDATE crossfade\.copied SET last_key/,
    moment: 'rows',
    on: 'forward',
  },
  'copy-answer': {
    what: 'a chunk and its checkpoint are committed, nobody knows',
    database: 'target',
    statement: /UPDATE crossfade\.copied SET last_key/,
    moment: 'committed',
    on: 'forward',
  },
  'table-live': {
    what: 'a table is copied and replay has not taken it up',
    database: 'target',
    statement: /UPDATE crossfade\.copied SET state = 'live'/,
    moment: 'before',
    on: 'forward',
  },
  'replay-apply': {
    what: 'replay has read a batch and not applied it',
    database: 'target',
    statement: /UPDATE crossfade\.checkpoint SET position/,
    moment: 'before',
    on: 'forward',
  },
  'replay-answer': {
    what: 'a batch of replay is committed, nobody knows',
    database: 'target',
    statement: /UPDATE crossfade\.checkpoint SET position/,
    moment: 'committed',
    on: 'forward',
  },
  verified: {
    what: 'verification has ended and its position is not noted',
    database: 'target',
    statement: /UPDATE crossfade\.checkpoint SET verified_position/,
    moment: 'before',
    on: 'forward',
  },
  'cutover-prepared': {
    what: 'the target expects the cutover, the source is not fenced',
    database: 'target',
    statement: /UPDATE crossfade\.control SET open_hash/,
    moment: 'committed',
    on: 'cutover',
  },
  'source-fenced': {
    what: 'the source is fenced and nothing is drained',
    database: 'source',
    statement: /UPDATE _crossfade_control\s+SET state = 'fencing'/,
    moment: 'committed',
    on: 'cutover',
  },
  'commit-point': {
    what: 'everything is drained, the commit point is not passed',
    database: 'source',
    statement: /UPDATE _crossfade_control\s+SET state = 'moved'/,
    moment: 'before',
    on: 'cutover',
  },
  'target-opens': {
    what: 'the commit point is passed, the target is not open',
    database: 'target',
    statement: /SELECT crossfade\.open_target/,
    moment: 'before',
    on: 'cutover',
  },
  'reverse-delete': {
    what: 'a batch is in the source and still in the log of the target',
    database: 'target',
    statement: /DELETE FROM crossfade\.log WHERE seq/,
    moment: 'before',
    on: 'cutover',
  },
  'target-fenced': {
    what: 'the target is fenced and nothing is drained',
    database: 'target',
    statement: /UPDATE crossfade\.control SET state = 'fencing'/,
    moment: 'committed',
    on: 'back',
  },
  'way-back-commit-point': {
    what: 'everything is drained back, the commit point is not passed',
    database: 'target',
    statement: /UPDATE crossfade\.control SET state = 'moved'/,
    moment: 'before',
    on: 'back',
  },
  'way-back-committed': {
    what: 'the way back has passed its commit point, the source is not open',
    database: 'target',
    statement: /UPDATE crossfade\.control SET state = 'moved'/,
    moment: 'committed',
    on: 'back',
  },
  'source-opens': {
    what: 'the source is about to open',
    database: 'source',
    statement: /UPDATE _crossfade_control\s+SET state = 'open'/,
    moment: 'before',
    on: 'back',
  },
  'clean-source': {
    what: 'our objects are about to leave the source',
    database: 'source',
    statement: /DROP TRIGGER IF EXISTS "_crossfade_/,
    moment: 'before',
    on: 'back',
  },
  'drop-target': {
    what: "the target's tables are about to be dropped",
    database: 'target',
    statement: /DROP SCHEMA (IF EXISTS )?crossfade/,
    moment: 'before',
    on: 'back',
  },
  finish: {
    what: 'the way back is closed, the triggers are still there',
    database: 'target',
    statement: /UPDATE crossfade\.control SET finished_at/,
    moment: 'committed',
    on: 'cutover',
  },
};
