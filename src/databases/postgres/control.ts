/**
 * Control objects in PostgreSQL, all in schema `crossfade`: control row, leases, checkpoint, per-table copy state,
 * quarantine, reverse change log, and what routers report.
 */
import {
  FENCED,
  FENCE_LOCK_KEY,
  LEASE_SETTING,
  SQLSTATE_FENCED,
  SQLSTATE_LEASE_LOST,
  SQLSTATE_WHOLE_BATCHES,
  type ControlState,
} from '../../protocol.ts';

/** The roles that hold leases in the target. */
export type TargetLeaseRole = 'control' | 'copy' | 'replay';

/** SQL that creates every control object; run in one transaction, with parameters put in by `controlRows`. */
export const CONTROL_SQL = `
CREATE SCHEMA crossfade;
GRANT USAGE ON SCHEMA crossfade TO PUBLIC;

CREATE TABLE crossfade.control (
  id int PRIMARY KEY CHECK (id = 1),
  migration text NOT NULL,
  epoch bigint NOT NULL,
  state text NOT NULL CHECK (state IN ('standby', 'open', 'fencing', 'moved')),
  fence_token text,
  deadline timestamptz,
  -- sha256 of the token that opens this database; only the source's moved row holds the token itself
  open_hash text,
  finished_at timestamptz,
  plan jsonb NOT NULL
);
CREATE TABLE crossfade.lease (
  role text PRIMARY KEY, epoch bigint NOT NULL, ordinal bigint NOT NULL, holder text NOT NULL
);
-- One row: how far replay has come. caught_up_at: everything committed in the source before it is applied.
CREATE TABLE crossfade.checkpoint (
  id int PRIMARY KEY CHECK (id = 1),
  position bigint NOT NULL,
  token bigint NOT NULL,
  head bigint NOT NULL,
  caught_up_at timestamptz,
  changes bigint NOT NULL DEFAULT 0,
  -- a batch must reach the snapshot's end once unique indexes exist
  whole_batches boolean NOT NULL DEFAULT false,
  -- changes up to here have been compared since the full verification
  verified_position bigint,
  -- phases whose tables, indexes, foreign keys are all there: verification expects them
  built text[] NOT NULL DEFAULT '{}',
  -- names the last batch that went back to the source; the source holds the same
  reverse_token text
);
-- pending → copying → copied → live. Replay of a table starts at replay_from, taken before its first chunk.
CREATE TABLE crossfade.copied (
  table_id int PRIMARY KEY,
  state text NOT NULL CHECK (state IN ('pending', 'copying', 'copied', 'live')),
  replay_from bigint,
  replayed_to bigint,
  -- text, because jsonb has no NUL character
  last_key text,
  rows bigint NOT NULL DEFAULT 0,
  bytes bigint NOT NULL DEFAULT 0,
  -- Of a table without a key: the numbering of the source's rows that its rows have
  numbering bigint
);
-- Keys whose current row has no exact form on the target; while any is here there is no cutover.
CREATE TABLE crossfade.quarantine (
  table_id int NOT NULL, key text NOT NULL, reason text NOT NULL, at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (table_id, key)
);
-- Reverse change log; a row without a key means "compare the whole table" (TRUNCATE). No UNIQUE but the identity.
CREATE TABLE crossfade.log (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, table_id int NOT NULL, key text[]
);
-- role: by which the application of this router writes after the cutover
CREATE TABLE crossfade.router (
  instance text PRIMARY KEY, role text NOT NULL, started_at timestamptz NOT NULL DEFAULT now(), seen_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE crossfade.traffic (
  instance text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp(),
  side text NOT NULL, operation text NOT NULL,
  count bigint NOT NULL, errors bigint NOT NULL, fallbacks bigint NOT NULL, dual_write_failures bigint NOT NULL,
  -- latency bucket → count, see LATENCY_BUCKET_GROWTH
  histogram jsonb NOT NULL
);
CREATE INDEX ON crossfade.traffic (at);

-- Sorts before every other BEFORE trigger by its name where it is installed: a refused statement has no side effects.
CREATE FUNCTION crossfade.fence() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
  applier text := coalesce(current_setting('${LEASE_SETTING}', true), '');
  c crossfade.control;
BEGIN
  IF applier <> '' AND EXISTS (SELECT 1 FROM crossfade.lease WHERE role IN ('copy', 'replay') AND holder = applier) THEN
    RETURN NULL;
  END IF;
  -- The lock first and the row in a second statement, which has a newer snapshot: one query that did both would
  -- read the row as it was before it waited for the lock.
  PERFORM pg_advisory_xact_lock_shared(${FENCE_LOCK_KEY});
  IF current_setting('transaction_isolation') IN ('read committed', 'read uncommitted') THEN
    SELECT * INTO c FROM crossfade.control WHERE id = 1;
  ELSE
    -- The snapshot is older than the lock here: only a row lock tells (40001) that the row has changed since.
    SELECT * INTO c FROM crossfade.control WHERE id = 1 FOR SHARE;
  END IF;
  IF c.state = 'open' OR (c.state = 'fencing' AND clock_timestamp() >= c.deadline) THEN
    RETURN NULL;
  END IF;
  RAISE EXCEPTION '${FENCED} (target is %, epoch %)', coalesce(c.state, 'without control row'), c.epoch
    USING ERRCODE = '${SQLSTATE_FENCED}', HINT = 'Write to the primary; the router does this by itself.';
END $body$;

-- Takes a lease over from any owner with a smaller ordinal.
CREATE FUNCTION crossfade.take_lease(p_role text, p_epoch bigint, p_ordinal bigint, p_holder text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
  UPDATE crossfade.lease SET ordinal = p_ordinal, holder = p_holder
   WHERE role = p_role AND epoch = p_epoch AND ordinal < p_ordinal;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'crossfade: the lease "%" of epoch % belongs to a later owner', p_role, p_epoch
      USING ERRCODE = '${SQLSTATE_LEASE_LOST}';
  END IF;
END $body$;

-- The last statement of every batch: it proves the lease and keeps it until COMMIT. A share lock, so that parallel
-- copy streams do not wait for one another, while a takeover waits for all of them.
CREATE FUNCTION crossfade.hold_lease(p_role text, p_epoch bigint, p_holder text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
  PERFORM 1 FROM crossfade.lease WHERE role = p_role AND epoch = p_epoch AND holder = p_holder FOR SHARE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'crossfade: the lease "%" of epoch % was taken over', p_role, p_epoch
      USING ERRCODE = '${SQLSTATE_LEASE_LOST}';
  END IF;
END $body$;

-- Part of every batch that may end in the middle of the log: refuses it once whole batches are asked for. The lock
-- makes whoever asks, before building a unique index, wait for a batch that has passed.
CREATE FUNCTION crossfade.partial_batch() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
  PERFORM 1 FROM crossfade.checkpoint WHERE id = 1 AND NOT whole_batches FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'crossfade: a batch must reach the end of the log now' USING ERRCODE = '${SQLSTATE_WHOLE_BATCHES}';
  END IF;
END $body$;

-- Opens the target after the source's row became moved(p_epoch). Idempotent; any worker or router may call it, and
-- the token proves that the caller has read the moved row. Opening revokes the leases of the forward direction.
CREATE FUNCTION crossfade.open_target(p_epoch bigint, p_token text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
  UPDATE crossfade.control SET state = 'open', epoch = p_epoch, fence_token = NULL, deadline = NULL
   WHERE id = 1 AND state IN ('standby', 'moved') AND epoch = p_epoch - 1
     AND open_hash = encode(sha256(convert_to(p_token, 'UTF8')), 'hex');
  IF FOUND THEN
    UPDATE crossfade.lease SET epoch = p_epoch, holder = '';
  END IF;
  RETURN EXISTS (SELECT 1 FROM crossfade.control WHERE state = 'open' AND epoch = p_epoch);
END $body$;

-- What a router may know of the target, by one call: the control row, and how far replay has come.
CREATE FUNCTION crossfade.router_state(
  OUT migration text, OUT epoch bigint, OUT state text, OUT fence_left_ms double precision, OUT "position" bigint,
  OUT finished boolean
) LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
  SELECT c.migration, c.epoch, c.state, extract(epoch FROM c.deadline - clock_timestamp()) * 1000, k."position",
         c.finished_at IS NOT NULL
    FROM crossfade.control c, crossfade.checkpoint k WHERE c.id = 1 AND k.id = 1
$body$;

-- p_windows: [{side, operation, count, errors, fallbacks, dualWriteFailures, histogram}, …]
CREATE FUNCTION crossfade.report_traffic(p_instance text, p_windows jsonb) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
  INSERT INTO crossfade.router (instance, role) VALUES (p_instance, session_user)
      ON CONFLICT (instance) DO UPDATE SET seen_at = now(), role = excluded.role;
  INSERT INTO crossfade.traffic (instance, side, operation, count, errors, fallbacks, dual_write_failures, histogram)
  SELECT p_instance, w->>'side', w->>'operation', (w->>'count')::bigint, (w->>'errors')::bigint,
         (w->>'fallbacks')::bigint, (w->>'dualWriteFailures')::bigint, w->'histogram'
    FROM jsonb_array_elements(p_windows) w;
  -- Here, because routers report for as long as they run, and replay does not.
  DELETE FROM crossfade.traffic WHERE at < clock_timestamp() - interval '1 hour';
$body$;

INSERT INTO crossfade.lease VALUES ('control', 1, 0, ''), ('copy', 1, 0, ''), ('replay', 1, 0, '');
`;

export interface TargetControlRow {
  migration: string;
  epoch: number;
  state: ControlState;
  fenceToken: string | null;
  fenceLeftMs: number | null;
  finished: boolean;
}

/** The least of a pg client that reading needs, so that pools and clients both serve. */
export interface Queryable {
  query(
    text: string,
    values?: unknown[],
  ): Promise<{ rows: Record<string, unknown>[]; rowCount: number | null }>;
}

export async function hasControl(client: Queryable): Promise<boolean> {
  const { rows } = await client.query(`SELECT to_regclass('crossfade.control') IS NOT NULL AS present`);
  return rows[0]?.['present'] === true;
}

/** The control row; null where the schema or the row is missing. @param lock keeps it as it is to the end of the transaction */
export async function readControl(
  client: Queryable,
  lock: '' | 'FOR UPDATE' = '',
): Promise<TargetControlRow | null> {
  if (!(await hasControl(client))) return null;
  const { rows } = await client.query(
    `SELECT migration, epoch, state, fence_token, finished_at IS NOT NULL AS finished,
            extract(epoch FROM deadline - clock_timestamp()) * 1000 AS left_ms
       FROM crossfade.control WHERE id = 1 ${lock}`,
  );
  const row = rows[0];
  if (row === undefined) return null;
  return {
    migration: String(row['migration']),
    epoch: Number(row['epoch']),
    state: row['state'] as ControlState,
    fenceToken: row['fence_token'] as string | null,
    fenceLeftMs: row['left_ms'] === null ? null : Number(row['left_ms']),
    finished: row['finished'] === true,
  };
}
