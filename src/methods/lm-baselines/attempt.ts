import { z } from 'zod';
import {
  concat,
  constant,
  type HostTensor,
  layerNorm,
  silu,
  softmax,
  type Tensor,
  where,
} from '../../graph/index.ts';
import { LOWEST, normalInit, onesInit, type Scope, zerosInit } from '../../nn/index.ts';
import { defineLanguageMethod, type Subject } from '../lm/method.ts';
import { tuningOptions } from '../lm/options.ts';
import { promptInit, promptName, promptOptions, promptRate, promptRateReason } from '../lm/prompts.ts';
import { sourcePrompt } from '../lm/source-prompt.ts';

const options = z.strictObject({
  ...promptOptions({ length: 20 }),
  sources: z
    .array(z.string())
    .default([])
    .describe('run folders of other tasks, whose frozen prompts of the same length are mixed'),
  width: z.int().positive().default(100).describe('units of the network that reads the text'),
  temperature: z
    .number()
    .nonnegative()
    .default(0)
    .describe('τ, by which the scores of the prompts are divided; 0: the width of the model times e'),
  networkRate: z.number().nonnegative().default(1e-3).describe('peak learning rate of that network'),
  ...tuningOptions({ rate: 0, why: promptRateReason }),
});
type Options = z.output<typeof options>;

/** P = P_target + Σ_j a_j P_j, where attention over the sources' prompts and the target's own depends on the text. */
export const attempt = defineLanguageMethod({
  name: 'attempt',
  summary: 'a soft prompt to which prompts of other tasks are added, in shares that depend on the text',
  paper: 'Asai et al., EMNLP 2022, arXiv 2205.11961',
  options,
  // The text of a decoder holds the target while it is trained.
  kinds: ['encoder', 'seq2seq'],
  async inject(subject, o) {
    const shape = [o.length, subject.model.model.width];
    const sources = await Promise.all(o.sources.map((folder) => sourcePrompt(folder, shape)));
    return {
      soft: {
        length: o.length,
        tokens: (s, embeddings, mask) => mixed(s, subject, o, sources, embeddings, mask).prompt,
      },
    };
  },
  rate: promptRate,
  rates: ({ networkRate }) => ({ 'attention.**': networkRate }),
});

/** The prompts of a batch [B, m, d] and the shares [B, t + 1] of the sources and, last, the target. */
export function mixed(
  s: Scope,
  subject: Subject,
  o: Options,
  sources: readonly HostTensor[],
  embeddings: Tensor,
  mask?: Tensor,
): { prompt: Tensor; shares: Tensor } {
  const [batch, length, width] = embeddings.shape as [number, number, number];
  const target = s.param(promptName, [o.length, width], promptInit(subject, o));
  const prompts = [...sources.map((source) => constant(source)), target];
  const at = s.at('attention');
  const shown = mask ? where(mask.cast('bool').reshape([batch, length, 1]), embeddings, LOWEST) : embeddings;
  const down = at.param('down.weight', [o.width, width], normalInit(0.02));
  const up = at.param('up.weight', [width, o.width], normalInit(0.02));
  const inner = silu(shown.max(1).matmul(down, { transB: true })).matmul(up, { transB: true });
  const query = layerNorm(
    inner,
    at.param('norm.weight', [width], onesInit),
    at.param('norm.bias', [width], zerosInit),
  );
  const scores = prompts.map((p) => query.mul(p.max(0)).sum(-1, true));
  const tau = o.temperature || width * Math.E;
  const shares = softmax(concat(scores, 1).mul(1 / tau));
  const prompt = prompts.reduce(
    (sum, p, j) => sum.add(p.mul(shares.slice(1, j, j + 1).reshape([batch, 1, 1]))),
    target.expand([batch, o.length, width]),
  );
  return { prompt, shares };
}
