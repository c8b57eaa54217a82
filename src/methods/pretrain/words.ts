import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import {
  add,
  constant,
  gather,
  type HostTensor,
  i64,
  input,
  type Tensor,
  toFloat16,
} from '../../graph/index.ts';
import {
  type ByteBpeSpecial,
  type JsonObject,
  loadTokenizer,
  type Tokenizer,
  trainByteBpe,
  writeAtomic,
  writeByteTokenizer,
  writeSafetensors,
} from '../../hub/index.ts';
import { bert, parseBertConfig } from '../../models/bert/index.ts';
import { gpt2, parseGpt2Config } from '../../models/gpt2/index.ts';
import { seq2seqLoss } from '../../models/language/index.ts';
import { parseT5Config, t5 } from '../../models/t5/index.ts';
import {
  adafactor,
  adamw,
  chain,
  clipByGlobalNorm,
  cosine,
  crossEntropy,
  mapTree,
  type Scope,
  type Transform,
  type Tree,
  trace,
} from '../../nn/index.ts';
import { compile, Random } from '../../runtime/index.ts';
import { batchOf, type TrainEvent, TrainStep, train, type Values } from '../../train/index.ts';
import { corruptSpans, maskTokens } from './objectives.ts';
import { Blocks, bareIds, exercises, passagesOf, TokenStore } from './words-text.ts';

/** What `recipe.json` of a language model of the zoo may set. */
export const wordsRecipe = z.strictObject({
  objective: z.enum(['masked', 'span-corruption', 'causal']).describe('as BERT, T5 or GPT-2 were pretrained'),
  seed: z.int().default(1),
  steps: z.int().positive().describe('training steps'),
  batch: z.int().positive().describe('sequences a step'),
  length: z.int().positive().describe('tokens that a sequence has at most'),
  targetLength: z.int().positive().default(16).describe('tokens of a target (span corruption)'),
  supervised: z
    .number()
    .min(0)
    .max(1)
    .default(0.3)
    .describe('share of exercises from WordNet (span corruption)'),
  learningRate: z.number().positive(),
  warmupSteps: z.int().nonnegative(),
  weightDecay: z
    .number()
    .nonnegative()
    .describe('AdamW decay of matrices; biases, norms and embeddings have none'),
  vocabulary: z.int().positive().describe('tokens of the vocabulary, trained on the same text'),
  context: z.int().positive().describe('positions'),
  width: z.int().positive(),
  layers: z.int().positive(),
  heads: z.int().positive(),
  mlpWidth: z.int().positive(),
});
export type WordsRecipe = z.output<typeof wordsRecipe>;

export interface PretrainWordsOptions {
  readonly recipe: WordsRecipe;
  /** Where the model goes, in the layout of Hugging Face repositories, and the checkpoint beside it. */
  readonly dir: string;
  readonly resume?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (text: string) => void;
}

const sentinels = Array.from({ length: 32 }, (_, i) => `<extra_id_${i}>`);
const specials: Record<WordsRecipe['objective'], ByteBpeSpecial> = {
  masked: {
    first: ['[PAD]', '[CLS]', '[SEP]', '[MASK]'],
    single: ['[CLS]', 'A', '[SEP]'],
    pair: ['[CLS]', 'A', '[SEP]', 'B', '[SEP]'],
    roles: { pad_token: '[PAD]', cls_token: '[CLS]', sep_token: '[SEP]', mask_token: '[MASK]' },
  },
  'span-corruption': {
    first: ['<pad>', '</s>'],
    last: sentinels,
    single: ['A', '</s>'],
    pair: ['A', '</s>', 'B', '</s>'],
    roles: { pad_token: '<pad>', eos_token: '</s>' },
  },
  causal: {
    first: ['<|endoftext|>'],
    single: ['A'],
    pair: ['A', 'B'],
    roles: { bos_token: '<|endoftext|>', eos_token: '<|endoftext|>' },
  },
};

/** The config.json of the model. */
function configOf(r: WordsRecipe): JsonObject {
  if (r.objective === 'masked') {
    return {
      ...{ model_type: 'bert', architectures: ['BertForMaskedLM'], vocab_size: r.vocabulary },
      ...{ hidden_size: r.width, num_hidden_layers: r.layers, num_attention_heads: r.heads },
      ...{ intermediate_size: r.mlpWidth, max_position_embeddings: r.context, type_vocab_size: 2 },
      ...{ hidden_act: 'gelu', layer_norm_eps: 1e-12, pad_token_id: 0 },
    };
  }
  if (r.objective === 'span-corruption') {
    return {
      ...{ model_type: 't5', architectures: ['T5ForConditionalGeneration'], vocab_size: r.vocabulary },
      ...{ d_model: r.width, d_kv: r.width / r.heads, d_ff: r.mlpWidth, num_layers: r.layers },
      ...{ num_decoder_layers: r.layers, num_heads: r.heads, feed_forward_proj: 'relu' },
      ...{ pad_token_id: 0, eos_token_id: 1, decoder_start_token_id: 0, is_encoder_decoder: true },
    };
  }
  return {
    ...{ model_type: 'gpt2', architectures: ['GPT2LMHeadModel'], vocab_size: r.vocabulary },
    ...{ n_embd: r.width, n_layer: r.layers, n_head: r.heads, n_inner: r.mlpWidth },
    ...{ n_positions: r.context, activation_function: 'gelu_new', bos_token_id: 0, eos_token_id: 0 },
  };
}

/** An objective: the types of its batches, the loss, and the batch of a step from blocks of tokens. */
interface Objective {
  /** Tokens of a block. */
  readonly block: number;
  readonly between?: number;
  readonly types: Record<string, ReturnType<typeof batchOf>>;
  loss(s: Scope, batch: Tree): Tensor;
  batch(blocks: readonly number[][], random: Random): Values;
}

function objectiveOf(
  r: WordsRecipe,
  tokenizer: Tokenizer,
  exercise: (random: Random) => { source: string; target: string },
): Objective {
  const config = configOf(r);
  const ids = batchOf([r.batch, r.length], 'int64');
  if (r.objective === 'masked') return masked(r, bert(parseBertConfig(config)), tokenizer, ids);
  if (r.objective === 'causal') {
    const model = gpt2(parseGpt2Config(config));
    return {
      block: r.length + 1,
      between: tokenizer.eosId!,
      types: { ids: batchOf([r.batch, r.length + 1], 'int64') },
      loss(s, { ids: all }) {
        const { last } = model.decode(s, { tokens: all!.slice(1, 0, r.length) });
        return crossEntropy(model.logits(s, last), all!.slice(1, 1));
      },
      batch: (blocks) => ({ ids: i64(blocks.flat(), [r.batch, r.length + 1]) }),
    };
  }
  const model = t5(parseT5Config(config));
  // 15 % of the block in spans of three on average; a sentinel stands for each in the source, and before each in the target.
  const block = Math.floor((r.length - 1) / (1 - 0.15 + 0.05));
  const noise = Math.round(0.15 * block);
  const spans = Math.max(1, Math.round(noise / 3));
  const first = tokenizer.idOf(sentinels[0]!)!;
  return {
    block,
    types: { ids, mask: ids, labels: batchOf([r.batch, r.targetLength], 'int64') },
    loss: (s, { ids: tokens, mask, labels }) =>
      seq2seqLoss(s, model, { tokens: tokens!, mask }, labels!).loss,
    batch(blocks, random) {
      const pairs = blocks.map((own) => {
        if (random.uniform(0, 1) < r.supervised) {
          const { source, target } = exercise(random);
          return {
            source: shorten(tokenizer.encode(source), r.length),
            target: shorten(tokenizer.encode(target), r.targetLength),
          };
        }
        const { source, target } = corruptSpans(own, noise, spans, (i) => first + i, random);
        return {
          source: shorten([...source, tokenizer.eosId!], r.length),
          target: shorten([...target, tokenizer.eosId!], r.targetLength),
        };
      });
      const rows = (width: number, fill: number, of: (p: (typeof pairs)[number]) => readonly number[]) =>
        i64(
          pairs.flatMap((p) => [...of(p), ...Array<number>(width - of(p).length).fill(fill)]),
          [r.batch, width],
        );
      return {
        ids: rows(r.length, 0, (p) => p.source),
        mask: rows(r.length, 0, (p) => p.source.map(() => 1)),
        labels: rows(r.targetLength, -100, (p) => p.target),
      };
    },
  };
}

const shorten = (ids: readonly number[], most: number): readonly number[] =>
  ids.length > most ? [...ids.slice(0, most - 1), ids.at(-1)!] : ids;

function masked(
  r: WordsRecipe,
  model: ReturnType<typeof bert>,
  tokenizer: Tokenizer,
  ids: ReturnType<typeof batchOf>,
): Objective {
  const [cls, sep, maskId] = ['[CLS]', '[SEP]', '[MASK]'].map((token) => tokenizer.idOf(token)!) as [
    number,
    number,
    number,
  ];
  const hidden = Math.round(0.15 * r.length);
  const places = batchOf([r.batch, hidden], 'int64');
  const starts = Array.from({ length: r.batch }, (_, i) => i * r.length);
  return {
    block: r.length - 2,
    types: { ids, types: ids, places, labels: places },
    loss(s, batch) {
      const { last } = model.encode(s, { tokens: batch.ids!, types: batch.types });
      const rows = add(batch.places!, constant(i64(starts, [r.batch, 1]))).reshape([-1]);
      const states = gather(last.reshape([r.batch * r.length, r.width]), rows, 0);
      return crossEntropy(model.maskedLogits(s, states), batch.labels!.reshape([-1]));
    },
    batch(blocks, random) {
      const all = blocks.map((own) => {
        // One text, or two that follow each other, as pairs of sentences are read later.
        const cut = random.int(2) ? 1 + random.int(own.length - 2) : own.length;
        const [a, b] = [own.slice(0, cut), own.slice(cut, -1)];
        const whole = [cls, ...a, sep, ...(b.length ? [...b, sep] : [])];
        const types = whole.map((_, i) => (i > a.length + 1 ? 1 : 0));
        const mayHide = [...whole.keys()].filter((i) => i > 0 && whole[i] !== sep);
        const tokens = [4, r.vocabulary] as const;
        return { ...maskTokens(whole, mayHide, hidden, { maskId, tokens }, random), types };
      });
      return {
        ids: i64(
          all.flatMap((x) => x.ids),
          [r.batch, r.length],
        ),
        types: i64(
          all.flatMap((x) => x.types),
          [r.batch, r.length],
        ),
        places: i64(
          all.flatMap((x) => x.places),
          [r.batch, hidden],
        ),
        labels: i64(
          all.flatMap((x) => x.labels),
          [r.batch, hidden],
        ),
      };
    },
  };
}

/**
 * AdamW, or T5's own Adafactor, whose steps are shares of what a parameter is: its embeddings are twenty times as large as
 * those of other families.
 */
function optimizerOf(r: WordsRecipe): Transform {
  const lr = cosine(r.learningRate, { warmupSteps: r.warmupSteps });
  if (r.objective === 'span-corruption') return adafactor({ lr });
  const decayMask = (name: string) => !/bias$|norm|Norm|ln_|embeddings|wte|wpe/.test(name);
  return chain(clipByGlobalNorm(1), adamw({ lr, beta2: 0.98, weightDecay: r.weightDecay, decayMask }));
}

/**
 * Trains a language model from nothing on the built-in texts, and writes it as float16 with its tokenizer, its recipe, and in
 * evaluation.json the loss on texts of the test split, which training did not read.
 */
export async function* pretrainWords(o: PretrainWordsOptions): AsyncGenerator<TrainEvent, void> {
  const { recipe: r, dir, onProgress = () => {} } = o;
  const special = specials[r.objective];
  await mkdir(dir, { recursive: true });
  onProgress('reading texts');
  const passages = await passagesOf('train');
  const known = await loadTokenizer(dir).catch(() => undefined);
  if (!known) {
    onProgress('training the vocabulary');
    // Hundreds of languages would take the vocabulary from English.
    const texts = passages.filter((p) => p.source !== 'udhr').map((p) => p.text);
    await writeByteTokenizer(dir, trainByteBpe(texts, special, r.vocabulary), special, r.context);
  }
  const tokenizer = known ?? (await loadTokenizer(dir));
  const outer = new Set(special.first.map((token) => tokenizer.idOf(token)!));
  const storeOf = (all: typeof passages) => TokenStore.of(all.map((p) => bareIds(tokenizer, outer, p.text)));
  onProgress('encoding texts');
  const synsets = passages.flatMap((p) => (p.source === 'wordnet' ? [p] : []));
  const objective = objectiveOf(r, tokenizer, exercises(synsets));
  const blocks = new Blocks(storeOf(passages), objective.block, r.seed, objective.between);
  const step = await TrainStep.compile({
    source: 'scratch',
    batch: objective.types,
    build: (s, batch) => ({ loss: objective.loss(s, batch) }),
    optimizer: optimizerOf(r),
  });
  const { params, stopped } = yield* train({
    step,
    seed: r.seed,
    totalSteps: r.steps,
    stepsPerEpoch: Math.floor(blocks.perEpoch / r.batch),
    batch: (t) => batchOfStep(objective, blocks, r, t.step),
    dir,
    checkpointEvery: 100,
    resume: o.resume ?? false,
    fingerprint: JSON.stringify({ pretrain: 'words', recipe: r }),
    ...(o.signal && { signal: o.signal }),
  });
  await step.release();
  if (stopped === 'interrupted') return;
  const half = mapTree(params, (t) => toFloat16(t as HostTensor<'float32'>));
  await writeSafetensors(join(dir, 'model.safetensors'), half, { format: 'pt' });
  onProgress('loss on test texts');
  const plain = { ...r, supervised: 0, seed: r.seed + 1 };
  const test = new Blocks(storeOf(await passagesOf('test')), objective.block, plain.seed, objective.between);
  const loss = await heldOut(objectiveOf(plain, tokenizer, exercises(synsets)), params, test, plain);
  const files = {
    'config.json': configOf(r),
    'recipe.json': r,
    'evaluation.json': { testLoss: loss, perplexity: Math.exp(loss) },
  };
  for (const [name, content] of Object.entries(files)) {
    await writeAtomic(join(dir, name), [`${JSON.stringify(content, null, 2)}\n`]);
  }
}

const batchOfStep = ({ batch }: Objective, blocks: Blocks, r: WordsRecipe, step: number): Values =>
  batch(
    Array.from({ length: r.batch }, (_, i) => blocks.at(step * r.batch + i)),
    new Random(r.seed, 'objective', step),
  );

/** The mean loss of 100 batches, or of as many as there are texts for. */
async function heldOut(
  objective: Objective,
  params: Values,
  blocks: Blocks,
  r: WordsRecipe,
): Promise<number> {
  const batch = mapTree(objective.types, ({ shape, dtype }, name) => input(`batch/${name}`, shape, dtype));
  const { result, params: declared } = trace('scratch', (s) => ({ loss: objective.loss(s, batch) }));
  const program = await compile(result, { name: 'loss on test texts' });
  const fed = Object.fromEntries(declared.map(({ name }) => [`param/${name}`, params[name]!]));
  const count = Math.max(1, Math.min(100, Math.floor(blocks.perEpoch / r.batch)));
  let sum = 0;
  for (let i = 0; i < count; i++) {
    const values = Object.entries(batchOfStep(objective, blocks, r, i));
    const feeds = Object.fromEntries(values.map(([name, value]) => [`batch/${name}`, value]));
    sum += Number((await program.run({ ...fed, ...feeds })).loss.data[0]);
  }
  await program.release();
  return sum / count;
}
