/** Things that have to be closed again, however the work with them ends. */

type Close = () => Promise<unknown>;

/**
 * Does `work`, then closes in reverse order what it handed to `later`, all of it, even where one cannot be closed.
 * @param tell hears of what could not be closed, where `work` itself has failed
 * @throws what `work` throws, else what could not be closed
 */
export async function closing<T>(
  tell: (error: unknown) => void,
  work: (later: (close: Close) => void) => Promise<T>,
): Promise<T> {
  const closes: Close[] = [];
  const closeAll = async (): Promise<unknown[]> => {
    const errors: unknown[] = [];
    for (let close = closes.pop(); close !== undefined; close = closes.pop()) {
      await close().catch((error: unknown) => errors.push(error));
    }
    return errors;
  };
  let result: T;
  try {
    result = await work((close) => closes.push(close));
  } catch (error) {
    for (const another of await closeAll()) tell(another);
    throw error;
  }
  const errors = await closeAll();
  if (errors.length > 0) throw errors[0];
  return result;
}
