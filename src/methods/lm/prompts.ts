import { z } from 'zod';
import { constant, type HostTensor, i64, type Tensor, toFloat32 } from '../../graph/index.ts';
import type { LanguageModel } from '../../hub/index.ts';
import { type Initializer, type Scope, trace, zerosInit } from '../../nn/index.ts';
import type { Random } from '../../runtime/index.ts';
import type { SoftTokens } from './injection.ts';
import type { Folded, Subject } from './method.ts';

/** A trained prompt: what methods save whose soft tokens do not depend on the text. [n, width] */
export const promptName = 'prompt_embeddings';

/** How soft tokens begin, for a method's schema. */
export const promptOptions = (d: { length: number; init?: 'vocabulary' | 'text'; text?: string }) => ({
  length: z.int().positive().default(d.length).describe('soft tokens'),
  init: z
    .enum(['vocabulary', 'text', 'labels', 'random'])
    .default(d.init ?? 'vocabulary')
    .describe(
      'what they begin as: embeddings of tokens drawn from the 5,000 most frequent, of a text, of the class names, or U(−0.5, 0.5)',
    ),
  initText: z
    .string()
    .default(d.text ?? '')
    .describe('the text of `init` text, repeated until it is long enough'),
});
export interface PromptOptions {
  readonly length: number;
  readonly init: 'vocabulary' | 'text' | 'labels' | 'random';
  readonly initText: string;
}

/** The model's table of token embeddings, float32 [vocabulary, width]. */
export async function embeddingTable({ model, weights }: LanguageModel): Promise<HostTensor<'float32'>> {
  const { weights: read } = trace('scratch', (s) => model.embed(s, constant(i64([0], [1, 1]))));
  const [name] = read;
  return toFloat32(await weights.get(name!)!.load());
}

/** The root of the mean square of token embeddings: the scale on which prompts move. */
export async function embeddingScale(model: LanguageModel): Promise<number> {
  const { data } = await embeddingTable(model);
  return Math.sqrt(data.reduce((sum, x) => sum + x * x, 0) / data.length);
}

/** Tokens from which vocabulary prompts are drawn: those of the first ids, which are the most frequent in the usual vocabularies. */
const frequent = 5000;

/** Initial soft tokens [n, width]. Throws where a text or class names are asked for that are not there. */
export function promptInit({ model, task }: Subject, o: PromptOptions): Initializer {
  if (o.init === 'random')
    return ([n, width], random) => random.fill(n! * width!, (r) => r.uniform(-0.5, 0.5));
  const { tokenizer } = model;
  const words = { text: o.initText.trim(), labels: task.classes.join(' '), vocabulary: ' ' }[o.init];
  if (words === '') {
    const missing = o.init === 'text' ? 'no text is given' : 'the task has no classes';
    throw new Error(`init "${o.init}": ${missing}; choose another init, such as vocabulary`);
  }
  const idsOf = (n: number, random: Random): number[] => {
    const drawn = random.permutation(Math.min(frequent, tokenizer.vocabSize));
    if (o.init === 'vocabulary') return Array.from(drawn.subarray(0, n));
    const ids = tokenizer.encode(words);
    // Class names begin the prompt (Lester et al. 2021); a text is repeated, its end token included, as in peft.
    return Array.from({ length: n }, (_, i) =>
      o.init === 'labels' ? (ids[i] ?? drawn[i % drawn.length]!) : ids[i % ids.length]!,
    );
  };
  return async ([n, width], random) => {
    const { data } = await embeddingTable(model);
    const rows = new Float32Array(n! * width!);
    idsOf(n!, random).forEach((id, i) => {
      rows.set(data.subarray(id * width!, (id + 1) * width!), i * width!);
    });
    return rows;
  };
}

/** Soft tokens that are a plain matrix of that name. */
export const plainPrompt = (
  { model }: Subject,
  length: number,
  init: Initializer = zerosInit,
): SoftTokens & { tokens(s: Scope): Tensor } => ({
  length,
  tokens: (s) => s.param(promptName, [length, model.model.width], init),
});

/** What a method whose prompt does not depend on the text leaves behind: a plain prompt. */
export const foldedPrompt = (
  subject: Subject,
  soft: { readonly length: number; tokens(s: Scope): Tensor },
): Folded => ({
  injection: { soft: plainPrompt(subject, soft.length) },
  tensors: (s) => ({ [promptName]: soft.tokens(s) }),
});

/** The peak learning rate of prompts: they must move on the scale of the embeddings, which differs a thousandfold between models. */
export const promptRate = async ({ model }: Subject): Promise<number> => 0.03 * (await embeddingScale(model));
export const promptRateReason = '0.03 of the root mean square of the token embeddings';
