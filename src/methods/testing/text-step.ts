import type { TextExample } from '../../data/index.ts';
import { input } from '../../graph/index.ts';
import type { LanguageModel } from '../../hub/index.ts';
import { mapTree, trace } from '../../nn/index.ts';
import { runOnce } from '../../runtime/index.ts';
import { gradTree, initParams, type Values } from '../../train/index.ts';
import { type Injection, inject, injectScope } from '../lm/injection.ts';
import { scoreOf, type TextTask, type TextTensors } from '../lm/score.ts';
import { batchTypes, batchValues, encodeText, shapeOf } from '../lm/texts.ts';

interface StepOptions {
  readonly seed?: number;
  /** In place of initial values. */
  readonly params?: Values;
  readonly maxLength?: number;
}

/** What a model with an injection makes of texts: its parameters as they begin (or as given), loss, logits and gradients. */
export async function textStep(
  model: LanguageModel,
  injection: Injection,
  task: TextTask,
  examples: readonly TextExample[],
  { seed = 1, params: given = {}, maxLength = 10 }: StepOptions = {},
) {
  const texts = examples.map((e) => encodeText(model, task, e, maxLength));
  const shape = shapeOf(texts, texts.length);
  const batch = mapTree(batchTypes(model, task, shape), ({ shape: s, dtype }, name) =>
    input(`batch/${name}`, s, dtype),
  ) as TextTensors;
  const { result, params } = trace(model.weights, (s) =>
    scoreOf(injectScope(s, injection), inject(model, injection), model.heads, task, batch),
  );
  const gradients = gradTree(result.loss, Object.fromEntries(params.map((p) => [p.name, p.tensor])));
  const values: Values = { ...(await initParams(params, seed)), ...given };
  const named = (prefix: string, of: Values) =>
    Object.fromEntries(Object.entries(of).map(([name, value]) => [`${prefix}/${name}`, value]));
  const own = Object.fromEntries(params.map(({ name }) => [name, values[name]!]));
  const out: Values = await runOnce(
    { loss: result.loss, logits: result.logits, ...mapKeys(gradients, (name) => `grad/${name}`) },
    { ...named('param', own), ...named('batch', batchValues(model, task, shape, texts)) },
  );
  const listed = (name: string) => Array.from(out[name]!.data as Float32Array);
  return {
    params,
    values,
    loss: listed('loss')[0]!,
    logits: listed('logits'),
    gradient: (name: string) => listed(`grad/${name}`),
    /** Trained scalars. */
    count: params.reduce((n, p) => n + p.tensor.size, 0),
  };
}

const mapKeys = <T>(of: Record<string, T>, key: (name: string) => string): Record<string, T> =>
  Object.fromEntries(Object.entries(of).map(([name, value]) => [key(name), value]));
