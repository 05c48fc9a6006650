/** What the views show: one moment of a migration. */
import type { MigrationStatus, Progress, TrafficSnapshot } from '../../contract.ts';

export interface Snapshot {
  workflowId: string;
  /** The workflow's own answer; the last one where no worker answers; undefined before the first. */
  status?: MigrationStatus;
  /** Heartbeat details of the activities that run. */
  progress: Progress[];
  /** Activities whose last attempt failed. */
  retrying: { activity: string; attempt: number; message: string }[];
  /** True where nobody answers the query: no worker runs. */
  unanswered: boolean;
  /** Of the workflow's worker. */
  taskQueue?: string;
  traffic?: TrafficSnapshot;
  /** How far the target is behind the source, ms. */
  lagMs?: number;
  /** The workflow's page in Temporal's web UI. */
  uiUrl?: string;
  /** What is moved where, for the title. */
  title?: string;
  /** More lines, from whoever shows the snapshot. */
  extra?: string[];
  /** Milliseconds since 1970. */
  now: number;
}

export function progressOf<K extends Progress['kind']>(
  snapshot: Snapshot,
  kind: K,
): Extract<Progress, { kind: K }> | undefined {
  return snapshot.progress.find((one): one is Extract<Progress, { kind: K }> => one.kind === kind);
}

/** The page of a workflow in Temporal's web UI. */
export function workflowUrl(uiUrl: string, namespace: string, workflowId: string): string {
  return `${uiUrl}/namespaces/${encodeURIComponent(namespace)}/workflows/${encodeURIComponent(workflowId)}`;
}
