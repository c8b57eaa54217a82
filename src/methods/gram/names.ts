const functionWords = new Set(
  'a an the this that these those it its of in on at by for from with without to into and or as is are be has shows show'.split(
    ' ',
  ),
);
const longestTerm = 3;

/**
 * A name for each cluster of captions: the run of up to three words with the highest tf-idf, a cluster being a document and
 * tf the share of its captions. Words of half of all clusters ("icon", "photo") are in no term. Among equals the
 * longest wins, so that it is "light bulb", not "bulb". Without any, the cluster's `fallback` caption, cut short.
 */
export function nameClusters(
  clusters: readonly (readonly string[])[],
  fallback: readonly string[],
): string[] {
  const runs = (text: string) =>
    text
      .toLowerCase()
      .split(/[^\p{L}\p{N}'’ -]+/u)
      .map((part) => part.split(/\s+/).filter((w) => /\p{L}/u.test(w)));
  const documentsOf = (documents: readonly ReadonlyMap<string, number>[]) => {
    const count = new Map<string, number>();
    for (const d of documents) for (const term of d.keys()) count.set(term, (count.get(term) ?? 0) + 1);
    return count;
  };
  /** How many captions of each cluster have a term. */
  const count = (terms: (text: string) => readonly string[]) =>
    clusters.map((captions) => {
      const seen = new Map<string, number>();
      for (const text of captions)
        for (const term of new Set(terms(text))) seen.set(term, (seen.get(term) ?? 0) + 1);
      return seen;
    });
  const words = documentsOf(count((text) => runs(text).flat()));
  const isCommon = (w: string) =>
    functionWords.has(w) || (clusters.length > 2 && words.get(w)! > clusters.length / 2);
  const terms = count((text) =>
    runs(text).flatMap((run) =>
      run.flatMap((_, from) =>
        Array.from({ length: longestTerm }, (_n, n) => run.slice(from, from + n + 1)).flatMap((term, n) =>
          term.length === n + 1 && !term.some(isCommon) ? [term.join(' ')] : [],
        ),
      ),
    ),
  );
  const documents = documentsOf(terms);
  return terms.map((seen, c) => {
    const score = (term: string) =>
      (seen.get(term)! / clusters[c]!.length) * Math.log((1 + clusters.length) / documents.get(term)!);
    const best = [...seen.keys()].sort(
      (a, b) => score(b) - score(a) || b.length - a.length || (a < b ? -1 : 1),
    )[0];
    return best ?? fallback[c]!.split(/\s+/).slice(0, 6).join(' ');
  });
}
