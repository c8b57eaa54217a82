import { Random } from '../../runtime/index.ts';
import { distance, kMeans, normalised, type Rows, row, scale } from './k-means.ts';
import { nameClusters } from './names.ts';

/** A cluster of captions that plays the role of a class. */
export interface Concept {
  readonly name: string;
  /** Clusters of its images: indices of pairs. */
  readonly domains: readonly (readonly number[])[];
}

/** Concepts that are near each other: what tasks are drawn from. */
export type Topic = readonly Concept[];

export interface HierarchyOptions {
  readonly topics: number;
  readonly concepts: number;
  readonly domains: number;
  /** Domains with fewer images are dropped, and concepts with fewer than two domains. */
  readonly smallest: number;
  readonly seed: number;
}

/**
 * The cross-modal hierarchy of image–text pairs: captions decide topics and, within them, concepts; images decide the
 * domains of a concept. Rows are features of the captions and of the images.
 */
export function hierarchy(
  captions: readonly string[],
  features: { readonly text: Rows; readonly image: Rows },
  o: HierarchyOptions,
): Topic[] {
  const [text, image] = [normalised(features.text), normalised(features.image)];
  const random = (...names: (string | number)[]) => new Random(o.seed, 'clusters', ...names);
  const all = captions.map((_, i) => i);
  const groups = kMeans(text, all, o.topics, random('topics'), true).map((topic, t) =>
    kMeans(text, topic, o.concepts, random('concepts', t), true),
  );
  const names = nameClusters(
    groups.flat().map((concept) => concept.map((i) => captions[i]!)),
    groups.flat().map((concept) => captions[central(text, concept)]!),
  );
  let next = 0;
  return groups.map((concepts, t) => {
    const byName = new Map<string, number[]>();
    // Two clusters of one name are one concept: a task could not tell them apart.
    for (const concept of concepts) {
      const name = names[next++]!;
      byName.set(name, [...(byName.get(name) ?? []), ...concept]);
    }
    return [...byName].flatMap(([name, members], c) => {
      const domains = kMeans(image, members, o.domains, random('domains', t, c), false).filter(
        (d) => d.length >= o.smallest,
      );
      return domains.length < 2 ? [] : [{ name, domains }];
    });
  });
}

/** The member nearest to the mean direction. */
function central(rows: Rows, members: readonly number[]): number {
  const mean = new Float32Array(rows.width);
  for (const i of members) {
    for (const [d, v] of row(rows, i).entries()) mean[d]! += v;
  }
  scale(mean);
  return members.reduce((a, b) => (distance(row(rows, b), mean) < distance(row(rows, a), mean) ? b : a));
}
