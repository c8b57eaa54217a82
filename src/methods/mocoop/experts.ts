import {
  concat,
  constant,
  gather,
  type HostTensor,
  i64,
  l2Normalize,
  type Tensor,
  where,
} from '../../graph/index.ts';
import type { ClipModel } from '../../hub/index.ts';
import { textTower } from '../../models/clip/index.ts';
import { type Initializer, type Scope, zerosInit } from '../../nn/index.ts';
import type { Values } from '../../train/index.ts';
import { wordsInit } from '../vlm/context.ts';
import { cutAfterEnd, wordIds } from '../vlm/prompts.ts';

/** Soft tokens on one side of the class name: how many, and what they start from. */
interface Side {
  readonly length: number;
  readonly init: Initializer;
}
/** A soft prompt "before… name after…". */
export interface Expert {
  readonly before: Side;
  readonly after: Side;
}
const sides = ['before', 'after'] as const;

/** The expert that starts as `template` without its final full stop; its length is counted in tokens. */
export function expertOf(model: ClipModel, template: string): Expert {
  const [before, after] = template.replace(/\.$/, '').split('{}');
  const side = (text = '') => ({ length: wordIds(model, text).length, init: wordsInit(model, text) });
  return { before: side(before), after: side(after) };
}

/** Experts of the sizes that an adapter's tensors have. */
export function savedExperts(tensors: Values): Expert[] {
  const router = tensors['router.weight'];
  if (!router)
    throw new Error('The adapter has no tensor "router.weight", so that its experts cannot be told');
  const side = (name: string) => ({ length: tensors[name]?.shape[0] ?? 0, init: zerosInit });
  return Array.from({ length: router.shape[0]! }, (_, g) => ({
    before: side(`experts.${g}.before`),
    after: side(`experts.${g}.after`),
  }));
}

/** Sentences of all experts: row g·C + c is expert g around class c. */
export interface ExpertLayout {
  readonly experts: readonly Expert[];
  readonly classes: number;
  /** Token ids [G·C, L]. */
  readonly ids: HostTensor<'int64'>;
  /** Of each position, the row in the table of all soft tokens [G·C, L]; −1 where it is a word. */
  readonly rows: readonly number[];
}

/** Lays out [start, before, name, after, end]. Throws where a sentence does not fit the context. */
export function layoutExperts(
  model: ClipModel,
  classes: readonly string[],
  experts: readonly Expert[],
): ExpertLayout {
  const { tokenizer } = model;
  const [bos, placeholder] = tokenizer.encode('X') as [number, number];
  let next = 0;
  const sentences = experts.flatMap(({ before, after }) => {
    const soft = (length: number) => Array.from({ length }, () => ({ id: placeholder, row: next++ }));
    const [left, right] = [soft(before.length), soft(after.length)];
    const word = (id: number) => ({ id, row: -1 });
    return classes.map((c) => [
      word(bos),
      ...left,
      ...wordIds(model, c.replaceAll('_', ' ')).map(word),
      ...right,
      word(tokenizer.eosId!),
    ]);
  });
  const ids = cutAfterEnd(
    model,
    sentences.map((s) => s.map(({ id }) => id)),
    (row) => `The class "${classes[row % classes.length]}" with the soft tokens of its expert makes`,
    'Use shorter templates or class names',
  );
  const length = ids.shape[1]!;
  const rows = sentences.flatMap((s) => Array.from({ length }, (_, i) => s[i]?.row ?? -1));
  return { experts, classes: classes.length, ids, rows };
}

/**
 * Normalised text features [G, C, D] of all experts: normalise(tower + w), with the correction w [D] where there is one.
 * Trains `experts.G.before`, `experts.G.after` and `correction`.
 */
export function expertFeatures(
  s: Scope,
  model: ClipModel,
  { experts, classes, ids, rows }: ExpertLayout,
  correction: boolean,
): Tensor {
  const { width } = model.config.text;
  const parts = experts.flatMap((expert, g) =>
    sides.flatMap((side) => {
      const { length, init } = expert[side];
      return length ? [s.at('experts').at(g).param(side, [length, width], init)] : [];
    }),
  );
  const shape = [...ids.shape];
  const isSoft = constant({
    dtype: 'bool',
    shape: [...shape, 1],
    data: Uint8Array.from(rows, (r) => +(r >= 0)),
  });
  const at = constant(
    i64(
      rows.map((r) => Math.max(0, r)),
      shape,
    ),
  );
  const table = concat(parts, 0);
  const prompted = s.intercept({
    tap: { 'text_model.embeddings:tokens': (x) => where(isSoft, gather(table, at), x) },
  });
  const { features } = textTower(prompted, constant(ids), model.config);
  const corrected = correction
    ? features.add(s.param('correction', [model.config.projection], zerosInit))
    : features;
  return l2Normalize(corrected).reshape([experts.length, classes, -1]);
}
