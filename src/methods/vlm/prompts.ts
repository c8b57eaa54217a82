import { fillTemplate } from '../../data/index.ts';
import { constant, embedding, type HostTensor, i64, l2Normalize, type Tensor } from '../../graph/index.ts';
import type { ClipModel } from '../../hub/index.ts';
import { deepText, type Slots, textTower } from '../../models/clip/index.ts';
import { type Scope, trace } from '../../nn/index.ts';
import { runOnce } from '../../runtime/index.ts';

/** Where the soft tokens stand relative to the class name. */
export const classPositions = ['front', 'middle', 'end'] as const;
export type ClassPosition = (typeof classPositions)[number];

/** Sentences with soft tokens in them. */
export interface PromptLayout {
  /** Token ids [C, L] with words or placeholders where soft tokens go, cut after the longest end token. */
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
  const before = position === 'end' ? length : position === 'middle' ? Math.floor(length / 2) : 0;
  const sentences = classes.map((c) => {
    const name = c.replaceAll('_', ' ');
    // Name and full stop may merge ("St." makes ".."), so they are encoded together and cut at the name's length.
    const words = wordIds(model, name).length;
    const [bos, ...rest] = tokenizer.encode(`${name}.`);
    const soft = (n: number) => new Array<number>(n).fill(placeholder);
    return {
      ids: [bos!, ...soft(before), ...rest.slice(0, words), ...soft(length - before), ...rest.slice(words)],
      slots: Array.from({ length }, (_, j) => 1 + (j < before ? j : j + words)),
    };
  });
  const ids = cutAfterEnd(
    model,
    sentences.map((s) => s.ids),
    (row) => `${length} soft tokens and the class "${classes[row]}" make`,
    'Use fewer soft tokens or shorter class names',
  );
  return { ids, slots: sentences.map((s) => s.slots) };
}

/** Lays out whole sentences, such as "a photo of a name.", whose first `length` tokens are soft (MaPLe). */
export function layoutSentences(
  model: ClipModel,
  sentences: readonly string[],
  length: number,
): PromptLayout {
  const ids = cutAfterEnd(
    model,
    sentences.map((s) => model.tokenizer.encode(s)),
    (row) => `"${sentences[row]}" is`,
    'Use a shorter class name or template',
  );
  const first = Array.from({ length }, (_, j) => 1 + j);
  return { ids, slots: sentences.map(() => first) };
}

/** Pads sentences to the longest: the tower is causal, so that what stands behind the end token cannot matter. */
export function cutAfterEnd(
  { tokenizer, config }: ClipModel,
  sentences: readonly (readonly number[])[],
  describe: (row: number) => string,
  way: string,
): HostTensor<'int64'> {
  const longest = Math.max(...sentences.map((s) => s.length));
  const { context } = config.text;
  if (longest > context) {
    const worst = sentences.findIndex((s) => s.length === longest);
    throw new Error(`${describe(worst)} ${longest} tokens; the model has room for ${context}. ${way}`);
  }
  const pad = tokenizer.padId ?? tokenizer.eosId!;
  const rows = sentences.flatMap((s) => [...s, ...new Array<number>(longest - s.length).fill(pad)]);
  return i64(rows, [sentences.length, longest]);
}

/** Text features [C, D] of the sentences of `layout` with soft tokens in their slots: [M, width], or [C, M, width]. */
export function promptFeatures(scope: Scope, tokens: Tensor, model: ClipModel, layout: PromptLayout): Tensor {
  const prompted = deepText(scope, [tokens], layout.slots);
  return textTower(prompted, constant(layout.ids), model.config).features;
}

/**
 * Text features [B, C, D] with soft tokens [B, M, width] of each image's own (CoCoOp): B · C sentences go through the
 * tower.
 */
export function promptFeaturesPerImage(
  scope: Scope,
  tokens: Tensor,
  model: ClipModel,
  { ids, slots }: PromptLayout,
): Tensor {
  const [batch, m, width] = tokens.shape as [number, number, number];
  const [classes, length] = ids.shape as [number, number];
  const n = batch * classes;
  const sentences = constant(ids).reshape([1, classes, length]).expand([batch, classes, length]);
  const each = tokens.reshape([batch, 1, m, width]).expand([batch, classes, m, width]);
  const repeated = { ids: sentences.reshape([n, length]), tokens: each.reshape([n, m, width]) };
  const prompted = deepText(scope, [repeated.tokens], new Array(batch).fill(slots).flat());
  return textTower(prompted, repeated.ids, model.config).features.reshape([batch, classes, -1]);
}

/** Token ids without start and end tokens. */
export const wordIds = ({ tokenizer }: ClipModel, text: string): number[] =>
  tokenizer.encode(text).slice(1, -1);

/** Token embeddings [n, width] of the words of `text`, without start and end tokens. */
export async function wordEmbeddings(model: ClipModel, text: string): Promise<HostTensor<'float32'>> {
  const ids = wordIds(model, text);
  const { vocabulary, width } = model.config.text;
  const { result } = trace(model.weights, (s) => {
    const table = s.weight('text_model.embeddings.token_embedding.weight', [vocabulary, width]);
    return embedding(table, constant(i64(ids)));
  });
  const { rows } = await runOnce({ rows: result }, {}, { name: 'token embeddings' });
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
  const { config } = model;
  const sentences = templates.flatMap((t) => classes.map((c) => fillTemplate(t, c)));
  const { ids } = layoutSentences(model, sentences, 0);
  return textFeatures(model, (s) => {
    const { features } = textTower(s, constant(ids), config);
    if (templates.length === 1) return features;
    const each = l2Normalize(features).reshape([templates.length, classes.length, config.projection]);
    return l2Normalize(each.mean(0));
  });
}

/** Runs a text graph without inputs once. */
export async function textFeatures(
  model: ClipModel,
  build: (scope: Scope) => Tensor,
): Promise<HostTensor<'float32'>> {
  const { result: features } = trace(model.weights, build);
  const out = await runOnce({ features }, {}, { name: 'text tower' });
  return out.features as HostTensor<'float32'>;
}
