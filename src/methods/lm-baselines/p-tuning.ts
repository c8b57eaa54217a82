import { z } from 'zod';
import { concat, relu, sigmoid, split, type Tensor, tanh } from '../../graph/index.ts';
import { linear, normalInit, type Scope, uniformInit } from '../../nn/index.ts';
import { defineLanguageMethod, type Subject } from '../lm/method.ts';
import { tuningOptions } from '../lm/options.ts';
import { foldedPrompt } from '../lm/prompts.ts';

const options = z.strictObject({
  length: z.int().positive().default(20).describe('soft tokens'),
  encoder: z
    .enum(['lstm', 'mlp'])
    .default('mlp')
    .describe(
      'the network that makes them: a bidirectional LSTM with an MLP behind it (the paper), or an MLP (peft)',
    ),
  encoderWidth: z.int().nonnegative().default(0).describe('its units; 0: the width of the model'),
  encoderLayers: z.int().positive().default(2).describe('layers of the LSTM'),
  ...tuningOptions({ rate: 1e-3 }),
});
type Options = z.output<typeof options>;

/** Soft tokens that a small network makes of trained ones; what it makes in the end is kept, as in `peft`. */
export const pTuning = defineLanguageMethod({
  name: 'p-tuning',
  summary: 'soft tokens before the text, made by a small network while training',
  paper: 'Liu et al., 2021, arXiv 2103.10385',
  options,
  inject: (subject, o) => ({ soft: soft(subject, o) }),
  folded: (subject, o) => foldedPrompt(subject, soft(subject, o)),
});

const soft = (subject: Subject, o: Options) => ({
  length: o.length,
  tokens: (s: Scope) => encoded(s.at('prompt_encoder').trained(), subject, o),
});

function encoded(s: Scope, { model }: Subject, o: Options): Tensor {
  const { width } = model.model;
  const units = o.encoderWidth || width;
  const x = s.param('embedding.weight', [o.length, width], normalInit(1));
  if (o.encoder === 'mlp') {
    const first = relu(linear(s.at('mlp_head.0'), x, units));
    return linear(s.at('mlp_head.4'), relu(linear(s.at('mlp_head.2'), first, units)), width);
  }
  let y = x;
  for (let layer = 0; layer < o.encoderLayers; layer++) {
    y = concat(
      [false, true].map((reverse) => lstm(s.at('lstm_head'), y, units, layer, reverse)),
      1,
    );
  }
  return linear(s.at('mlp_head.2'), relu(linear(s.at('mlp_head.0'), y, 2 * units)), width);
}

/** One direction of one layer of torch.nn.LSTM over x [T, in], by its weight names: [T, units]. */
function lstm(s: Scope, x: Tensor, units: number, layer: number, reverse: boolean): Tensor {
  const bound = 1 / Math.sqrt(units);
  const init = uniformInit(-bound, bound);
  const of = (name: string, shape: number[]) =>
    s.weight(`${name}_l${layer}${reverse ? '_reverse' : ''}`, shape, init);
  const input = x
    .matmul(of('weight_ih', [4 * units, x.dim(1)]), { transB: true })
    .add(of('bias_ih', [4 * units]))
    .add(of('bias_hh', [4 * units]));
  const recurrent = of('weight_hh', [4 * units, units]);
  const order = Array.from({ length: x.dim(0) }, (_, t) => (reverse ? x.dim(0) - 1 - t : t));
  const outputs: Tensor[] = [];
  let h: Tensor | undefined;
  let c: Tensor | undefined;
  for (const t of order) {
    const own = input.slice(0, t, t + 1);
    const gates = h ? own.add(h.matmul(recurrent, { transB: true })) : own;
    const [i, f, g, o] = split(gates, [units, units, units, units], 1) as [Tensor, Tensor, Tensor, Tensor];
    const fresh = sigmoid(i).mul(tanh(g));
    c = c ? sigmoid(f).mul(c).add(fresh) : fresh;
    h = sigmoid(o).mul(tanh(c));
    outputs[t] = h;
  }
  return concat(outputs, 0);
}
