import type { z } from 'zod';
import { Random } from '../../runtime/index.ts';
import { BeamSearch } from './beam.ts';
import { Cache, type Prompts } from './cache.ts';
import { type GenerationOptions, type generationOptions, parseGenerationOptions } from './options.ts';
import { type ProgramOptions, Programs, type Writer } from './programs.ts';
import { argmax, draw, narrow, restrict } from './scores.ts';

export interface GenerationInputs extends Prompts {
  /** Ids that end a text; none by default. */
  readonly eosIds?: readonly number[];
  readonly signal?: AbortSignal;
}

/** The tokens of one step, one a prompt: undefined where its text had ended. Beam search settles none before its end. */
export interface GenerationStep {
  /** From 1 on. */
  readonly step: number;
  readonly tokens: readonly (number | undefined)[];
}

export interface Generated {
  /** What was written after each prompt, the end token included. */
  readonly ids: readonly number[][];
  /** Of beam search: log-probability of each text over a power of its length. */
  readonly scores?: readonly number[];
}

/**
 * Writes with a language model, token by token, with a cache of keys and values. Programs are compiled for the sizes at hand and
 * kept for later calls, until `release`.
 */
export class Generator {
  private readonly programs: Programs;

  constructor(
    private readonly writer: Writer,
    options: ProgramOptions = {},
  ) {
    this.programs = new Programs(writer, options);
  }

  /**
   * Writes after each prompt; yields each step and returns the whole. Texts do not depend on what else is in the batch. Throws
   * where options are wrong, or prompt and new tokens do not fit the model's context.
   */
  async *stream(
    inputs: GenerationInputs,
    given: z.input<typeof generationOptions> = {},
  ): AsyncGenerator<GenerationStep, Generated> {
    const options = parseGenerationOptions(given);
    this.check(inputs, options);
    if (options.beams > 1) return yield* this.search(inputs, options);
    return yield* this.follow(inputs, options);
  }

  /** What `stream` returns. */
  async generate(inputs: GenerationInputs, options?: z.input<typeof generationOptions>): Promise<Generated> {
    const steps = this.stream(inputs, options);
    for (;;) {
      const { done, value } = await steps.next();
      if (done) return value;
    }
  }

  /** Frees all programs. */
  release(): Promise<void> {
    return this.programs.release();
  }

  private check({ ids, soft }: GenerationInputs, o: GenerationOptions): void {
    const { kind, model } = this.writer;
    if (ids.length === 0) throw new Error('generation: there is no prompt');
    if (soft && (soft.dtype !== 'float32' || soft.shape.length !== 2 || soft.shape[1] !== model.width)) {
      throw new Error(
        `generation: soft tokens must be float32[n,${model.width}], not ${soft.dtype}[${soft.shape}]`,
      );
    }
    const n = (soft?.shape[0] ?? 0) + (model.cacheBefore ?? 0);
    ids.forEach((row, i) => {
      if (row.length === 0)
        throw new Error(`generation: prompt ${i} has no tokens; begin it with the start token`);
      const wrong = row.find((id) => !(Number.isInteger(id) && id >= 0 && id < model.vocabulary));
      if (wrong !== undefined) {
        throw new Error(`generation: prompt ${i} has the token ${wrong}; the model has ${model.vocabulary}`);
      }
      // The last new token is not read again.
      if (kind === 'causal' && n + row.length + o.maxNewTokens - 1 > model.context) {
        throw new Error(
          `generation: ${n + row.length} tokens of prompt ${i} and maxNewTokens ${o.maxNewTokens} do not fit the ` +
            `model's context of ${model.context}: shorten the one or lower the other`,
        );
      }
    });
  }

  private read(inputs: GenerationInputs, o: GenerationOptions) {
    const { signal } = inputs;
    return Cache.read(this.writer, this.programs, inputs, { beams: o.beams, room: o.maxNewTokens, signal });
  }

  /** What penalties count as written before: not the encoder's text. */
  private histories({ ids }: GenerationInputs): number[][] {
    const { writer } = this;
    return ids.map((row) => (writer.kind === 'causal' ? [...row] : [writer.model.startId]));
  }

  /** Greedy, or sampling. */
  private async *follow(
    inputs: GenerationInputs,
    o: GenerationOptions,
  ): AsyncGenerator<GenerationStep, Generated> {
    const { eosIds = [], signal } = inputs;
    const { cache, logits } = await this.read(inputs, o);
    const histories = this.histories(inputs);
    const ids = histories.map((): number[] => []);
    const ended = ids.map(() => false);
    let scores =
      logits ??
      (await cache.write(
        histories.map((h) => h.at(-1)!),
        undefined,
        signal,
      ));
    for (let step = 1; ; step++) {
      const tokens = scores.map((own, row) => {
        if (ended[row]) return undefined;
        restrict(own, histories[row]!, step - 1, eosIds, o);
        if (o.sample) narrow(own, o);
        const token = o.sample ? draw(own, new Random(o.seed, 'generate', row, step)) : argmax(own);
        ids[row]!.push(token);
        histories[row]!.push(token);
        ended[row] = eosIds.includes(token);
        return token;
      });
      yield { step, tokens };
      if (step === o.maxNewTokens || ended.every(Boolean)) return { ids };
      scores = await cache.write(
        tokens.map((token) => token ?? 0),
        undefined,
        signal,
      );
    }
  }

  private async *search(
    inputs: GenerationInputs,
    o: GenerationOptions,
  ): AsyncGenerator<GenerationStep, Generated> {
    const { eosIds = [], signal } = inputs;
    const { cache, logits } = await this.read(inputs, o);
    const histories = this.histories(inputs);
    const searches = histories.map((history) => new BeamSearch(history, eosIds, o));
    const starts = histories.flatMap((h) => Array<number>(o.beams).fill(h.at(-1)!));
    const first = logits ? undefined : await cache.write(starts, undefined, signal);
    let scores = searches.map((_, i) => [logits ? logits[i]! : first![i * o.beams]!]);
    for (let step = 1; ; step++) {
      const order: number[] = [];
      const tokens: number[] = [];
      searches.forEach((search, i) => {
        const from = search.done ? [] : search.advance(scores[i]!);
        for (let beam = 0; beam < o.beams; beam++) {
          // Rows that no text needs go on as they are.
          order.push(i * o.beams + (from[beam] ?? beam));
          tokens.push(search.running[beam]?.tokens.at(-1) ?? 0);
        }
      });
      yield { step, tokens: searches.map(() => undefined) };
      if (searches.every(({ done }) => done)) {
        const best = searches.map((search) => search.best);
        return { ids: best.map((b) => [...b.tokens]), scores: best.map((b) => b.score) };
      }
      const rows = await cache.write(tokens, order, signal);
      scores = searches.map(({ running }, i) => rows.slice(i * o.beams, i * o.beams + running.length));
    }
  }
}
