import { fillTemplate } from '../../data/index.ts';
import {
  constant,
  embedding,
  type HostTensor,
  i64,
  input,
  l2Normalize,
  type Tensor,
} from '../../graph/index.ts';
import type { ClipModel } from '../../hub/index.ts';
import { type Slots, textTower } from '../../models/clip/index.ts';
import { type Scope, trace } from '../../nn/index.ts';
import { compile } from '../../runtime/index.ts';

/** Where the soft tokens stand relative to the class name. */
export type ClassPosition = 'front' | 'middle' | 'end';

export interface PromptLayout {
  /** Token ids [C, L] with placeholders where soft tokens go, cut after the longest end token. */
  readonly ids: HostTensor<'int64'>;
  readonly slots: Slots;
}

/**
 * Lays out "X…X name." with `length` placeholders: before the name (class position `end`, CoOp's default), half on
 * each side (`middle`), or behind it (`front`). Throws when a sentence does not fit the context.
 */
export function layoutPrompts(
  model: ClipModel,
  classes: readonly string[],
  length: number,
  position: ClassPosition = 'end',
): PromptLayout {
  const { tokenizer } = model;
  const placeholder = tokenizer.encode('X')[1]!;
  const name = (text: string) => tokenizer.encode(text).slice(1, -1);
  const before = position === 'end' ? length : position === 'middle' ? Math.floor(length / 2) : 0;
  const sentences = classes.map((c) => {
    const words = name(c.replaceAll('_', ' '));
    const soft = (n: number) => new Array<number>(n).fill(placeholder);
    return {
      ids: [
        tokenizer.bosId!,
        ...soft(before),
        ...words,
        ...soft(length - before),
        ...name('.'),
        tokenizer.eosId!,
      ],
      slots: Array.from({ length }, (_, j) => 1 + (j < before ? j : j + words.length)),
    };
  });
  const longest = Math.max(...sentences.map((s) => s.ids.length));
  if (longest > model.config.text.context) {
    const worst = classes[sentences.findIndex((s) => s.ids.length === longest)];
    throw new Error(
      `${length} soft tokens and the class "${worst}" make ${longest} tokens; the model has room for ` +
        `${model.config.text.context}. Use fewer soft tokens or shorter class names`,
    );
  }
  // The tower is causal: what stands behind the end token cannot matter.
  const data = new BigInt64Array(classes.length * longest).fill(BigInt(tokenizer.padId ?? tokenizer.eosId!));
  sentences.forEach((s, row) => {
    s.ids.forEach((id, i) => {
      data[row * longest + i] = BigInt(id);
    });
  });
  return {
    ids: { dtype: 'int64', shape: [classes.length, longest], data },
    slots: sentences.map((s) => s.slots),
  };
}

/** Token embeddings [n, width] of the words of `text`, without start and end tokens. */
export async function wordEmbeddings(model: ClipModel, text: string): Promise<HostTensor<'float32'>> {
  const ids = model.tokenizer.encode(text).slice(1, -1);
  const { vocabulary, width } = model.config.text;
  const { result } = trace(model.weights, (s) => {
    const table = s.weight('text_model.embeddings.token_embedding.weight', [vocabulary, width]);
    return embedding(table, constant(i64(ids)));
  });
  const program = await compile({ rows: result });
  const { rows } = await program.run({});
  await program.release();
  return rows as HostTensor<'float32'>;
}

/**
 * Text features [C, D] of the classes, not normalised: of one template, or the normalised mean of the normalised
 * features of several (prompt ensembling, Radford et al. 2021).
 */
export async function templateFeatures(
  model: ClipModel,
  classes: readonly string[],
  templates: readonly string[],
): Promise<HostTensor<'float32'>> {
  const sentences = templates.flatMap((t) => classes.map((c) => fillTemplate(t, c)));
  return textFeatures(model, model.tokenizer.encodeBatch(sentences).ids, {}, (s, ids) => {
    const { features } = textTower(s, ids, model.config);
    if (templates.length === 1) return features;
    const each = l2Normalize(features).reshape([templates.length, classes.length, model.config.projection]);
    return l2Normalize(each.mean(0));
  });
}

/** Runs a text graph once. `params` are the values of the parameters that `build` declares. */
export async function textFeatures(
  model: ClipModel,
  ids: HostTensor<'int64'>,
  params: Record<string, HostTensor>,
  build: (scope: Scope, ids: Tensor) => Tensor,
): Promise<HostTensor<'float32'>> {
  const { result: features } = trace(model.weights, (s) => build(s, input('ids', ids.shape, 'int64')));
  const program = await compile({ features }, { name: 'text tower' });
  const feeds = Object.fromEntries(Object.entries(params).map(([name, value]) => [`param/${name}`, value]));
  const out = await program.run({ ids, ...feeds });
  await program.release();
  return out.features as HostTensor<'float32'>;
}
