import { constant, input, type Tensor } from '../../graph/index.ts';
import { matchKeys } from '../../hub/index.ts';
import type { Param, Scope } from '../../nn/index.ts';
import type { Values } from '../../train/index.ts';
import { keptBy, logitsOf, type PromptMethod } from './prompting.ts';
import { textFeatures } from './prompts.ts';
import type { Adapter } from './task.ts';

/** Sentences that go through the text tower at once where prompts are per image. */
const sentencesPerRun = 256;

/** The adapter of a prompt method with its trained tensors and buffers. */
export function promptAdapter(method: PromptMethod, tensors: Values): Adapter {
  const values = Object.fromEntries(Object.entries(tensors).map(([name, v]) => [name, constant(v)]));
  return {
    tensors,
    parameters: Object.entries(tensors).reduce(
      (n, [name, { data }]) => n + (method.buffers?.includes(name) ? 0 : data.length),
      0,
    ),
    fixedClasses: method.fixedClasses,
    async classifier(model, classes, template) {
      const prompts = await method.prompts({ model, classes, template });
      const { params, buffers } = keptBy(model, prompts);
      requireTensors(tensors, [...params, ...buffers.values()], classes.length, method.fixedClasses);
      const { image } = prompts;
      const own = image && { imageFeatures: (s: Scope, pixels: Tensor) => image(s.bind(values), pixels) };
      if (prompts.perImage) {
        return {
          ...own,
          imagesPerRun: Math.max(1, Math.floor(sentencesPerRun / classes.length)),
          head(s, x) {
            const bound = s.bind(values);
            return logitsOf(bound, model, prompts, x, prompts.text(bound, x));
          },
        };
      }
      const none = input('image features', [1, model.config.projection]);
      const text = constant(await textFeatures(model, (s) => prompts.text(s.bind(values), none)));
      return { ...own, head: (s, x) => logitsOf(s.bind(values), model, prompts, x, text) };
    },
  };
}

function requireTensors(
  tensors: Values,
  wanted: readonly Param[],
  classes: number,
  fixedClasses = false,
): void {
  const { message } = matchKeys(
    wanted.map((p) => p.name),
    Object.keys(tensors),
  );
  if (message) throw new Error(`The adapter's tensors are not those of its method:\n${message}`);
  for (const { name, shape } of wanted) {
    const got = tensors[name]!.shape;
    if (String(got) === String(shape)) continue;
    throw new Error(
      `The adapter's "${name}" is [${got}]; this model and its ${classes} classes need [${shape}]` +
        (fixedClasses ? ' (class-specific prompts hold for the classes they were trained on)' : ''),
    );
  }
}
