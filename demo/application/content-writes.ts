/** Writes to content and its analytics. */
import { sentence } from '../database/phrases.ts';
import type { Sent } from './client.ts';
import type { OwnedContent } from './holdings.ts';
import type { Values } from './journal.ts';
import { ApplicationRefusal } from './outcome.ts';
import type { Store } from './store.ts';
import {
  analyticsValues,
  bound,
  changedOnly,
  deleteRow,
  insertSql,
  now,
  ownersOf,
  returnedRow,
  send,
  type Lane,
} from './sending.ts';

export async function countView(lane: Lane): Promise<void> {
  const content = lane.own.pickContent(lane.random);
  if (content === undefined) return;
  const key = `content:${content.id}`;
  const returned = await send(lane, {
    operation: 'count view',
    owners: ownersOf(content),
    effects: [{ kind: 'update', table: 'content', key: [content.id], add: { view_count: 1 } }],
    changes: 1,
    send: async (store) =>
      returnedRow(
        await store.write(
          `UPDATE content SET view_count = view_count + 1 WHERE id = ? RETURNING view_count`,
          [content.id],
          { key },
        ),
      ),
  });
  const count = returned?.[0]?.['view_count'];
  if (typeof count !== 'number') return;
  lane.own.remember({
    sql: `SELECT view_count FROM content WHERE id = ?`,
    params: [content.id],
    key,
    row: { view_count: count },
  });
}

export async function recordAnalytics(lane: Lane): Promise<void> {
  const { own, random } = lane;
  const content = own.pickContent(random);
  if (content === undefined) return;
  const values: Values = {
    user_id: content.userId,
    content_id: content.id,
    ...analyticsValues(lane),
  };
  const returned = await send(lane, {
    operation: 'record analytics',
    owners: ownersOf(content),
    effects: [{ kind: 'insert', table: 'analytics', values }],
    changes: 1,
    send: async (store) =>
      returnedRow(await store.write(insertSql('analytics', values, 'id'), bound(values))),
  });
  const id = returned?.[0]?.['id'];
  if (typeof id === 'number') own.addAnalytics(id, content);
}

export async function publish(lane: Lane): Promise<void> {
  const content = lane.own.pickContent(lane.random);
  if (content === undefined) return;
  const published = lane.random.chance(0.7);
  const set: Values = { status: published ? 'published' : 'draft', published_at: published ? now() : null };
  await send(lane, {
    operation: 'publish',
    owners: ownersOf(content),
    effects: [{ kind: 'update', table: 'content', key: [content.id], set }],
    changes: 1,
    send: async (store) =>
      changedOnly(
        await store.write(`UPDATE content SET status = ?, published_at = ? WHERE id = ?`, [
          ...bound(set),
          content.id,
        ]),
      ),
  });
}

function contentValues({ random, uniqueName }: Lane, userId: number): Values {
  return {
    user_id: userId,
    slug: uniqueName(),
    title: sentence(random, 4),
    body: random.chance(0.1) ? null : sentence(random, 15),
    tags: JSON.stringify([random.pick(['live', 'remix'])]),
  };
}

const CONTENT_DEFAULTS = 'id, status, view_count, sponsored, created_at';

export async function post(lane: Lane): Promise<void> {
  const userId = lane.own.pickAuthor(lane.random);
  if (userId === undefined) return;
  const values = contentValues(lane, userId);
  const returned = await send(lane, {
    operation: 'post',
    owners: { users: [userId], content: [] },
    effects: [{ kind: 'insert', table: 'content', values }],
    changes: 1,
    send: async (store) =>
      returnedRow(
        await store.write(insertSql('content', values, CONTENT_DEFAULTS), bound(values), {
          key: `user:${userId}`,
        }),
      ),
  });
  const id = returned?.[0]?.['id'];
  if (typeof id === 'number') lane.own.content.push({ id, userId });
}

/** A post and its first analytics in one transaction, the second statement using the id of the first. */
export async function launch(lane: Lane): Promise<void> {
  const userId = lane.own.pickAuthor(lane.random);
  if (userId === undefined) return;
  const values = contentValues(lane, userId);
  const first: Values = { user_id: userId, ...analyticsValues(lane) };
  const returned = await send(lane, {
    operation: 'launch',
    owners: { users: [userId], content: [] },
    effects: [
      { kind: 'insert', table: 'content', values },
      { kind: 'insert', table: 'analytics', values: first },
    ],
    changes: 2,
    send: async (store) => {
      const key = `user:${userId}`;
      if (store.transaction === undefined) return launchAtOnce(store, values, first, key);
      return store.transaction(
        async (tx) => {
          const made = await tx.write(insertSql('content', values, CONTENT_DEFAULTS), bound(values));
          const contentId = made.rows[0]?.['id'];
          if (typeof contentId !== 'number') throw new ApplicationRefusal('the database returned no id');
          const row: Values = { ...first, content_id: contentId };
          const added = await tx.write(insertSql('analytics', row, 'id, content_id'), bound(row));
          return {
            changes: made.rows.length + added.rows.length,
            returned: [made.rows[0] ?? null, added.rows[0] ?? null],
          };
        },
        { key },
      );
    },
  });
  const id = returned?.[0]?.['id'];
  if (typeof id === 'number') lane.own.content.push({ id, userId });
}

/** The same as a batch, in which the database itself finds the id. */
async function launchAtOnce(store: Store, values: Values, first: Values, key: string): Promise<Sent> {
  const columns = Object.keys(first);
  const [made, added] = await store.batch(
    [
      { sql: insertSql('content', values, CONTENT_DEFAULTS), params: bound(values) },
      {
        sql: `INSERT INTO analytics (${columns.join(', ')}, content_id)
              VALUES (${columns.map(() => '?').join(', ')}, (SELECT id FROM content WHERE slug = ?))
              RETURNING id, content_id`,
        params: bound({ ...first, slug: values['slug'] ?? null }),
      },
    ],
    { key },
  );
  const rows = [...(made?.rows ?? []), ...(added?.rows ?? [])];
  return { changes: rows.length, returned: [made?.rows[0] ?? null, added?.rows[0] ?? null] };
}

/** A batch: all or nothing, without looking in between. */
export async function archiveSome(lane: Lane): Promise<void> {
  const chosen = new Map<number, OwnedContent>();
  for (let i = 0; i < 3; i++) {
    const content = lane.own.pickContent(lane.random);
    if (content !== undefined) chosen.set(content.id, content);
  }
  const content = [...chosen.values()];
  if (content.length === 0) return;
  const status = lane.random.pick(['archived', 'review']);
  await send(lane, {
    operation: 'archive some',
    owners: { users: content.map((one) => one.userId), content: content.map((one) => one.id) },
    effects: content.map(({ id }) => ({ kind: 'update', table: 'content', key: [id], set: { status } })),
    changes: content.length,
    send: async (store) => {
      const results = await store.batch(
        content.map(({ id }) => ({
          sql: `UPDATE content SET status = ? WHERE id = ?`,
          params: [status, id],
        })),
      );
      return {
        changes: results.reduce((sum, { changes }) => sum + changes, 0),
        returned: content.map(() => null),
      };
    },
  });
}

/** Takes its matches and analytics with it. */
export async function deleteContent(lane: Lane): Promise<void> {
  const content = lane.own.pickContent(lane.random);
  if (content === undefined) return;
  const done = await deleteRow(
    lane,
    'content',
    { id: content.id },
    ownersOf(content),
    `content:${content.id}`,
  );
  if (!done) return;
  lane.own.forget({ users: [], content: [content.id] });
  lane.own.remember({
    sql: `SELECT view_count FROM content WHERE id = ?`,
    params: [content.id],
    key: `content:${content.id}`,
    row: null,
  });
}

export async function deleteAnalytics(lane: Lane): Promise<void> {
  const { own, random } = lane;
  const chosen = own.analytics[random.below(own.analytics.length)];
  if (chosen === undefined) return;
  const owners = { users: [chosen.userId], content: [chosen.contentId] };
  const done = await deleteRow(lane, 'analytics', { id: chosen.id }, owners);
  if (done) own.analytics = own.analytics.filter((row) => row !== chosen);
}
