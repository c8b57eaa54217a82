import type { Judge } from './evaluate.ts';
import type { LabelledImages } from './images.ts';
import { joined } from './images.ts';

/** A task of a sequence: all have the same classes. */
export interface Task {
  readonly train: LabelledImages;
  readonly test: LabelledImages;
}

/**
 * Trains network number `n` on tasks in turn. Of a task that is over only its memory stays, as many condensed or random
 * images: it is repeated until old and new images are as many. Returns the accuracy on each task after the last.
 *
 * The paper's continual protocol could not be read: this is the plainest use of a condensed memory.
 */
export async function continual(
  judge: Judge,
  tasks: readonly Task[],
  memories: readonly (LabelledImages | undefined)[],
  n: number,
  signal?: AbortSignal,
): Promise<number[]> {
  let params: Awaited<ReturnType<Judge['train']>> | undefined;
  for (const [t, { train }] of tasks.entries()) {
    const kept = memories.slice(0, t).flatMap((memory) => memory ?? []);
    const count = kept.reduce((sum, memory) => sum + memory.labels.length, 0);
    const times = count === 0 ? 0 : Math.max(1, Math.round(train.labels.length / count));
    const seen = count === 0 ? train : joined([train, ...Array.from({ length: times }, () => kept).flat()]);
    params = await judge.train(seen, n, signal, params);
  }
  const accuracies: number[] = [];
  for (const { test } of tasks) accuracies.push(await judge.accuracy(params!, test));
  return accuracies;
}
