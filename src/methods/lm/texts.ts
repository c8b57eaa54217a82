import { inputText, type TextExample } from '../../data/index.ts';
import { f32, type HostTensor, i64, type TensorType } from '../../graph/index.ts';
import type { LanguageModel } from '../../hub/index.ts';
import type { Progress } from '../../nn/index.ts';
import { Random } from '../../runtime/index.ts';
import { batchOf, type Values } from '../../train/index.ts';
import type { TextTask } from './score.ts';

/** A text as a model reads it, and its target. */
export interface EncodedText {
  readonly ids: readonly number[];
  /** Which of two texts a token belongs to (encoders). */
  readonly types?: readonly number[];
  /** Tokens of the target; of an encoder one number: the class, or the value of a regression. */
  readonly target: readonly number[];
}

/** What a decoder reads before its target. */
const answerMark = ' answer:';

/** What a model that writes reads of a text. */
export const promptOf = (kind: LanguageModel['kind'], { parts }: Pick<TextExample, 'parts'>): string =>
  inputText({ parts }) + (kind === 'causal' ? answerMark : '');

/** Ids that end a target: those of the model, else of its tokenizer. */
export const endsOf = ({ eosIds, tokenizer }: LanguageModel): readonly number[] =>
  eosIds.length ? eosIds : [tokenizer.eosId ?? []].flat();

/** Tokens of what a model that writes reads, `most` of them: a decoder's lose their beginning, as their end says what is asked for. */
export function promptIds(
  { kind, tokenizer }: Pick<LanguageModel, 'kind' | 'tokenizer'>,
  example: Pick<TextExample, 'parts'>,
  most: number,
): readonly number[] {
  const ids = tokenizer.encode(promptOf(kind, example));
  return kind === 'causal' ? ids.slice(-most) : cut(ids, most);
}

/** Tokens of a text for `model`: `maxLength` at most, of which a decoder's target has its part. Throws where a label is missing. */
export function encodeText(
  model: LanguageModel,
  task: TextTask,
  example: TextExample,
  maxLength: number,
): EncodedText {
  const { kind, tokenizer } = model;
  if (kind === 'encoder') {
    const value = task.kind === 'regression' ? example.score : example.label;
    if (value === undefined || task.kind === 'text') {
      throw new Error(
        `${example.id}: an encoder needs classes or numbers; for other targets take a model that writes`,
      );
    }
    const [first = '', ...rest] = Object.values(example.parts);
    const second = rest.join(' ');
    if (second) return { ...tokenizer.encodePair(first, second, maxLength), target: [value] };
    return { ids: cut(tokenizer.encode(first), maxLength), target: [value] };
  }
  const ends = endsOf(model).slice(0, 1);
  if (kind === 'seq2seq') {
    const written = tokenizer.encode(example.target);
    const target = ends.includes(written.at(-1)!) ? written : [...written, ...ends];
    return { ids: promptIds(model, example, maxLength), target: target.slice(0, maxLength) };
  }
  const written = tokenizer.encode(` ${example.target}`).filter((id) => id !== tokenizer.bosId);
  const target = [...written, ...ends].slice(0, maxLength - 1);
  return { ids: [...promptIds(model, example, maxLength - target.length), ...target], target };
}

/** The first tokens, and the last one, which ends a text. */
const cut = (ids: readonly number[], most: number): readonly number[] =>
  ids.length > most ? [...ids.slice(0, most - 1), ids.at(-1)!] : ids;

/** Sizes that all batches of a run share. */
export interface TextShape {
  readonly batch: number;
  /** Tokens of a text, and of a target. */
  readonly length: number;
  readonly targetLength: number;
}

/** The least sizes into which these texts fit; lengths are multiples of 8. */
export function shapeOf(texts: readonly EncodedText[], batch: number): TextShape {
  const longest = (of: (t: EncodedText) => readonly number[]) =>
    texts.reduce((most, text) => Math.max(most, of(text).length), 1);
  return {
    batch,
    length: 8 * Math.ceil(longest((t) => t.ids) / 8),
    targetLength: longest((t) => t.target),
  };
}

/** Types of `batchValues`. */
export function batchTypes(
  { kind }: LanguageModel,
  task: TextTask,
  { batch, length, targetLength }: TextShape,
): Record<string, TensorType> {
  const ids = batchOf([batch, length], 'int64');
  const shared = { ids, mask: ids };
  if (kind === 'encoder') {
    const labels = batchOf([batch], task.kind === 'regression' ? 'float32' : 'int64');
    return { ...shared, types: ids, labels };
  }
  const targets = batchOf([batch, targetLength], 'int64');
  return { ...shared, labels: targets, ...(kind === 'causal' && { places: targets }) };
}

/** The tensors that `scoreOf` reads, of as many texts as a batch has. */
export function batchValues(
  { kind, tokenizer }: LanguageModel,
  task: TextTask,
  { length, targetLength }: TextShape,
  texts: readonly EncodedText[],
): Values {
  const rows = (width: number, fill: number, of: (text: EncodedText) => readonly number[]): HostTensor =>
    i64(
      texts.flatMap((text) => {
        const row = of(text);
        return [...row, ...Array<number>(width - row.length).fill(fill)];
      }),
      [texts.length, width],
    );
  const shared = {
    ids: rows(length, tokenizer.padId ?? 0, (t) => t.ids),
    mask: rows(length, 0, (t) => t.ids.map(() => 1)),
  };
  if (kind === 'encoder') {
    const values = texts.map((t) => t.target[0]!);
    const types = rows(length, 0, (t) => t.types ?? []);
    return { ...shared, types, labels: task.kind === 'regression' ? f32(values) : i64(values) };
  }
  const labels = rows(targetLength, -100, (t) => t.target);
  if (kind === 'seq2seq') return { ...shared, labels };
  // Each token is said where the one before it is read.
  const places = rows(targetLength, 0, (t) => t.target.map((_, i) => t.ids.length - t.target.length + i - 1));
  return { ...shared, labels, places };
}

/** Epochs over texts in a new order each, as a pure function of the step; an incomplete last batch is left out. */
export class TextBatches {
  readonly perEpoch: number;
  private order: { epoch: number; indices: Int32Array } | undefined;

  constructor(
    private readonly model: LanguageModel,
    private readonly task: TextTask,
    private readonly shape: TextShape,
    private readonly texts: readonly EncodedText[],
    private readonly seed: number,
  ) {
    this.perEpoch = Math.floor(texts.length / shape.batch);
  }

  at = ({ step }: Pick<Progress, 'step'>): Values => {
    const epoch = Math.floor(step / this.perEpoch);
    if (this.order?.epoch !== epoch) {
      const indices = new Random(this.seed, 'order', epoch).permutation(this.texts.length);
      this.order = { epoch, indices };
    }
    const from = (step % this.perEpoch) * this.shape.batch;
    const picked = Array.from(
      this.order.indices.subarray(from, from + this.shape.batch),
      (i) => this.texts[i]!,
    );
    return batchValues(this.model, this.task, this.shape, picked);
  };
}
