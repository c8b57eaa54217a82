import { baseAndNew, fewShot, openData, templateFor } from '../../data/index.ts';
import { cast, input, less, mul, sign, type Tensor } from '../../graph/index.ts';
import { loadClip } from '../../hub/index.ts';
import { trace } from '../../nn/index.ts';
import { compile } from '../../runtime/index.ts';
import { gradTree, TrainStep, type Values } from '../../train/index.ts';
import { zeroShot } from '../baselines/zero-shot.ts';
import type { Lab } from '../reproduction.ts';
import { ImageFeatures } from '../vlm/features.ts';
import { Batches, labelsOf, pixelsOf, rowsOf } from '../vlm/loop.ts';
import { promptLoss } from '../vlm/prompting.ts';
import { keepProbability } from './gradient-dropout.ts';
import { maskedWeights } from './masks.ts';
import { maskPrompting, type RamtOptions, ramt } from './method.ts';

export interface Conflict {
  readonly step: number;
  /** The mean of P over elements whose two gradients are of opposite signs. */
  readonly kept: number;
  /** L_b on the batch, less the teacher's own entropy: the KL divergence. */
  readonly divergence: number;
}

/** How gradients conflict along a training on the base classes of a built-in set, 16 shots, seed 1. */
export async function conflictAlongTraining(lab: Lab, name: string, rate: number): Promise<Conflict[]> {
  const o = ramt.options.parse({ learningRate: rate }) as RamtOptions;
  const model = await loadClip('zoo:icon-clip');
  const all = fewShot((await openData(name)).train, 16, { seed: 1, allowFewer: true });
  const { base: data } = baseAndNew(all);
  const template = templateFor(data.name);
  const hand = zeroShot.restore({ options: { ensemble: false }, tensors: {} });
  const classifier = await hand.classifier(model, data.classes, template);
  const method = maskPrompting(classifier, o, maskedWeights(model.config, o));
  const prompts = await method.prompts({ model, classes: data.classes, template });
  const features = new ImageFeatures(model);
  const sources = { features: rowsOf([await features.of(data)]), pixels: pixelsOf(model, [data]) };
  await features.release();
  const task = { model, train: data, val: data, template, seed: 1, fingerprint: '', features };
  const training = (await method.training!(task))!;
  const batches = new Batches(labelsOf(data), sources, { batch: o.batch, seed: 1, views: 1 });
  const inputs = Object.entries(training.inputs ?? {});
  const step = await TrainStep.compile({
    source: model.weights,
    batch: { ...batches.types, ...Object.fromEntries(inputs.map(([key, { type }]) => [key, type])) },
    build: (s, batch) => promptLoss(s, model, prompts, training, batch),
    optimizer: training.optimizer!,
    gradients: training.gradients,
  });

  const fed = Object.fromEntries(
    Object.entries(batches.types).map(([key, { shape, dtype }]) => [key, input(key, shape, dtype)]),
  );
  const { result, params } = trace(model.weights, (s) => promptLoss(s, model, prompts, training, fed));
  const tree = Object.fromEntries(params.map((p) => [p.name, p.tensor]));
  const [own, teacher] = [gradTree(result.loss, tree), gradTree(result.distillation!, tree)];
  const sums = Object.keys(tree).map((key) => {
    const [a, b] = [own[key]!, teacher[key]!];
    const conflict = cast(less(mul(sign(a), sign(b)), 0), 'float32');
    return [mul(keepProbability(a, b), conflict).sum(), conflict.sum()] as const;
  });
  const total = (i: 0 | 1): Tensor => sums.map((s) => s[i]).reduce((x, y) => x.add(y));
  const program = await compile({ kept: total(0).div(total(1).add(1e-9)), loss: result.distillation! });

  const totalSteps = o.epochs * batches.perEpoch;
  const points: Conflict[] = [];
  let state = await step.init(1);
  let entropy = 0;
  const at = (n: number) => ({
    step: n,
    epoch: Math.floor(n / batches.perEpoch),
    stepsPerEpoch: batches.perEpoch,
    totalSteps,
  });
  const judged = await batches.at(at(0));
  const measure = async (n: number) => {
    const values: Values = { ...judged };
    for (const [key, v] of Object.entries(state.params)) values[`param/${key}`] = v;
    const out = await program.run(values);
    return { step: n, kept: Number(out.kept.data[0]), divergence: Number(out.loss.data[0]) - entropy };
  };
  // At first student and teacher are one.
  entropy = (await measure(0)).divergence;
  for (let n = 0; n < totalSteps; n++) {
    lab.signal?.throwIfAborted();
    const extra = Object.fromEntries(inputs.map(([key, { at: draw }]) => [key, draw(at(n))]));
    ({ state } = await step.run(state, { ...(await batches.at(at(n))), ...extra }, at(n)));
    if ((n + 1) % Math.ceil(totalSteps / 10) === 0) {
      points.push(await measure(n + 1));
      lab.say(`conflicts at step ${n + 1} of ${totalSteps}`);
    }
  }
  await step.release();
  await program.release();
  return points;
}
