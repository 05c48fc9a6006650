/** Who is primary and where reads may go, decided from both control rows alone. Pure: the whole protocol as the router sees it. */
import type { Side } from '../contract.ts';
import { acceptsWrites, type ControlRow, type SourceControlRow } from '../protocol.ts';

export type SourceView =
  /** `version`: the schema version for which this was seen; any change of it asks for another look. */
  | { control: 'absent'; version: number }
  /** The table without its row, which counts as fenced. */
  | { control: 'broken' }
  | { control: 'present'; row: SourceControlRow; openToken: string | null };

export interface TargetRow extends ControlRow {
  /** How far replay has come in the source's change log. */
  position: number;
  finished: boolean;
}

export type TargetView =
  | { control: 'none' }
  | { control: 'absent' }
  | { control: 'unreachable'; error: unknown }
  | { control: 'present'; row: TargetRow };

export type RollForward =
  { open: 'target'; epoch: number; token: string } | { open: 'source'; migration: string; epoch: number };

export interface Route {
  primary: Side;
  /** The primary takes writes at this moment. */
  accepts: boolean;
  /** Share of reads that go to the target while the source is primary, 0 to 100. */
  readPercent: number;
  dualWrites: boolean;
  /** The target is a complete copy that replay keeps up to date. */
  following: boolean;
  /** The target can still hand the primary role back. */
  mayMoveBack: boolean;
  /** Schema version of a source without control table; null where it has one. */
  sourceVersion: number | null;
  /** A switch has passed its commit point and the new primary is not open yet: whoever sees it opens it. */
  rollForward?: RollForward;
  /** Both rows in words, for messages. */
  situation: string;
}

const AT_REST = {
  readPercent: 0,
  dualWrites: false,
  following: false,
  mayMoveBack: false,
  sourceVersion: null,
} satisfies Partial<Route>;

export function decide(source: SourceView, target: TargetView): Route {
  const situation = `source ${describe(source)}, target ${describe(target)}`;
  const row = target.control === 'present' ? target.row : undefined;
  const targetHasOpened = row !== undefined && hasOpened(row);

  if (source.control !== 'present') {
    const sourceVersion = source.control === 'absent' ? source.version : null;
    if (targetHasOpened) {
      return { ...onTarget(row), sourceVersion, situation };
    }
    // Without a control table there is no migration yet, or none any more. Without its row nobody may write.
    return { ...AT_REST, primary: 'source', accepts: source.control === 'absent', sourceVersion, situation };
  }

  const own = source.row;
  if (own.state !== 'moved') {
    // Nothing but its moved row opens the target: this file was put back to a time before that.
    if (targetHasOpened && row.migration === own.migration && row.epoch > own.epoch) {
      return { ...onTarget(row), situation };
    }
    // An unreachable target keeps its share: those reads fall back, and are counted, until it answers again.
    const ours = target.control === 'unreachable' || row?.migration === own.migration;
    return {
      ...AT_REST,
      primary: 'source',
      accepts: acceptsWrites(own),
      readPercent: ours ? own.readPercent : 0,
      dualWrites: own.dualWrites,
      following: ours && (own.readPercent > 0 || own.dualWrites),
      situation,
    };
  }

  if (row === undefined || row.migration !== own.migration) {
    return { ...AT_REST, primary: 'target', accepts: false, situation };
  }
  if (row.state === 'moved' && row.epoch === own.epoch + 1) {
    return {
      ...AT_REST,
      primary: 'source',
      accepts: false,
      rollForward: { open: 'source', migration: row.migration, epoch: row.epoch },
      situation,
    };
  }
  const route: Route = { ...onTarget(row), situation };
  if (!targetHasOpened && row.epoch === own.epoch - 1 && source.openToken !== null) {
    route.rollForward = { open: 'target', epoch: own.epoch, token: source.openToken };
  }
  return route;
}

/** The target is primary, also while a way back has fenced it and not passed its commit point. */
export function hasOpened({ state }: TargetRow): boolean {
  return state === 'open' || state === 'fencing';
}

function onTarget(row: TargetRow): Omit<Route, 'situation'> {
  return { ...AT_REST, primary: 'target', accepts: acceptsWrites(row), mayMoveBack: !row.finished };
}

function describe(view: SourceView | TargetView): string {
  switch (view.control) {
    case 'present':
      return `${view.row.state} (epoch ${view.row.epoch}, migration ${view.row.migration})`;
    case 'absent':
      return 'without control row';
    case 'broken':
      return 'fenced (its control row is missing)';
    case 'none':
      return 'not configured';
    case 'unreachable':
      return 'unreachable';
  }
}
