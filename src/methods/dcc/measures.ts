/** What the claims measure beside accuracy: what a memory keeps, and how fast the tangent kernel turns. */
import { Random } from '../../runtime/index.ts';
import type { Lab } from '../reproduction.ts';
import { continual } from './continual.ts';
import { Judge, type Judged, judged } from './evaluate.ts';
import { type LabelledImages, mapped, subsetOf } from './images.ts';
import { Network, networkSeed } from './network.ts';
import { type Digits, imagesOfTrial, networks, type Plan, short, smallDigits } from './trials.ts';
import { kernelVelocity, tangentKernels } from './velocity.ts';

/** Images turned by a quarter: row y, column x come from row x, column 7 − y. */
const turned = (images: LabelledImages): LabelledImages => {
  const side = images.shape[1];
  return mapped(images, (v) => v.map((_, i) => v[(i % side) * side + side - 1 - Math.floor(i / side)]!));
};
/** Digits as they are, then others turned by a quarter. */
function twoTasks({ train, test }: Digits): Digits[] {
  const half = (which: number) =>
    subsetOf(
      train,
      Array.from({ length: train.labels.length }, (_, i) => i).filter((i) => i % 2 === which),
    );
  return [
    { train: half(0), test },
    { train: turned(half(1)), test: turned(test) },
  ];
}

/** Accuracy on the first task and mean over both after the second, by what is kept of the first. */
export async function memories(
  lab: Lab,
  { seeds, networks: count }: Plan,
): Promise<Record<'first task' | 'mean of both', Record<string, Judged>>> {
  const tasks = twoTasks(await smallDigits());
  const found: Awaited<ReturnType<typeof memories>> = { 'first task': {}, 'mean of both': {} };
  for (const kept of ['nothing', 'random', 'dc', 'dcc'] as const) {
    const [first, both]: [number[], number[]] = [[], []];
    for (const seed of seeds) {
      const judge = new Judge(networks.mlp, tasks[0]!.train.shape, { epochs: 20, learningRate: 0.02, seed });
      const trial = { ...short, imagesPerClass: 10 };
      const memory =
        kept === 'nothing'
          ? undefined
          : await imagesOfTrial(lab, tasks[0]!.train, { ...trial, method: kept }, seed, 'first task');
      for (let n = 0; n < count; n++) {
        const [old, fresh] = (await continual(judge, tasks, [memory], n, lab.signal)) as [number, number];
        first.push(old);
        both.push((old + fresh) / 2);
      }
      await judge.release();
    }
    found['first task'][kept] = judged(first);
    found['mean of both'][kept] = judged(both);
    lab.say(`  memory of ${kept}: ${(100 * judged(first).mean).toFixed(1)} % on the first task`);
  }
  return found;
}

/** Mean velocity of the tangent kernel over the first epochs of training on one set, of 20 test images. */
export async function velocity(
  lab: Lab,
  method: 'dc' | 'dcc',
  { seeds }: Plan,
  epochs: number,
): Promise<Judged> {
  const { train, test } = await smallDigits();
  const seen = test.tensor(Array.from({ length: 20 }, (_, i) => i));
  const network = new Network(networks.mlp, train.shape, { learningRate: 0.02, momentum: 0.9 });
  const values: number[] = [];
  for (const seed of seeds) {
    const images = await imagesOfTrial(lab, train, { ...short, method }, seed);
    let state = network.untrained(await network.fresh(networkSeed(seed, 'velocity')));
    const states = [state.params];
    for (let epoch = 0; epoch < epochs; epoch++) {
      state = await network.epoch(state, images, new Random(seed, 'velocity', epoch), epoch);
      states.push(state.params);
    }
    const kernels = await tangentKernels(network, states, seen);
    const each = kernels.slice(1).map((k, i) => kernelVelocity(kernels[i]!, k, 1));
    values.push(each.reduce((a, b) => a + b) / each.length);
  }
  await network.release();
  return judged(values);
}
