import { split, type Tensor } from '../../graph/index.ts';
import {
  activations,
  embedding,
  type Initializer,
  layerNorm,
  linear,
  normalInit,
  type Scope,
  splitHeads,
  zerosInit,
} from '../../nn/index.ts';
import {
  attend,
  type CausalModel,
  hiding,
  type KeyValue,
  pastLength,
  positionsOf,
  type SequenceInputs,
} from '../language/index.ts';
import type { Gpt2Config } from './config.ts';

const init = normalInit(0.02);

/** x·W + b with `weight` [in, out], GPT-2's layout, and `bias`. Taps: `PATH:in`, `PATH:out`. */
function conv1d(s: Scope, x: Tensor, out: number, weightInit: Initializer = init): Tensor {
  const y = s.tap('in', x).matmul(s.weight('weight', [x.dim(-1), out], weightInit));
  return s.tap('out', y.add(s.weight('bias', [out], zerosInit)));
}

/**
 * GPT-2 (Radford et al. 2019) by the names of `GPT2LMHeadModel`.
 *
 * Taps: `transformer.wte:out` (token embeddings), `transformer.h.*:in` and `:out`, `transformer.h.*.attn:probabilities`,
 * `:in` and `:out` of `attn.c_attn`, `attn.c_proj`, `mlp.c_fc` and `mlp.c_proj` (whose input is the activated one).
 */
export function gpt2(c: Gpt2Config): CausalModel {
  const headWidth = c.width / c.heads;
  // Residual branches start smaller the more of them are summed.
  const residualInit = normalInit(0.02 / Math.sqrt(2 * c.layers));

  function layer(s: Scope, input: Tensor, index: number, bias?: Tensor, past?: KeyValue) {
    const x = s.tap('in', input);
    const attention = s.at('attn');
    const scale = (c.scaleScores ? headWidth ** -0.5 : 1) / (c.scaleByLayer ? index + 1 : 1);
    const qkv = conv1d(attention.at('c_attn'), layerNorm(s.at('ln_1'), x, c.eps), 3 * c.width);
    const [q, key, value] = split(qkv, [c.width, c.width, c.width], 2).map((t) => splitHeads(t, c.heads));
    const own = { key: key!, value: value! };
    const mixed = attend(attention, q!, own, { past, bias, scale });
    const attended = x.add(conv1d(attention.at('c_proj'), mixed, c.width, residualInit));

    const mlp = s.at('mlp');
    const inner = conv1d(mlp.at('c_fc'), layerNorm(s.at('ln_2'), attended, c.eps), c.mlpWidth);
    const y = conv1d(mlp.at('c_proj'), activations[c.activation](inner), c.width, residualInit);
    return { out: s.tap('out', attended.add(y)), own };
  }

  const table = (s: Scope) => s.at('transformer').at('wte');
  const embed = (s: Scope, ids: Tensor) =>
    table(s).tap('out', embedding(table(s), ids, c.vocabulary, c.width, init));

  return {
    ...{ width: c.width, vocabulary: c.vocabulary, layers: c.layers, context: c.context },
    ...{ keyHeads: c.heads, headWidth },
    embed,
    decode(s, inputs: SequenceInputs) {
      const model = s.at('transformer');
      const { tokens, mask, past } = inputs;
      const x = tokens.rank === 3 ? tokens : embed(s, tokens);
      const positions = positionsOf({ ...inputs, tokens: x }, c.context);
      const bias = hiding(x.dim(1), pastLength(inputs) + x.dim(1), true, mask);
      const hiddenStates = [x.add(embedding(model.at('wpe'), positions, c.context, c.width, init))];
      const present: KeyValue[] = [];
      for (let i = 0; i < c.layers; i++) {
        const { out, own } = layer(model.at('h').at(i), hiddenStates[i]!, i, bias, past?.[i]);
        hiddenStates.push(out);
        present.push(own);
      }
      return { hiddenStates, last: layerNorm(model.at('ln_f'), hiddenStates.at(-1)!, c.eps), present };
    },
    logits: (s, last) =>
      c.tied
        ? last.matmul(table(s).weight('weight', [c.vocabulary, c.width], init), { transB: true })
        : linear(s.at('lm_head'), last, c.vocabulary, { bias: false, init }),
  };
}
