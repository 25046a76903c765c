/**
 * Handles what an iterator gives, up to `concurrency` at once; the next is asked for only when one is done. After a
 * failure, or when `stop` is aborted, nothing more is asked for; what is being handled is finished first.
 * @throws the first failure of the iterator or of `handle`, or the reason of `stop`
 */
export async function forEachAtOnce<T>(
  items: AsyncIterator<T, unknown, undefined>,
  concurrency: number,
  handle: (item: T) => Promise<void>,
  stop?: AbortSignal,
): Promise<void> {
  const failures: unknown[] = [];
  const work = async (): Promise<void> => {
    try {
      while (failures.length === 0) {
        stop?.throwIfAborted();
        const { done, value } = await items.next();
        if (done === true) return;
        await handle(value);
      }
    } catch (error) {
      failures.push(error);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, work));
  if (failures.length > 0) throw failures[0];
}
