import { z } from 'zod';
import { concat, constant, gather, type HostTensor, minimum, type Tensor, zeros } from '../../graph/index.ts';
import { loadAdapter } from '../../hub/index.ts';
import {
  type Initializer,
  linearInit,
  type Param,
  type Scope,
  valueInit,
  zerosInit,
} from '../../nn/index.ts';
import { defineLanguageMethod } from '../lm/method.ts';
import { tuningOptions } from '../lm/options.ts';
import {
  plainPrompt,
  promptInit,
  promptName,
  promptOptions,
  promptRate,
  promptRateReason,
} from '../lm/prompts.ts';

export const offsetNames = {
  a: 'prompt_encoder.lora_embedding_A',
  b: 'prompt_encoder.lora_embedding_B',
} as const;

/** The options of an offset of the embeddings, for a method's schema. */
export const offsetOptions = {
  rank: z
    .int()
    .nonnegative()
    .default(0)
    .describe('r of the low-rank pair; 0: what a prompt of `budget` tokens leaves beside the short one'),
  budget: z.int().positive().default(100).describe('tokens of the prompt whose parameters are to be spent'),
  scale: z
    .enum(['code', 'paper'])
    .default('code')
    .describe('c, by which the offset is scaled: 8 / √r as in the released code, or 1'),
  offsetRate: z.number().nonnegative().default(1e-3).describe('peak learning rate of the low-rank pair'),
  sharedRate: z.boolean().default(false).describe('give the pair the learning rate of the prompt instead'),
};
interface OffsetOptions {
  readonly length: number;
  readonly rank: number;
  readonly budget: number;
  readonly scale: 'code' | 'paper';
  readonly maxLength: number;
}

/**
 * r from m·d + (rows + d)·r ≤ budget·d (section 2.2 of the paper). Throws where nothing is left for the pair.
 * @param rows of A: the longest text, or as many as the source of a prompt has.
 */
export function rankOf({ length, rank, budget }: OffsetOptions, width: number, rows: number): number {
  const r = rank || Math.floor(((budget - length) * width) / (rows + width));
  if (r > 0) return r;
  throw new Error(
    `length ${length} leaves nothing of a budget of ${budget} tokens for the low-rank pair: shorten the prompt, or give a rank`,
  );
}

/** The low-rank pair A [rows, r] and B [r, width] of a scope, and c·A·B. */
export function lowRankPair(
  s: Scope,
  {
    rows,
    rank,
    width,
    scale,
    // Kaiming-uniform over the rank, and zeros, as in the released code.
    init = { a: linearInit, b: zerosInit },
  }: {
    rows: number;
    rank: number;
    width: number;
    scale: 'code' | 'paper';
    init?: { readonly a: Initializer; readonly b: Initializer };
  },
): { a: Tensor; b: Tensor; product: Tensor } {
  const a = s.param(offsetNames.a, [rows, rank], init.a);
  const b = s.param(offsetNames.b, [rank, width], init.b);
  return { a, b, product: a.matmul(b, { alpha: scale === 'code' ? 8 / Math.sqrt(rank) : 1 }) };
}

/** Adds the rows [rows, width] of `offsetOf` to a text's embeddings by position; positions behind them have none: `Injection.text`. */
export const offsetByPosition =
  (offsetOf: (s: Scope) => Tensor) =>
  (s: Scope, embeddings: Tensor, positions?: Tensor): Tensor => {
    const offset = offsetOf(s);
    const [rows, width, length] = [offset.dim(0), offset.dim(1), embeddings.dim(1)];
    // Padding may reach beyond the last of them.
    const over = constant(zeros([positions ? 1 : Math.max(1, length - rows), width]));
    const all = concat([offset, over], 0);
    const own = positions ? gather(all, minimum(positions, rows), 0) : all.slice(0, 0, length);
    return embeddings.add(own);
  };

/** Rows of A: `shapeOf` rounds the length of a text up to a multiple of 8. */
export const offsetRows = (maxLength: number): number => 8 * Math.ceil(maxLength / 8);

/** [P; E + c·A·B] with a short prompt P [m, d] and a low-rank offset of the text's embeddings, one row a position. */
export const dept = defineLanguageMethod({
  name: 'dept',
  summary: 'a short soft prompt and a low-rank offset of the word embeddings in place of a long prompt',
  paper: 'Shi & Lipani, ICLR 2024, arXiv 2309.05173',
  options: z.strictObject({
    ...promptOptions({ length: 60, init: 'text', text: 'Classify this text is postive or not:' }),
    length: z.int().nonnegative().default(60).describe('soft tokens; 0: the offset alone'),
    ...offsetOptions,
    source: z
      .string()
      .default('')
      .describe('run folder of another task, from whose prompt and pair this begins'),
    transfer: z
      .enum(['all', 'prompt', 'prompt-and-a'])
      .default('all')
      .describe(
        'what is taken of it: the prompt and the pair, the prompt, or both but for B, which begins at zero',
      ),
    ...tuningOptions({ rate: 0, why: promptRateReason }),
  }),
  inject(subject, o) {
    const { width } = subject.model.model;
    const rows = offsetRows(o.maxLength);
    const rank = rankOf(o, width, rows);
    return {
      ...(o.length && { soft: plainPrompt(subject, o.length, promptInit(subject, o)) }),
      text: offsetByPosition((s) => lowRankPair(s, { rows, rank, width, scale: o.scale }).product),
    };
  },
  rate: promptRate,
  rates: ({ offsetRate, sharedRate }): Record<string, number> =>
    sharedRate ? {} : { [offsetNames.a]: offsetRate, [offsetNames.b]: offsetRate },
  init: (_subject, o) => (o.source ? transferred(o) : ({ init }) => init),
});

/** Initial values from another task's run. */
function transferred({ source, transfer }: { source: string; transfer: 'all' | 'prompt' | 'prompt-and-a' }) {
  const taken = {
    all: [promptName, offsetNames.a, offsetNames.b],
    prompt: [promptName],
    'prompt-and-a': [promptName, offsetNames.a],
  }[transfer];
  return ({ name, shape, init }: Param): Param['init'] => {
    if (!(taken as string[]).includes(name)) return init;
    return async (...given) => {
      const stored: HostTensor | undefined = (await loadAdapter(source)).tensors[name];
      if (String(stored?.shape) === String(shape)) return valueInit(stored!)(...given);
      throw new Error(
        `${source}: "${name}" is ${stored ? `[${stored.shape}]` : 'missing'}, but [${shape}] is to begin from it`,
      );
    };
  };
}
