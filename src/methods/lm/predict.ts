import type { TextExample } from '../../data/index.ts';
import type { LanguageModel } from '../../hub/index.ts';
import { Generator } from '../../models/generation/index.ts';
import { type AdaptedModel, attach, injectionOf, type LanguageAdapter } from './adapter.ts';
import type { Injection } from './injection.ts';
import { TextScorer } from './scorer.ts';
import { encodeText, endsOf, promptIds, shapeOf } from './texts.ts';

/** What a model with an adapter says of a text. */
export interface TextPrediction {
  /** The class, the number, or what it wrote. */
  readonly text: string;
  /** Of an encoder's classification, one for each class. */
  readonly probabilities?: readonly number[];
}

const batchSize = 64;

/** A model with an adapter that says of texts what it was trained to say. Programs are kept until `release`. */
export class TextPredictor {
  private readonly scorers = new Map<string, Promise<TextScorer>>();

  private constructor(
    private readonly model: LanguageModel,
    private readonly adapter: LanguageAdapter,
    private readonly injection: Injection,
    private readonly writer: { readonly model: AdaptedModel; readonly generator: Generator } | undefined,
  ) {}

  static async open(model: LanguageModel, adapter: LanguageAdapter): Promise<TextPredictor> {
    const attached = await attach(model, adapter);
    const { adapt } = attached;
    const writer =
      attached.kind === 'encoder'
        ? undefined
        : { model: attached, generator: new Generator(attached, { adapt }) };
    return new TextPredictor(model, adapter, await injectionOf(model, adapter), writer);
  }

  /**
   * @param examples of which the parts count: targets and labels are not looked at.
   * @param maxNewTokens most tokens that a model which writes may write.
   */
  async predict(
    examples: readonly Pick<TextExample, 'id' | 'parts'>[],
    { maxNewTokens = 32, onProgress = () => {}, signal }: PredictOptions = {},
  ): Promise<TextPrediction[]> {
    const all: TextPrediction[] = [];
    for (let from = 0; from < examples.length; from += batchSize) {
      signal?.throwIfAborted();
      const own = examples.slice(from, from + batchSize);
      all.push(...(this.writer ? await this.write(own, maxNewTokens, signal) : await this.classify(own)));
      onProgress(all.length, examples.length);
    }
    return all;
  }

  private async write(
    examples: readonly Pick<TextExample, 'id' | 'parts'>[],
    maxNewTokens: number,
    signal?: AbortSignal,
  ): Promise<TextPrediction[]> {
    const { model, generator } = this.writer!;
    const ids = examples.map((e) => promptIds(model, e, this.maxLength));
    const given = { ids, eosIds: endsOf(this.model), ...(signal && { signal }) };
    const out = await generator.generate(given, { maxNewTokens });
    return out.ids.map((own) => ({ text: model.tokenizer.decode(own).trim() }));
  }

  private get maxLength(): number {
    return Number(this.adapter.options.maxLength);
  }

  private async classify(examples: readonly Pick<TextExample, 'id' | 'parts'>[]): Promise<TextPrediction[]> {
    const { task, tensors } = this.adapter;
    const unlabelled = { target: '', label: 0, score: 0 };
    const texts = examples.map((e) => encodeText(this.model, task, { ...e, ...unlabelled }, this.maxLength));
    const shape = shapeOf(texts, examples.length);
    const key = JSON.stringify(shape);
    const scorer = this.scorers.get(key) ?? TextScorer.compile(this.model, this.injection, task, shape);
    this.scorers.set(key, scorer);
    const { logits } = await (await scorer).score(tensors, texts);
    return logits.map((own) => {
      if (task.kind === 'regression') return { text: String(own[0]) };
      const probabilities = softmax(own);
      return { text: task.classes[probabilities.indexOf(Math.max(...probabilities))]!, probabilities };
    });
  }

  async release(): Promise<void> {
    await this.writer?.generator.release();
    for (const scorer of this.scorers.values()) await (await scorer).release();
    this.scorers.clear();
  }
}

export interface PredictOptions {
  readonly maxNewTokens?: number;
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal | undefined;
}

function softmax(logits: Float32Array): number[] {
  const top = Math.max(...logits);
  const powers = Array.from(logits, (x) => Math.exp(x - top));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((p) => p / sum);
}
