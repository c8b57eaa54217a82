import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { TextExample } from '../../data/index.ts';
import {
  constant,
  f32,
  gather,
  type HostTensor,
  i64,
  logSoftmax,
  notEqual,
  type Tensor,
  toFloat32,
} from '../../graph/index.ts';
import { type LanguageModel, loadAdapter, saveAdapter } from '../../hub/index.ts';
import {
  adamw,
  chain,
  clipByGlobalNorm,
  linearWithWarmup,
  onesInit,
  perGroup,
  type Scope,
} from '../../nn/index.ts';
import { Random } from '../../runtime/index.ts';
import { batchOf, type TrainEvent, TrainStep, train, type Values } from '../../train/index.ts';
import { type Injection, inject } from '../lm/injection.ts';
import { tuningOptions } from '../lm/options.ts';
import { promptInit, promptName, promptRate, promptRateReason } from '../lm/prompts.ts';
import { drawTexts, type LanguageSettings, openTexts } from '../lm/run.ts';
import { scoreOf, type TextTensors } from '../lm/score.ts';
import { batchTypes, batchValues, type EncodedText, encodeText, shapeOf } from '../lm/texts.ts';
import { readSettings } from '../run-folder.ts';
import { version } from '../version.ts';
import { weightsDigest } from '../weights-digest.ts';
import { factorNames } from './mpt.ts';

const { evaluations: _, ...tuning } = tuningOptions({ rate: 0, why: promptRateReason });
export const mptSourceOptions = z.strictObject({
  lambda: z
    .number()
    .nonnegative()
    .default(0.9)
    .describe('λ, how much the teachers count; the default is from memory, unverified'),
  sampling: z
    .enum(['stochastic', 'all'])
    .default('stochastic')
    .describe('tasks of a step: at least two, drawn anew, or all'),
  factorRate: z.number().nonnegative().default(1e-2).describe('peak learning rate of the u_k and v_k'),
  seed: z.int().nonnegative().default(1).describe('of tasks, texts and initial values'),
  ...tuning,
});
export type MptSourceOptions = z.output<typeof mptSourceOptions>;

/** A source task: its trained prompt [m, width] and its texts. */
export interface SourceTask {
  readonly name: string;
  readonly prompt: HostTensor;
  readonly texts: readonly TextExample[];
}

/** The tasks of run folders of prompt tuning on texts, with the training texts that the runs had. */
export function openSources(dirs: readonly string[], signal?: AbortSignal): Promise<SourceTask[]> {
  return Promise.all(
    dirs.map(async (dir) => {
      const settings = await readSettings<LanguageSettings>(dir);
      const { data, count, seed } = settings;
      const splits = await openTexts(settings, signal);
      const prompt = (await loadAdapter(dir)).tensors[promptName];
      if (prompt?.shape.length !== 2) {
        throw new Error(
          `${dir}: a source of MPT is a run of prompt-tuning, but this has no ${promptName} of two axes`,
        );
      }
      return { name: data, prompt, texts: drawTexts(splits.train, count, seed) };
    }),
  );
}

/** The prompts of a batch whose texts belong to tasks `task` int64 [B]: P* ⊙ (u_k v_kᵀ) for each, [B, m, width] (Wang et al. 2023, equation 2). */
export function studentPrompts(
  s: Scope,
  task: Tensor,
  tasks: number,
  [length, width]: readonly [number, number],
  init: Parameters<Scope['param']>[2] = onesInit,
): Tensor {
  const shared = s.param(promptName, [length, width], init);
  const u = s.param(factorNames.u, [tasks, length, 1], onesInit);
  const v = s.param(factorNames.v, [tasks, 1, width], onesInit);
  return gather(u, task, 0)
    .mul(gather(v, task, 0))
    .mul(shared);
}

/**
 * Task loss + λ (KL of the teacher's words from the student's + mean squared error of the states from which they are said), over the words of the
 * targets (section 3.2; that the states are the last layer's is our reading).
 */
export function distilled(
  s: Scope,
  model: LanguageModel,
  { student, teacher, batch }: { student: Tensor; teacher: Tensor; batch: TextTensors },
  lambda: number,
) {
  const task = { kind: 'text', classes: [], parts: [] } as const;
  const length = student.dim(1);
  const said = (prompt: Tensor) => {
    const injection: Injection = { soft: { length, tokens: () => prompt } };
    return scoreOf(s, inject(model, injection), model.heads, task, batch);
  };
  const [own, taught] = [said(student), said(teacher)];
  const counts = notEqual(batch.labels, -100).cast('float32');
  const mean = (perWord: Tensor) => perWord.mul(counts).sum().div(counts.sum());
  const [p, q] = [logSoftmax(taught.logits), logSoftmax(own.logits)];
  const logits = mean(p.exp().mul(p.sub(q)).sum(-1));
  const states = mean(own.states.sub(taught.states).square().mean(-1));
  return { loss: own.loss.add(logits.add(states).mul(lambda)), taskLoss: own.loss, logits, states };
}

export interface MptSourceTraining {
  readonly model: LanguageModel;
  readonly sources: readonly SourceTask[];
  readonly options: MptSourceOptions;
  /** Where the adapter, checkpoint and metrics go. */
  readonly dir: string;
  readonly resume?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The source stage of MPT: a prompt that tasks share, and a matrix of rank one for each, taught by the prompts of the tasks. Writes them
 * into a folder for `--method mpt --source`. Gives whether it came to its end.
 */
export async function* trainMptSources(given: MptSourceTraining): AsyncGenerator<TrainEvent, boolean> {
  const { model, sources, options: o, dir, resume, signal } = given;
  const shape = shapeOfPrompts(model, sources);
  const writing = { kind: 'text', classes: [], parts: [] } as const;
  const texts = sources.map((source) => source.texts.map((e) => encodeText(model, writing, e, o.maxLength)));
  const sizes = shapeOf(texts.flat(), o.batch);
  const prompts = constant(
    f32(
      sources.flatMap(({ prompt }) => [...toFloat32(prompt).data]),
      [sources.length, ...shape],
    ),
  );
  const init = promptInit({ model, task: writing }, { length: shape[0], init: 'vocabulary', initText: '' });
  const rate = o.learningRate || (await promptRate({ model, task: writing }));
  const group = (peak: number) =>
    adamw({ lr: linearWithWarmup(peak, Math.round(o.warmup * o.steps)), weightDecay: o.weightDecay });
  const step = await TrainStep.compile({
    source: model.weights,
    batch: { ...batchTypes(model, writing, sizes), task: batchOf([o.batch], 'int64') },
    build(s, batch) {
      const { task } = batch as { task: Tensor };
      const student = studentPrompts(s, task, sources.length, shape, init);
      return distilled(
        s,
        model,
        { student, teacher: gather(prompts, task, 0), batch: batch as TextTensors },
        o.lambda,
      );
    },
    optimizer: chain(clipByGlobalNorm(1), perGroup({ 'factors.**': group(o.factorRate), '**': group(rate) })),
  });
  try {
    const base = await weightsDigest(model);
    const { params, stopped } = yield* train({
      step,
      seed: o.seed,
      totalSteps: o.steps,
      stepsPerEpoch: o.steps,
      batch: ({ step: at }) => {
        const { picked, task } = drawBatch(texts, o, at);
        return { ...batchValues(model, writing, sizes, picked), task };
      },
      dir,
      resume: resume ?? false,
      fingerprint: createHash('sha256')
        .update(JSON.stringify({ o, base, sources: sources.map(fingerprintOf) }))
        .digest('hex'),
      ...(signal && { signal }),
    });
    if (stopped === 'interrupted') return false;
    const tasks = sources.map(({ name }) => name);
    const config = { base_model_name_or_path: model.spec, mpt_sources: { version, tasks, options: o } };
    await saveAdapter(dir, { config, tensors: params });
    return true;
  } finally {
    await step.release();
  }
}

const fingerprintOf = ({ name, prompt, texts }: SourceTask): unknown => [
  name,
  [...toFloat32(prompt).data],
  texts,
];

function shapeOfPrompts(model: LanguageModel, sources: readonly SourceTask[]): [number, number] {
  if (model.kind === 'encoder') {
    throw new Error(
      `mpt: the source stage is defined for models that write, which say all tasks' answers; ${model.spec} (${model.modelType}) classifies`,
    );
  }
  if (sources.length < 2)
    throw new Error(`mpt: the source stage takes at least two tasks, not ${sources.length}`);
  const [length] = sources[0]!.prompt.shape as [number];
  for (const { name, prompt } of sources) {
    if (String(prompt.shape) === String([length, model.model.width])) continue;
    throw new Error(
      `mpt: the prompt of ${name} is [${prompt.shape}], but [${length}, ${model.model.width}] is wanted of all: the model's width, and one length`,
    );
  }
  return [length, model.model.width];
}

/** Texts of a step and their tasks, as a pure function of the step: each task that takes part has as many, or one less. */
function drawBatch(
  texts: readonly (readonly EncodedText[])[],
  { seed, batch, sampling }: MptSourceOptions,
  step: number,
): { picked: EncodedText[]; task: Values[string] } {
  const random = new Random(seed, 'sources', step);
  const order = random.permutation(texts.length);
  const count = sampling === 'all' ? texts.length : 2 + random.int(texts.length - 1);
  const tasks = Array.from({ length: batch }, (_, i) => order[i % count]!);
  return { picked: tasks.map((k) => texts[k]![random.int(texts[k]!.length)]!), task: i64(tasks) };
}
