import type { Tensor } from '../../graph/index.ts';
import {
  activations,
  embedding,
  linear,
  normalInit,
  rmsNorm,
  type Scope,
  splitHeads,
} from '../../nn/index.ts';
import {
  attend,
  type CausalModel,
  hiding,
  type KeyValue,
  pastLength,
  positionsOf,
  project,
} from '../language/index.ts';
import type { LlamaConfig } from './config.ts';
import { rotation } from './rope.ts';

const init = normalInit(0.02);

/**
 * Decoders of LLaMA's kind (Touvron et al. 2023) by the names of `LlamaForCausalLM`: RMSNorm, rotated queries and keys,
 * grouped-query attention, gated feed-forward. Keys of a past are taken as they are; the text's rotations begin behind it.
 *
 * Taps: `model.embed_tokens:out` (token embeddings), `model.layers.*:in` and `:out`, `model.layers.*.self_attn:probabilities`,
 * `:in` and `:out` of `self_attn.{q,k,v,o}_proj` and `mlp.{gate,up,down}_proj`, `:out` of the three kinds of norms.
 */
export function llama(c: LlamaConfig): CausalModel {
  function attention(s: Scope, x: Tensor, rotate: (x: Tensor) => Tensor, bias?: Tensor, past?: KeyValue) {
    const heads = (name: string, count: number) =>
      splitHeads(project(s.at(name), x, count * c.headWidth, { bias: c.bias.qkv }), count);
    const normed = (name: string, of: Tensor) => (c.headNorm ? rmsNorm(s.at(name), of, c.eps) : of);
    const q = rotate(normed('q_norm', heads('q_proj', c.heads)));
    const own = {
      key: rotate(normed('k_norm', heads('k_proj', c.keyHeads))),
      value: heads('v_proj', c.keyHeads),
    };
    const mixed = attend(s, q, own, { past, bias });
    return { out: project(s.at('o_proj'), mixed, c.width, { bias: c.bias.output }), own };
  }

  function mlp(s: Scope, x: Tensor): Tensor {
    const options = { bias: c.bias.mlp };
    const gate = activations[c.activation](project(s.at('gate_proj'), x, c.mlpWidth, options));
    return project(
      s.at('down_proj'),
      gate.mul(project(s.at('up_proj'), x, c.mlpWidth, options)),
      c.width,
      options,
    );
  }

  const norm = (s: Scope, x: Tensor) => s.tap('out', rmsNorm(s, x, c.eps));
  const table = (s: Scope) => s.at('model').at('embed_tokens');
  const embed = (s: Scope, ids: Tensor) =>
    table(s).tap('out', embedding(table(s), ids, c.vocabulary, c.width, init));

  return {
    ...{ width: c.width, vocabulary: c.vocabulary, layers: c.layers, context: c.context },
    ...{ keyHeads: c.keyHeads, headWidth: c.headWidth },
    embed,
    decode(s, inputs) {
      const { tokens, mask, past } = inputs;
      const x = tokens.rank === 3 ? tokens : embed(s, tokens);
      const rotate = rotation(c.rope, positionsOf({ ...inputs, tokens: x }, c.context));
      const bias = hiding(x.dim(1), pastLength(inputs) + x.dim(1), true, mask);
      const hiddenStates = [x];
      const present: KeyValue[] = [];
      for (let i = 0; i < c.layers; i++) {
        const layer = s.at('model').at('layers').at(i);
        const input = layer.tap('in', hiddenStates[i]!);
        const normed = norm(layer.at('input_layernorm'), input);
        const { out, own } = attention(layer.at('self_attn'), normed, rotate, bias, past?.[i]);
        const attended = input.add(out);
        const inner = norm(layer.at('post_attention_layernorm'), attended);
        hiddenStates.push(layer.tap('out', attended.add(mlp(layer.at('mlp'), inner))));
        present.push(own);
      }
      return { hiddenStates, last: norm(s.at('model').at('norm'), hiddenStates.at(-1)!), present };
    },
    logits: (s, last) =>
      c.tied
        ? last.matmul(table(s).weight('weight', [c.vocabulary, c.width], init), { transB: true })
        : linear(s.at('lm_head'), last, c.vocabulary, { bias: false, init }),
  };
}
