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
import { placeTokens, type Slots, textTower } from '../../models/clip/index.ts';
import { type Scope, trace } from '../../nn/index.ts';
import { runOnce } from '../../runtime/index.ts';

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
  const longest = Math.max(...sentences.map((s) => s.ids.length));
  const { context } = model.config.text;
  if (longest > context) {
    const worst = classes[sentences.findIndex((s) => s.ids.length === longest)];
    throw new Error(
      `${length} soft tokens and the class "${worst}" make ${longest} tokens; the model has room for ${context}. ` +
        'Use fewer soft tokens or shorter class names',
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

/** Text features [C, D] of the sentences of `layout` with soft tokens in their slots: [M, width], or [C, M, width]. */
export function promptFeatures(
  scope: Scope,
  ids: Tensor,
  tokens: Tensor,
  model: ClipModel,
  { slots }: PromptLayout,
): Tensor {
  const prompted = scope.intercept({
    tap: { 'text_model.embeddings:tokens': (x) => placeTokens(x, tokens, slots) },
  });
  return textTower(prompted, ids, model.config).features;
}

/** Token ids without start and end tokens. */
const wordIds = ({ tokenizer }: ClipModel, text: string): number[] => tokenizer.encode(text).slice(1, -1);

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
  const { tokenizer, config } = model;
  const { context } = config.text;
  const sentences = templates.flatMap((t) => classes.map((c) => fillTemplate(t, c)));
  const long = sentences.find((s) => tokenizer.encode(s).length > context);
  if (long !== undefined) {
    throw new Error(
      `"${long}" is ${tokenizer.encode(long).length} tokens; the model has room for ${context}. ` +
        'Use a shorter class name or template',
    );
  }
  return textFeatures(model, tokenizer.encodeBatch(sentences, { maxLength: context }).ids, {}, (s, ids) => {
    const { features } = textTower(s, ids, config);
    if (templates.length === 1) return features;
    const each = l2Normalize(features).reshape([templates.length, classes.length, config.projection]);
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
  const feeds = Object.fromEntries(Object.entries(params).map(([name, value]) => [`param/${name}`, value]));
  const out = await runOnce({ features }, { ids, ...feeds }, { name: 'text tower' });
  return out.features as HostTensor<'float32'>;
}
