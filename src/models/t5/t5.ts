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
  hiding,
  type KeyValue,
  pastLength,
  project,
  type Seq2SeqModel,
  type SequenceInputs,
} from '../language/index.ts';
import type { T5Config } from './config.ts';
import { bucketIds } from './relative.ts';

/**
 * T5 (Raffel et al. 2020) and mT5 by the names of `T5ForConditionalGeneration`: positions are biases of the scores by distance,
 * which the first layer of a stack has for all of it; scores are not divided by √d.
 *
 * Taps: `shared:out` (token embeddings), `{encoder,decoder}.block.*:in` and `:out`, `….layer.0.SelfAttention:probabilities`, the
 * decoder's `….layer.1.EncDecAttention:probabilities`, `:in` and `:out` of the matrices q, k, v and o of both, and of `wi` (or `wi_0`,
 * `wi_1`) and `wo` in `….DenseReluDense`, `:out` of each `layer_norm` and `final_layer_norm`.
 */
export function t5(c: T5Config): Seq2SeqModel {
  const inner = c.heads * c.headWidth;
  const wide = normalInit(c.width ** -0.5);
  const matrix = (s: Scope, x: Tensor, out: number, init = wide) => project(s, x, out, { bias: false, init });
  const normed = (s: Scope, x: Tensor) => s.tap('out', rmsNorm(s, x, c.eps));
  const norm = (s: Scope, x: Tensor) => normed(s.at('layer_norm'), x);
  const heads = (s: Scope, x: Tensor, init = wide) => splitHeads(matrix(s, x, inner, init), c.heads);
  const keyValue = (s: Scope, x: Tensor): KeyValue => ({
    key: heads(s.at('k'), x),
    value: heads(s.at('v'), x),
  });

  function attention(s: Scope, x: Tensor, own: KeyValue, bias?: Tensor, past?: KeyValue): Tensor {
    const q = heads(s.at('q'), x, normalInit((c.width * c.headWidth) ** -0.5));
    const mixed = attend(s, q, own, { past, bias, scale: 1 });
    return matrix(s.at('o'), mixed, c.width, normalInit(inner ** -0.5));
  }

  function feedForward(s: Scope, x: Tensor): Tensor {
    const at = s.at('DenseReluDense');
    const first = activations[c.activation](matrix(at.at(c.gated ? 'wi_0' : 'wi'), x, c.mlpWidth));
    const hidden = c.gated ? first.mul(matrix(at.at('wi_1'), x, c.mlpWidth)) : first;
    return matrix(at.at('wo'), hidden, c.width, normalInit(c.mlpWidth ** -0.5));
  }

  /** Biases of a stack's scores by distance [1, heads, length, keys], and what hides padding and the future. */
  function biases(stack: Scope, length: number, keys: number, causal: boolean, mask?: Tensor): Tensor {
    const at = stack.at('block').at(0).at('layer').at(0).at('SelfAttention').at('relative_attention_bias');
    const kinds = { count: c.buckets, maxDistance: c.maxDistance, bidirectional: !causal };
    const rows = embedding(at, bucketIds(length, keys, kinds), c.buckets, c.heads, wide).transpose([2, 0, 1]);
    const ofDistance = rows.reshape([1, c.heads, length, keys]);
    const hidden = hiding(length, keys, causal, mask);
    return hidden ? ofDistance.add(hidden) : ofDistance;
  }

  const embed = (s: Scope, ids: Tensor) =>
    s.at('shared').tap('out', embedding(s.at('shared'), ids, c.vocabulary, c.width, normalInit(1)));
  const embedded = (s: Scope, tokens: Tensor) => (tokens.rank === 3 ? tokens : embed(s, tokens));
  const final = (stack: Scope, x: Tensor) => normed(stack.at('final_layer_norm'), x);
  const across = (s: Scope, layer: number) =>
    s.at('decoder').at('block').at(layer).at('layer').at(1).at('EncDecAttention');

  return {
    ...{ width: c.width, vocabulary: c.vocabulary, layers: c.layers, decoderLayers: c.decoderLayers },
    ...{ keyHeads: c.heads, headWidth: c.headWidth, startId: c.startId, padId: c.padId },
    embed,
    encode(s, { tokens, mask }) {
      const stack = s.at('encoder');
      const hiddenStates = [embedded(s, tokens)];
      const length = hiddenStates[0]!.dim(1);
      const bias = biases(stack, length, length, false, mask);
      for (let i = 0; i < c.layers; i++) {
        const block = stack.at('block').at(i);
        const [first, second] = [0, 1].map((j) => block.at('layer').at(j)) as [Scope, Scope];
        const x = block.tap('in', hiddenStates[i]!);
        const [self, y] = [first.at('SelfAttention'), norm(first, x)];
        const attended = x.add(attention(self, y, keyValue(self, y), bias));
        hiddenStates.push(block.tap('out', attended.add(feedForward(second, norm(second, attended)))));
      }
      return { hiddenStates, last: final(stack, hiddenStates.at(-1)!) };
    },
    memory: (s, encoded) =>
      Array.from({ length: c.decoderLayers }, (_, i) => keyValue(across(s, i), encoded)),
    decode(s, inputs: SequenceInputs, memory, memoryMask) {
      const stack = s.at('decoder');
      const hiddenStates = [embedded(s, inputs.tokens)];
      const length = hiddenStates[0]!.dim(1);
      const bias = biases(stack, length, pastLength(inputs) + length, true, inputs.mask);
      const hidden = hiding(length, memory[0]!.key.dim(2), false, memoryMask);
      const present: KeyValue[] = [];
      for (let i = 0; i < c.decoderLayers; i++) {
        const block = stack.at('block').at(i);
        const [first, second, third] = [0, 1, 2].map((j) => block.at('layer').at(j)) as [Scope, Scope, Scope];
        const x = block.tap('in', hiddenStates[i]!);
        const [self, y] = [first.at('SelfAttention'), norm(first, x)];
        const own = keyValue(self, y);
        const attended = x.add(attention(self, y, own, bias, inputs.past?.[i]));
        const crossed = attended.add(attention(across(s, i), norm(second, attended), memory[i]!, hidden));
        hiddenStates.push(block.tap('out', crossed.add(feedForward(third, norm(third, crossed)))));
        present.push(own);
      }
      return { hiddenStates, last: final(stack, hiddenStates.at(-1)!), present };
    },
    logits(s, last) {
      const x = c.scaleScores ? last.mul(c.width ** -0.5) : last;
      if (!c.tied) return linear(s.at('lm_head'), x, c.vocabulary, { bias: false, init: normalInit(1) });
      const table = s.weight('shared.weight', [c.vocabulary, c.width], normalInit(1));
      return x.matmul(table, { transB: true });
    },
  };
}
