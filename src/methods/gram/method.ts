import { z } from 'zod';
import { constant } from '../../graph/index.ts';
import { mapTree, trace, valueInit } from '../../nn/index.ts';
import { defineMethod } from '../method.ts';
import { promptAdapter } from '../vlm/prompt-adapter.ts';
import { fitPrompts, trainingOptions } from '../vlm/prompt-tuning.ts';
import type { PromptMethod } from '../vlm/prompting.ts';
import { hostNames, hosts, shapeOf } from './hosts.ts';
import { type Meta, metaDigest, readMeta } from './meta-file.ts';
import { type Regulate, regulator } from './regulator.ts';

/** Those of `fitPrompts`, where 0 stands for what the host takes. */
const { weightDecay, views } = trainingOptions({ ...hosts.coop.training, paper: '' });
const zeroFor = (what: string, unit: string) => `${what}; 0: the host's, ${unit}`;
const ofHost = {
  epochs: z
    .int()
    .nonnegative()
    .default(0)
    .describe(zeroFor('passes over the shots', '50 of coop, 5 of others')),
  batch: z.int().nonnegative().default(0).describe(zeroFor('images a step', '32 of coop, 4 of others')),
  learningRate: z
    .number()
    .nonnegative()
    .default(0)
    .describe(zeroFor('peak of the cosine, after one epoch at 1e-5', '0.002 of coop, 0.0035 of others')),
  weightDecay,
  views,
};

const options = z.strictObject({
  on: z
    .enum(hostNames)
    .default('coop')
    .describe('prompt method below: in the text tower, the vision tower, both (UNIGRAM: ivlp, maple)'),
  meta: z.string().default('').describe('file of attune meta-train; "": the one that comes with the model'),
  regulate: z.boolean().default(true).describe('pass gradients through the regulator'),
  ...ofHost,
});

/** R_φ* with constants. */
export function frozenRegulator({ regulator: form, phi }: Pick<Meta, 'regulator' | 'phi'>): Regulate {
  const values = mapTree(phi, (v) => constant(v));
  return (g, name) => {
    const { result, params } = trace('scratch', (s) => regulator(s.bind(values), form)(g, name));
    if (params.length > 0) throw new Error(`The meta file's regulator has no "${params[0]!.name}"`);
    return result;
  };
}

/** A host that begins at θ*, and whose raw gradients go through R_φ* before the optimizer sees them. */
export const regulated = (
  host: PromptMethod,
  meta: Pick<Meta, 'theta' | 'phi' | 'regulator'>,
): PromptMethod => ({
  ...host,
  async training(task) {
    const base = await host.training?.(task);
    const regulate = frozenRegulator(meta);
    return {
      ...base,
      init: ({ name }) => valueInit(meta.theta[name]!),
      gradients(raw, step) {
        const given = mapTree(raw, regulate);
        return base?.gradients?.(given, step) ?? given;
      },
    };
  },
});

/** Li et al. 2023: prompts whose initial values and gradients were meta-learned on image–text pairs. */
export const gram = defineMethod({
  name: 'gram',
  summary:
    'meta-learned initial prompts and a meta-learned regulator of their gradients, on another prompt method',
  paper: 'Li et al., ICCV 2023, arXiv 2303.06571',
  kind: 'tune',
  options,
  async *fit(task, o) {
    const meta = await readMeta(o.meta, task.model, o.on);
    const { training, prompting } = hosts[o.on];
    const used = o.regulate ? meta : { ...meta, regulator: 'none' as const };
    return yield* fitPrompts(task, regulated(prompting(shapeOf(meta.theta)), used), {
      ...o,
      epochs: o.epochs || training.epochs,
      batch: o.batch || training.batch,
      learningRate: o.learningRate || training.learningRate,
    });
  },
  digest: (model, o) => metaDigest(o.meta, model, o.on),
  restore: ({ options: o, tensors }) => promptAdapter(hosts[o.on].prompting(shapeOf(tensors)), tensors),
});
