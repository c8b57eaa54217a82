/** Runs `work` over `items`, eight at a time; results in the items' order. */
export async function mapParallel<T, U>(
  items: readonly T[],
  work: (item: T) => Promise<U>,
  onProgress?: (done: number, total: number) => void,
): Promise<U[]> {
  const results = new Array<U>(items.length);
  let next = 0;
  let done = 0;
  const lane = async () => {
    while (next < items.length) {
      const i = next++;
      results[i] = await work(items[i]!);
      if (++done % 256 === 0 || done === items.length) onProgress?.(done, items.length);
    }
  };
  await Promise.all(Array.from({ length: 8 }, lane));
  return results;
}
