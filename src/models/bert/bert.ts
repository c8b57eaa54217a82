import { cumSum, gelu, notEqual, type Tensor, tanh } from '../../graph/index.ts';
import {
  activations,
  embedding,
  layerNorm,
  normalInit,
  type Scope,
  splitHeads,
  zerosInit,
} from '../../nn/index.ts';
import {
  attend,
  type EncoderInputs,
  type EncoderModel,
  hiding,
  type KeyValue,
  pastLength,
  positionsOf,
  project,
} from '../language/index.ts';
import type { BertConfig } from './config.ts';

const init = normalInit(0.02);

/**
 * BERT (Devlin et al. 2019) by the names of `BertForMaskedLM` and `BertForSequenceClassification`, and RoBERTa (Liu et al.
 * 2019) by those of its classes, with `roberta` in place of `bert`.
 *
 * Taps: `bert.embeddings.word_embeddings:out` (token embeddings), `bert.embeddings:out` (with positions and types,
 * normalised), `bert.encoder.layer.*:in` and `:out`, `….attention.self:probabilities`, `:in` and `:out` of
 * `….attention.self.{query,key,value}`, `….attention.output.dense`, `….intermediate.dense` and `….output.dense`. With `readAt` those of the
 * last layer see one position, but for its `:in`, its keys and its values, unless its `:out` is tapped.
 */
export function bert(c: BertConfig): EncoderModel {
  const base = (s: Scope) => s.at(c.roberta ? 'roberta' : 'bert');
  const words = (s: Scope) => base(s).at('embeddings').at('word_embeddings');
  const norm = (s: Scope, x: Tensor) => layerNorm(s.at('LayerNorm'), x, c.eps);
  const embed = (s: Scope, ids: Tensor) =>
    words(s).tap('out', embedding(words(s), ids, c.vocabulary, c.width, init));
  const first = c.roberta ? c.padId + 1 : 0;

  /** RoBERTa counts the ids that are no padding, which itself has the position padId. */
  function positions(inputs: EncoderInputs): Tensor {
    const inOrder = positionsOf(inputs, c.positions, first);
    if (!c.roberta || inputs.positions || inputs.tokens.rank === 3) return inOrder;
    const real = notEqual(inputs.tokens, c.padId).cast('int64');
    return cumSum(real, 1).add(pastLength(inputs)).mul(real).add(c.padId);
  }

  function embeddings(s: Scope, inputs: EncoderInputs): Tensor {
    const at = base(s).at('embeddings');
    const x = inputs.tokens.rank === 3 ? inputs.tokens : embed(s, inputs.tokens);
    const types = at.weight('token_type_embeddings.weight', [c.types, c.width], init);
    const ofType = inputs.types
      ? embedding(at.at('token_type_embeddings'), inputs.types, c.types, c.width, init)
      : types.slice(0, 0, 1).reshape([1, 1, c.width]);
    // A tap may have made the text longer.
    const where = positions(x.dim(1) === inputs.tokens.dim(1) ? inputs : { ...inputs, tokens: x });
    const ofPosition = embedding(at.at('position_embeddings'), where, c.positions, c.width, init);
    return at.tap('out', norm(at, x.add(ofType).add(ofPosition)));
  }

  /** Of all positions, or of the one at `readAt` alone: [B, 1, width]. */
  function layer(s: Scope, input: Tensor, bias?: Tensor, past?: KeyValue, readAt?: number): Tensor {
    const x = s.tap('in', input);
    const read = readAt === undefined ? x : x.slice(1, readAt, readAt + 1);
    const self = s.at('attention').at('self');
    const heads = (name: string, of = x) => splitHeads(project(self.at(name), of, c.width), c.heads);
    const own = { key: heads('key'), value: heads('value') };
    const mixed = attend(self, heads('query', read), own, { past, bias });
    const output = s.at('attention').at('output');
    const attended = norm(output, read.add(project(output.at('dense'), mixed, c.width)));
    const inner = project(s.at('intermediate').at('dense'), attended, c.mlpWidth);
    const y = project(s.at('output').at('dense'), activations[c.activation](inner), c.width);
    return s.tap('out', norm(s.at('output'), attended.add(y)));
  }

  return {
    ...{ width: c.width, vocabulary: c.vocabulary, layers: c.layers, context: c.positions - first },
    ...{ keyHeads: c.heads, headWidth: c.width / c.heads, labels: c.labels, types: c.types },
    embed,
    encode(s, inputs) {
      const hiddenStates = [embeddings(s, inputs)];
      const length = hiddenStates[0]!.dim(1);
      const bias = hiding(length, pastLength(inputs) + length, false, inputs.mask);
      const at = (i: number) => base(s).at('encoder').at('layer').at(i);
      for (let i = 0; i < c.layers - 1; i++)
        hiddenStates.push(layer(at(i), hiddenStates[i]!, bias, inputs.past?.[i]));
      const final = c.layers - 1;
      const { readAt } = inputs;
      // Who taps the last layer's output is given all of it.
      const narrow = at(final).tapped('out') ? undefined : readAt;
      const last = layer(at(final), hiddenStates[final]!, bias, inputs.past?.[final], narrow);
      if (readAt === undefined) return { hiddenStates: [...hiddenStates, last], last };
      return { hiddenStates, last: narrow === undefined ? last.slice(1, readAt, readAt + 1) : last };
    },
    maskedLogits(s, last) {
      const head = c.roberta ? s.at('lm_head') : s.at('cls').at('predictions');
      const at = c.roberta ? head : head.at('transform');
      const inner = project(at.at('dense'), last, c.width);
      const act = c.roberta ? gelu : activations[c.activation];
      const y = layerNorm(at.at(c.roberta ? 'layer_norm' : 'LayerNorm'), act(inner), c.eps);
      const table = c.tied ? words(s) : head.at('decoder');
      const matrix = table.weight('weight', [c.vocabulary, c.width], init);
      return y.matmul(matrix, { transB: true }).add(head.weight('bias', [c.vocabulary], zerosInit));
    },
    pool(s, last) {
      const start = last.slice(1, 0, 1).reshape([last.dim(0), c.width]);
      return c.roberta ? start : tanh(project(base(s).at('pooler').at('dense'), start, c.width));
    },
    classify(s, pooled, classes = c.labels.length) {
      const head = s.at('classifier');
      if (!c.roberta) return project(head, pooled, classes);
      return project(head.at('out_proj'), tanh(project(head.at('dense'), pooled, c.width)), classes);
    },
  };
}
