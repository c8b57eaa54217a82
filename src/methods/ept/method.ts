import { Matrix, SingularValueDecomposition } from 'ml-matrix';
import { z } from 'zod';
import {
  concat,
  constant,
  f32,
  type HostTensor,
  relu,
  rmsNorm,
  softmax,
  type Tensor,
} from '../../graph/index.ts';
import { constantInit, type Initializer, linearInit, type Scope, zerosInit } from '../../nn/index.ts';
import {
  lowRankPair,
  offsetByPosition,
  offsetNames,
  offsetOptions,
  offsetRows,
  rankOf,
} from '../dept/method.ts';
import { defineLanguageMethod, type Subject } from '../lm/method.ts';
import { tuningOptions } from '../lm/options.ts';
import {
  plainPrompt,
  promptInit,
  promptName,
  promptOptions,
  promptRate,
  promptRateReason,
} from '../lm/prompts.ts';

const options = z.strictObject({
  ...promptOptions({ length: 60 }),
  ...offsetOptions,
  inputOffset: z
    .boolean()
    .default(false)
    .describe('add the low-rank product to the embeddings of the text too, as DePT does'),
  fusion: z.boolean().default(true).describe('let the prompt attend to the product and to itself'),
  fusionStart: z.number().default(1).describe('what the trained strength γ of the fusion begins as'),
  spaces: z.int().nonnegative().default(4).describe('K, subspaces the prompt is projected into; 0: none'),
  spaceWidth: z.int().positive().default(2).describe('q, dimensions of a subspace'),
  ...tuningOptions({ rate: 0, why: promptRateReason }),
});
type Options = z.output<typeof options>;

/** A short prompt, rebuilt from itself, a low-rank product and projections into subspaces; folds to a plain prompt. */
export const ept = defineLanguageMethod({
  name: 'ept',
  summary: 'a short soft prompt that fuses a low-rank memory and mixes projections into several spaces',
  paper: 'Lan et al., AAAI 2025, arXiv 2405.11464 (equations partly reconstructed)',
  options,
  inject(subject, o) {
    const init = startOf(subject, o);
    return {
      soft: { length: o.length, tokens: (s) => rebuilt(s, subject, o, init).prompt },
      ...(o.inputOffset && { text: offsetByPosition((s) => pairOf(s, subject, o, init).product) }),
    };
  },
  folded(subject, o) {
    const init = startOf(subject, o);
    return {
      injection: {
        soft: plainPrompt(subject, o.length),
        ...(o.inputOffset && { text: offsetByPosition((s) => pairOf(s, subject, o, init).product) }),
      },
      tensors(s) {
        const { prompt, pair } = rebuilt(s, subject, o, init);
        return {
          [promptName]: prompt,
          // A tensor must be computed to be an output.
          ...(o.inputOffset && { [offsetNames.a]: pair!.a.mul(1), [offsetNames.b]: pair!.b.mul(1) }),
        };
      },
    };
  },
  rate: promptRate,
  rates: ({ offsetRate, sharedRate }): Record<string, number> =>
    sharedRate ? {} : { 'prompt_encoder.**': offsetRate },
});

/** Numbers that the modules hold beside the prompt and the pair. */
const extras = ({ fusion, spaces, spaceWidth }: Options, width: number): number =>
  (fusion ? 1 : 0) + spaces * (2 * width * spaceWidth + width + 1);

const rowsOf = (o: Options): number => (o.inputOffset ? offsetRows(o.maxLength) : o.budget);

/** r from m·d + (n + d)·r + extras ≤ budget·d. */
export function eptRank(o: Options, width: number): number {
  const spent = Math.ceil(extras(o, width) / width);
  return rankOf({ ...o, budget: o.budget - (o.rank ? 0 : spent) }, width, rowsOf(o));
}

function pairOf(s: Scope, { model }: Subject, o: Options, init: Start) {
  const { width } = model.model;
  return lowRankPair(s, {
    ...{ rows: rowsOf(o), rank: eptRank(o, width), width, scale: o.inputOffset ? o.scale : 'paper' },
    ...(!o.inputOffset && { init }),
  });
}

interface Start {
  readonly prompt: Initializer;
  readonly a: Initializer;
  readonly b: Initializer;
}

/**
 * P⁰ [budget, d] as a prompt of that length begins; its first rows are the short prompt, its truncated SVD U Σ Vᵀ the pair:
 * A = U √Σ and B = √Σ Vᵀ.
 */
export function startOf(subject: Subject, o: Options): Start {
  const long = promptInit(subject, o);
  const width = subject.model.model.width;
  let drawn: Float32Array | undefined;
  let factors: { a: HostTensor<'float32'>; b: HostTensor<'float32'> } | undefined;
  const pair = () => {
    if (!drawn) throw new Error('ept: the prompt is drawn before its factors');
    factors ??= truncatedSvd(f32(drawn, [drawn.length / width, width]), eptRank(o, width));
    return factors;
  };
  return {
    async prompt(shape, random) {
      drawn = await long([Math.max(o.budget, o.length), width], random);
      factors = undefined;
      return drawn.slice(0, shape[0]! * width);
    },
    a: () => pair().a.data.slice(),
    b: () => pair().b.data.slice(),
  };
}

/** Balanced factors of the best approximation of that rank (Eckart & Young 1936): A [rows, r], B [r, columns], AᵀA = BBᵀ = Σᵣ. */
export function truncatedSvd(
  { data, shape }: HostTensor<'float32'>,
  rank: number,
): { a: HostTensor<'float32'>; b: HostTensor<'float32'> } {
  const [rows, columns] = shape as [number, number];
  const svd = new SingularValueDecomposition(Matrix.from1DArray(rows, columns, data), {
    autoTranspose: true,
  });
  const roots = svd.diagonal.map((value) => Math.sqrt(value ?? 0));
  const { leftSingularVectors: u, rightSingularVectors: v } = svd;
  const kept = Math.min(rank, roots.length);
  const a = new Float32Array(rows * rank);
  const b = new Float32Array(rank * columns);
  for (let k = 0; k < kept; k++) {
    for (let i = 0; i < rows; i++) a[i * rank + k] = u.get(i, k) * roots[k]!;
    for (let j = 0; j < columns; j++) b[k * columns + j] = v.get(j, k) * roots[k]!;
  }
  return { a: f32(a, [rows, rank]), b: f32(b, [rank, columns]) };
}

/** The rebuilt prompt P̂ = P_f + P_m [m, d], and what it is made of. */
export function rebuilt(s: Scope, subject: Subject, o: Options, init: Start) {
  const { width } = subject.model.model;
  const short = s.param(promptName, [o.length, width], init.prompt);
  const pair = o.fusion || o.inputOffset ? pairOf(s, subject, o, init) : undefined;
  const at = s.at('prompt_encoder');
  let prompt = short;
  let attention: Tensor | undefined;
  if (o.fusion) {
    const memory = concat([short, pair!.product], 0);
    // Embeddings have norms of hundreds in some models: their products would saturate the softmax.
    const [query, key] = [short, memory].map((x) =>
      rmsNorm(x, constant(f32(new Float32Array(width).fill(1)))),
    );
    attention = softmax(query!.matmul(key!, { transB: true, alpha: width ** -0.5 }));
    const strength = at.param('fusion.strength', [1], constantInit(o.fusionStart));
    prompt = prompt.add(attention.matmul(memory).mul(strength));
  }
  let gate: Tensor | undefined;
  if (o.spaces) {
    const mean = short.mean(0, true);
    const weights = at.param('gate.weight', [width, o.spaces], zerosInit);
    gate = softmax(mean.matmul(weights).add(at.param('gate.bias', [o.spaces], zerosInit)));
    for (let k = 0; k < o.spaces; k++) {
      const down = at.param(`spaces.${k}.down`, [o.spaceWidth, width], linearInit);
      const up = at.param(`spaces.${k}.up`, [width, o.spaceWidth], zerosInit);
      const projected = relu(short.matmul(down, { transB: true })).matmul(up, { transB: true });
      prompt = prompt.add(projected.mul(gate.slice(1, k, k + 1)));
    }
  }
  return { prompt, pair, attention, gate };
}
