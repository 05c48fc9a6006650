/** Which search attributes a namespace has, and adding those that it lacks. */
import { isGrpcServiceError, type ConnectionLike } from '@temporalio/client';
import { messageOf } from './errors.ts';
import { SEARCH_ATTRIBUTES, type SearchAttributeName } from './search-attributes.ts';

const NAMES = Object.keys(SEARCH_ATTRIBUTES) as SearchAttributeName[];
const PATIENCE_MS = 5_000;

/** IndexedValueType of Temporal's API. */
const TYPE_NUMBERS = { Keyword: 2, Int: 3 } as const;
/** A value that a query may compare an attribute with. */
const LITERALS = { Keyword: "''", Int: '0' } as const;

/** Codes of gRPC. */
const INVALID_ARGUMENT = 3;
const REFUSALS = [7 /* PERMISSION_DENIED */, 12 /* UNIMPLEMENTED */, 16 /* UNAUTHENTICATED */];

/**
 * Our attributes that the namespace has, with the type that they must have. A workflow that sets any other one does
 * not fail: each of its tasks is refused and tried again, without end.
 * @throws ServiceError where the server does not answer
 */
export async function knownAttributes(
  connection: ConnectionLike,
  namespace: string,
): Promise<SearchAttributeName[]> {
  return connection.withDeadline(Date.now() + PATIENCE_MS, async () => {
    try {
      const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
      return NAMES.filter((name) => customAttributes[name] === TYPE_NUMBERS[SEARCH_ATTRIBUTES[name]]);
    } catch (error) {
      if (!isGrpcServiceError(error) || !REFUSALS.includes(error.code)) throw error;
      return knownByQuery(connection, namespace);
    }
  });
}

/** For servers that keep their operator's service to themselves: whoever may list workflows may ask this way. */
async function knownByQuery(connection: ConnectionLike, namespace: string): Promise<SearchAttributeName[]> {
  const known: SearchAttributeName[] = [];
  for (const name of NAMES) {
    const query = `WorkflowId = '' AND ${name} = ${LITERALS[SEARCH_ATTRIBUTES[name]]}`;
    try {
      await connection.workflowService.countWorkflowExecutions({ namespace, query });
      known.push(name);
    } catch (error) {
      if (!isGrpcServiceError(error) || error.code !== INVALID_ARGUMENT) throw error;
    }
  }
  return known;
}

/**
 * Adds what the namespace lacks, where it may. Runs do without what is missing.
 * @returns one line for each attribute that is missing afterwards: why, and what an administrator can do
 */
export async function registerAttributes(connection: ConnectionLike, namespace: string): Promise<string[]> {
  const refusals = new Map<SearchAttributeName, string>();
  try {
    const before = await knownAttributes(connection, namespace);
    for (const name of NAMES.filter((one) => !before.includes(one))) {
      // One by one: a server without room for the one may have room for the other.
      await add(connection, namespace, name).catch((error: unknown) => refusals.set(name, reasonOf(error)));
    }
    const known = refusals.size < NAMES.length ? await knownAttributes(connection, namespace) : before;
    return NAMES.filter((name) => !known.includes(name)).map((name) =>
      notice(namespace, name, refusals.get(name) ?? 'the namespace has one of another type'),
    );
  } catch (error) {
    return NAMES.map((name) => notice(namespace, name, reasonOf(error)));
  }
}

async function add(connection: ConnectionLike, namespace: string, name: SearchAttributeName): Promise<void> {
  await connection.withDeadline(Date.now() + PATIENCE_MS, () =>
    connection.operatorService.addSearchAttributes({
      namespace,
      searchAttributes: { [name]: TYPE_NUMBERS[SEARCH_ATTRIBUTES[name]] },
    }),
  );
}

function reasonOf(error: unknown): string {
  // Native connections leave the details empty.
  return isGrpcServiceError(error) && error.details !== '' ? error.details : messageOf(error);
}

function notice(namespace: string, name: SearchAttributeName, why: string): string {
  return (
    `search attribute ${name} cannot be registered (${why}): runs do without it. An administrator adds it with ` +
    `"temporal operator search-attribute create --namespace ${namespace} --name ${name} --type ${SEARCH_ATTRIBUTES[name]}"`
  );
}
