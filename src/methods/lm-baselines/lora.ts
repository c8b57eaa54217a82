import { z } from 'zod';
import { norm, stopGradient, toFloat32, type Weight } from '../../graph/index.ts';
import {
  type Initializer,
  type Intercept,
  type Interceptors,
  linearInit,
  zerosInit,
} from '../../nn/index.ts';
import { familyOf, type Module, modulesOf, targeted } from '../lm/families.ts';
import { defineLanguageMethod } from '../lm/method.ts';
import { targetsOption, tuningOptions } from '../lm/options.ts';

const pattern = z.record(z.string(), z.number()).default({});

/** W + (α/r)·B·A with A [r, in] and B [out, r], as in `peft`; parameters `PATH.lora_A`, `PATH.lora_B`, `PATH.lora_magnitude_vector`. */
export const lora = defineLanguageMethod({
  name: 'lora',
  summary: 'adds a product of two small matrices to some of the weights; also rsLoRA and DoRA',
  paper:
    'Hu et al., ICLR 2022, arXiv 2106.09685; rsLoRA: Kalajdzievski, arXiv 2312.03732; DoRA: Liu et al., ICML 2024, arXiv 2402.09353',
  options: z.strictObject({
    rank: z.int().positive().default(8).describe('r'),
    alpha: z.number().positive().default(16).describe('α: the product is scaled by α / r'),
    targets: targetsOption('the matrices', 'queries and values, as in peft'),
    rankStabilized: z.boolean().default(false).describe('scale by α / √r (rsLoRA)'),
    dora: z
      .boolean()
      .default(false)
      .describe('train the lengths of the rows apart from their directions (DoRA)'),
    bias: z
      .enum(['none', 'all', 'lora_only'])
      .default('none')
      .describe('which biases are trained too: none, all, those of the adapted matrices'),
    rankPattern: pattern.describe('other ranks, by path or a regular expression of its end'),
    alphaPattern: pattern.describe('other α, likewise'),
    ...tuningOptions({ rate: 1e-3 }),
  }),
  inject({ model }, o) {
    const family = familyOf(model);
    const modules = targeted(modulesOf(model), o.targets.length ? o.targets : family.lora);
    const weight: Record<string, Intercept> = {};
    for (const module of modules) {
      const rank = patterned(o.rankPattern, module.path) ?? o.rank;
      const alpha = patterned(o.alphaPattern, module.path) ?? o.alpha;
      const scale = alpha / (o.rankStabilized ? Math.sqrt(rank) : rank);
      const stored = model.weights.get(`${module.path}.weight`)!;
      weight[`${module.path}.weight`] = adapted(module, {
        ...{ rank, scale, dora: o.dora, stored },
        transposed: family.transposed ?? false,
      });
    }
    return { intercept: { weight: { ...weight, ...biases(o.bias, modules) } } };
  },
});

interface Adapted {
  readonly rank: number;
  readonly scale: number;
  readonly dora: boolean;
  readonly transposed: boolean;
  readonly stored: Weight;
}

/** The adapted matrix, in the layout in which it is stored. */
const adapted =
  ({ path, inputs, outputs }: Module, { rank, scale, dora, transposed, stored }: Adapted): Intercept =>
  (w, { param }) => {
    const a = param(`${path}.lora_A`, [rank, inputs], linearInit);
    const b = param(`${path}.lora_B`, [outputs, rank], zerosInit);
    const sum = w.add(
      transposed ? a.matmul(b, { transA: true, transB: true, alpha: scale }) : b.matmul(a, { alpha: scale }),
    );
    if (!dora) return sum;
    const axis = transposed ? 0 : 1;
    const length = param(`${path}.lora_magnitude_vector`, [outputs], lengthsOf(stored, axis));
    // The length that a row happens to have is a constant (section 4.3 of the paper).
    const factor = length.div(stopGradient(norm(sum, 2, axis)));
    return sum.mul(transposed ? factor : factor.reshape([outputs, 1]));
  };

/** Lengths of the rows (axis 1) or columns of a stored matrix. */
const lengthsOf =
  (stored: Weight, axis: 0 | 1): Initializer =>
  async ([count]) => {
    const { data, shape } = toFloat32(await stored.load());
    const squares = new Float64Array(count!);
    data.forEach((v, i) => {
      squares[axis ? Math.floor(i / shape[1]!) : i % shape[1]!]! += v * v;
    });
    return Float32Array.from(squares, Math.sqrt);
  };

const biases = (which: 'none' | 'all' | 'lora_only', modules: readonly Module[]) => {
  const train: Intercept = (_w, match) => match.train();
  if (which === 'none') return {};
  const names = which === 'all' ? ['**.bias'] : modules.flatMap((m) => (m.biased ? [`${m.path}.bias`] : []));
  return Object.fromEntries(names.map((name) => [name, train])) satisfies Interceptors['weight'];
};

/** The value whose key is the path, its end, or a regular expression of its end (`rank_pattern` of `peft`). */
export function patterned(values: Readonly<Record<string, number>>, path: string): number | undefined {
  const key = Object.keys(values).find((k) => new RegExp(`^(.*\\.)?(${k})$`).test(path));
  return key === undefined ? undefined : values[key];
}
