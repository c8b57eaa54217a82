import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { TextExample } from '../../data/index.ts';
import { constant, i64, type Tensor, toFloat32 } from '../../graph/index.ts';
import type { LanguageModel } from '../../hub/index.ts';
import { trace } from '../../nn/index.ts';
import { runOnce } from '../../runtime/index.ts';
import { attach, type LanguageAdapter } from '../lm/adapter.ts';
import { promptName } from '../lm/prompts.ts';
import { isLanguageRun, loadLanguageAdapter } from '../lm/saved.ts';
import { batchValues, encodeText, shapeOf } from '../lm/texts.ts';

type Texts = readonly Pick<TextExample, 'id' | 'parts'>[];

/** cos(a, b), in [−1, 1]; 0 where one is zero. */
export function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    ab += a[i]! * b[i]!;
    aa += a[i]! ** 2;
    bb += b[i]! ** 2;
  }
  return aa && bb ? Math.max(-1, Math.min(1, ab / Math.sqrt(aa * bb))) : 0;
}

/** What an encoder with a task's prefix makes of texts. */
export interface TaskStates {
  /** Mean of the last layer's states at the first token [width]: the task's place in a space that tasks share. */
  readonly embedding: Float32Array;
  /** Which inner units of the feed-forward parts are active at the first token, in the mean over the texts: 1 or 0. */
  readonly active: readonly number[];
}

/** @param texts of the target, the same for all prefixes that are compared. */
export async function taskStates(
  model: LanguageModel,
  adapter: LanguageAdapter,
  texts: Texts,
): Promise<TaskStates> {
  const attached = await attach(model, adapter);
  if (attached.kind !== 'encoder') throw new Error(`${model.spec}: transferability is defined for encoders`);
  const { model: functions, task, adapt } = attached;
  const maxLength = Number(adapter.options.maxLength);
  const encoded = texts.map((e) =>
    encodeText(model, task, { ...e, target: '', label: 0, score: 0 }, maxLength),
  );
  const values = batchValues(model, task, shapeOf(encoded, encoded.length), encoded);
  const given = (name: string) => constant(i64(Array.from(values[name]!.data, Number), values[name]!.shape));
  const inner: Tensor[] = [];
  const first = (x: Tensor) => x.slice(1, 0, 1).mean([0, 1]);
  const { result } = trace(model.weights, (s) => {
    const scope = adapt(s).intercept({
      tap: {
        '**.intermediate.dense:out': (x) => {
          inner.push(first(x));
          return x;
        },
      },
    });
    const inputs = { tokens: given('ids'), mask: given('mask'), types: given('types'), readAt: 0 };
    return first(functions.encode(scope, inputs).last);
  });
  const units = Object.fromEntries(inner.map((x, i) => [`units/${i}`, x]));
  const out: Record<string, { data: ArrayLike<number | bigint> }> = await runOnce(
    { embedding: result, ...units },
    {},
  );
  return {
    embedding: Float32Array.from(out.embedding!.data, Number),
    active: inner.flatMap((_, i) => Array.from(out[`units/${i}`]!.data, (x) => Number(Number(x) > 0))),
  };
}

/** Predicted transferability between two tasks, by their prefixes: PANDA's own metric and those it is compared with. */
export interface Transferability {
  /** Cosine of the task embeddings (PANDA). */
  readonly sim: number;
  /** Cosine of the prefixes, averaged over positions (Vu et al. 2022). */
  readonly average: number;
  /** Overlap of the active neurons: cosine of which are active (Su et al. 2022; form from memory, unverified). */
  readonly neurons: number;
}

export async function transferability(
  model: LanguageModel,
  source: LanguageAdapter,
  target: LanguageAdapter,
  texts: Texts,
): Promise<Transferability> {
  const [s, t] = [await taskStates(model, source, texts), await taskStates(model, target, texts)];
  return {
    sim: cosine(s.embedding, t.embedding),
    average: cosine(averaged(source), averaged(target)),
    neurons: cosine(s.active, t.active),
  };
}

/** The mean of a prefix over its positions. */
function averaged({ tensors }: LanguageAdapter): Float64Array {
  const { data, shape } = toFloat32(tensors[promptName]!);
  const mean = new Float64Array(shape[1]!);
  data.forEach((x, i) => {
    mean[i % shape[1]!]! += x / shape[0]!;
  });
  return mean;
}

/** Runs of other tasks in the sub-folders of `bank`, the most transferable to `target` first. */
export async function rankSources(
  bank: string,
  model: LanguageModel,
  target: LanguageAdapter,
  texts: Texts,
): Promise<(Transferability & { readonly run: string })[]> {
  const ranked = [];
  for (const name of (await readdir(bank)).sort()) {
    const run = join(bank, name);
    if (!(await isLanguageRun(run))) continue;
    const source = await loadLanguageAdapter(run, model);
    if (!source.tensors[promptName]) continue;
    ranked.push({ run, ...(await transferability(model, source, target, texts)) });
  }
  return ranked.sort((a, b) => b.sim - a.sim);
}
