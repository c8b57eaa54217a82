import type { Random } from '../../runtime/index.ts';
import type { Topic } from './hierarchy.ts';

/** Whether support and query images of a concept come from two of its domains, or from one. */
export const gaps = ['different', 'same'] as const;

export interface TaskOptions {
  /** Concepts of a task (N). */
  readonly ways: number;
  /** Support images of a concept (K). */
  readonly shots: number;
  /** Query images of a concept (Q). */
  readonly queries: number;
  readonly gap: (typeof gaps)[number];
}

/** A classification task among concepts of one topic; images are indices of pairs, concept by concept. */
export interface MetaTask {
  readonly names: readonly string[];
  readonly support: readonly number[];
  readonly query: readonly number[];
}

/**
 * The topics that have enough concepts for a task.
 * @throws where there is none.
 */
export function richTopics(topics: readonly Topic[], o: TaskOptions): readonly Topic[] {
  const rich = topics.filter((concepts) => concepts.length >= o.ways);
  if (rich.length > 0) return rich;
  const most = Math.max(0, ...topics.map((concepts) => concepts.length));
  throw new Error(
    `no topic has ${o.ways} concepts with two domains of at least ${o.shots + o.queries} images (the largest has ` +
      `${most}): give more pairs, or lower --ways, --queries, --topics or --domains`,
  );
}

/**
 * Draws a task: a topic, N of its concepts, and for each two domains, K support images from the one and Q query images
 * from the other.
 */
export function drawTask(rich: readonly Topic[], o: TaskOptions, random: Random): MetaTask {
  const concepts = random.shuffle(rich[random.int(rich.length)]!).slice(0, o.ways);
  const images = concepts.map(({ domains }) => {
    const [a, b] = random.shuffle(domains).map((domain) => random.shuffle(domain));
    const others = o.gap === 'same' ? a!.slice(o.shots) : b!;
    return { support: a!.slice(0, o.shots), query: others.slice(0, o.queries) };
  });
  return {
    names: concepts.map(({ name }) => name),
    support: images.flatMap((i) => i.support),
    query: images.flatMap((i) => i.query),
  };
}
