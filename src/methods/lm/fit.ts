import type { z } from 'zod';
import type { TextExample } from '../../data/index.ts';
import type { JsonObject, LanguageModel } from '../../hub/index.ts';
import {
  adamw,
  chain,
  clipByGlobalNorm,
  linearWithWarmup,
  mapTree,
  perGroup,
  trace,
} from '../../nn/index.ts';
import { runOnce } from '../../runtime/index.ts';
import { type TrainEvent, TrainStep, train, type Values } from '../../train/index.ts';
import type { LanguageAdapter } from './adapter.ts';
import { inject, injectScope } from './injection.ts';
import type { Folded, LanguageMethod, Subject } from './method.ts';
import type { TuningOptions } from './options.ts';
import { scoreOf, type TextTask, type TextTensors } from './score.ts';
import { TextScorer } from './scorer.ts';
import { batchTypes, encodeText, shapeOf, TextBatches } from './texts.ts';

/** A fit: what decides its result, and where its checkpoints go. */
export interface LanguageFit {
  readonly model: LanguageModel;
  readonly method: LanguageMethod;
  readonly options: z.input<LanguageMethod['options']>;
  readonly task: TextTask;
  readonly train: readonly TextExample[];
  /** Texts by which the best parameters are chosen; where there are none, the last are kept. */
  readonly val: readonly TextExample[];
  readonly seed: number;
  /** Names all that decides the result, so that a checkpoint of another run is refused. */
  readonly fingerprint?: string;
  readonly dir?: string;
  readonly resume?: boolean;
  readonly signal?: AbortSignal;
}

export interface LanguageFitted {
  readonly adapter: LanguageAdapter;
  /** Trained scalars. */
  readonly parameters: number;
  readonly stopped: 'end' | 'early' | 'interrupted';
}

type Checked = TuningOptions & JsonObject;

/** Peak learning rate of a pooler that the file lacks: at the rates of prompts a whole matrix diverges. */
const poolerRate = 1e-3;

/** Texts of one run of the program that validates. */
const validationBatch = 64;

/**
 * Trains a method on a language model: AdamW with a linear warm-up and fall, gradients clipped at a joint norm of 1 (the defaults
 * of `transformers`' trainer); the parameters with the best validation score are kept.
 */
export async function* fitLanguage(fit: LanguageFit): AsyncGenerator<TrainEvent, LanguageFitted> {
  const { model, method, task, seed, dir, resume, signal } = fit;
  const options = method.options.parse(fit.options) as Checked;
  const subject = { model, task };
  requireKind(subject, method);
  const encoded = (examples: readonly TextExample[]) =>
    examples.map((example) => encodeText(model, task, example, options.maxLength));
  const [texts, held] = [encoded(fit.train), encoded(fit.val)];
  if (texts.length === 0) throw new Error('There are no texts to train on');
  const batch = Math.min(options.batch, texts.length);
  const shape = shapeOf([...texts, ...held], batch);
  const batches = new TextBatches(model, task, shape, texts, seed);
  const injection = await method.inject(subject, options);
  const objective = await method.objective?.(subject, options);
  const init = method.init?.(subject, options);
  const step = await TrainStep.compile({
    source: model.weights,
    batch: batchTypes(model, task, shape),
    build(s, given) {
      const batch = given as TextTensors;
      const scope = injectScope(s, injection);
      const { loss, right, logits } = scoreOf(scope, inject(model, injection), model.heads, task, batch);
      const all = objective?.(scope, { loss, logits, batch }) ?? { loss };
      return { ...all, ...(right && { accuracy: right.mean() }) };
    },
    optimizer: await optimizerOf(subject, method, options),
    ...(init && { init }),
  });
  const scorer = held.length
    ? await TextScorer.compile(model, injection, task, {
        ...shape,
        batch: Math.min(validationBatch, held.length),
      })
    : undefined;
  try {
    const { params, stopped } = yield* train({
      step,
      seed,
      totalSteps: options.steps,
      stepsPerEpoch: batches.perEpoch,
      batch: batches.at,
      ...(scorer && {
        evaluation: {
          every: Math.max(1, Math.ceil(options.steps / options.evaluations)),
          run: async (state) => {
            const { loss, score } = await scorer.score(state.params, held);
            return { loss, score };
          },
          earlyStop: { metric: 'score', patience: Number.POSITIVE_INFINITY, higherIsBetter: true },
        },
      }),
      ...(dir !== undefined && { dir }),
      resume: resume ?? false,
      fingerprint: fit.fingerprint ?? '',
      ...(signal && { signal }),
    });
    const folded = await method.folded?.(subject, options);
    const tensors = folded ? await fold(subject, folded, params) : params;
    const adapter = { method: method.name, options, task, tensors };
    return { adapter, parameters: step.parameterCount, stopped };
  } finally {
    await step.release();
    await scorer?.release();
  }
}

function requireKind({ model }: Subject, { name, kinds }: LanguageMethod): void {
  if (!kinds || kinds.includes(model.kind)) return;
  throw new Error(
    `${name} is defined for ${kinds.join(' and ')} models; ${model.spec} (${model.modelType}) is a ${model.kind} model`,
  );
}

async function optimizerOf(subject: Subject, method: LanguageMethod, options: Checked) {
  const { steps, warmup, weightDecay, learningRate } = options;
  const peak = learningRate || (await method.rate?.(subject, options));
  if (!peak) throw new Error(`${method.name}: learningRate 0 trains nothing; give one above 0`);
  const group = (rate: number) =>
    adamw({ lr: linearWithWarmup(rate, Math.round(warmup * steps)), weightDecay });
  const rates = { ...method.rates?.(options), '**.pooler.**': Math.min(peak, poolerRate), '**': peak };
  return chain(clipByGlobalNorm(1), perGroup(mapTree(rates, group)));
}

/** The tensors of a folded adapter: what was folded, and what is trained beside it, such as a head. */
async function fold({ model }: Subject, folded: Folded, params: Values): Promise<Values> {
  const { result, params: network } = trace(model.weights, folded.tensors);
  const names = new Set(network.map(({ name }) => name));
  const feeds = [...names].map((name) => [`param/${name}`, params[name]!]);
  const rest = Object.entries(params).filter(([name]) => !names.has(name));
  return { ...(await runOnce(result, Object.fromEntries(feeds))), ...Object.fromEntries(rest) };
}
