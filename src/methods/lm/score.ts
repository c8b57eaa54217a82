import { add, all, argMax, constant, equal, gather, i64, or, type Tensor } from '../../graph/index.ts';
import type { LanguageFunctions } from '../../hub/index.ts';
import { shiftRight } from '../../models/language/index.ts';
import { crossEntropy, mse, type Scope, type Tree } from '../../nn/index.ts';

/** What is to be said of a text. */
export interface TextTask {
  readonly kind: 'classification' | 'regression' | 'text';
  readonly classes: readonly string[];
  /** Names of the parts of a text, in their order. */
  readonly parts: readonly string[];
}

/**
 * A batch of texts. `ids` int64 [B, T], padded on the right, `mask` int64 [B, T] of 1 and 0. For an encoder `types` int64 [B, T] and
 * `labels` [B]: int64 classes, or float32 numbers of a regression. Else `labels` int64 [B, K], the target's tokens, −100 as padding,
 * and for a decoder `places` int64 [B, K], where in the text each of them is said.
 */
export type TextTensors = Tree & { readonly ids: Tensor; readonly mask: Tensor; readonly labels: Tensor };

export interface Score {
  /** Mean cross-entropy, or squared error of a regression. */
  readonly loss: Tensor;
  /** [B, C] of an encoder, [B, 1] of its regression; [B, K, vocabulary] at the places of a target. */
  readonly logits: Tensor;
  /** What the logits are made of: [B, width] of an encoder, [B, K, width]. */
  readonly states: Tensor;
  /** Whether the likeliest class is the right one, or greedy decoding would write the target: float32 [B]; absent of a regression. */
  readonly right?: Tensor;
}

/** The functions of a model (with an injection) on a batch. An encoder's head is trained with the method, and its pooler where the file has none. */
export function scoreOf(
  s: Scope,
  functions: LanguageFunctions,
  heads: ReadonlySet<string>,
  task: TextTask,
  batch: TextTensors,
): Score {
  const { ids, mask, labels } = batch;
  const { kind, model } = functions;
  if (kind === 'encoder') {
    const { last } = model.encode(s, { tokens: ids, mask, types: batch.types, readAt: 0 });
    const pooled = model.pool(heads.has('pool') ? s : s.trained(), last);
    const regression = task.kind === 'regression';
    const logits = model.classify(s.trained(), pooled, regression ? 1 : task.classes.length);
    if (regression) return { logits, states: pooled, loss: mse(logits.reshape([ids.dim(0)]), labels) };
    const right = equal(argMax(logits), labels).cast('float32');
    return { logits, states: pooled, loss: crossEntropy(logits, labels), right };
  }
  const states =
    kind === 'seq2seq'
      ? model.decode(
          s,
          { tokens: shiftRight(labels, model) },
          model.memory(s, model.encode(s, { tokens: ids, mask }).last),
          mask,
        ).last
      : rowsAt(model.decode(s, { tokens: ids, mask }).last, ids.dim(1), batch.places!);
  const logits = model.logits(s, states);
  const said = or(equal(argMax(logits), labels), equal(labels, -100));
  return {
    logits,
    states,
    loss: crossEntropy(logits, labels),
    right: all(said, -1).cast('float32'),
  };
}

/** States [B, K, width] of the text's tokens at `places` [B, K]; what stands before the T tokens of the text does not count. */
function rowsAt(last: Tensor, length: number, places: Tensor): Tensor {
  const [batch, all, width] = last.shape as [number, number, number];
  const starts = constant(
    i64(
      Array.from({ length: batch }, (_, b) => b * all + all - length),
      [batch, 1],
    ),
  );
  return gather(last.reshape([batch * all, width]), add(places, starts), 0);
}
