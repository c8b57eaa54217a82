import { type HostTensor, input, type Tensor } from '../../graph/index.ts';
import type { ClipModel } from '../../hub/index.ts';
import { type Param, trace } from '../../nn/index.ts';
import { runOnce } from '../../runtime/index.ts';
import type { Values } from '../../train/index.ts';
import { coopPrompting } from '../baselines/coop.ts';
import { ivlpPrompting } from '../baselines/ivlp.ts';
import { maplePrompting } from '../baselines/maple.ts';
import { type PromptMethod, type Prompts, trainedBy } from '../vlm/prompting.ts';

/** Soft tokens of a host: how many in a layer, and in how many layers of a tower. */
export interface HostShape {
  readonly length: number;
  readonly depth: number;
}

const contextInit = 'a photo of a';

interface Host {
  /** How it is trained when nothing else is asked for. */
  readonly training: { readonly epochs: number; readonly batch: number; readonly learningRate: number };
  prompting(shape: HostShape): PromptMethod;
}

const deep = { epochs: 5, batch: 4, learningRate: 0.0035 };

/** What GRAM can be put on: soft tokens of the text tower, of the vision tower, or of both (UNIGRAM). */
export const hosts = {
  coop: {
    training: { epochs: 50, batch: 32, learningRate: 0.002 },
    prompting: ({ length }) =>
      coopPrompting({ contextLength: length, contextInit: length === 4 ? contextInit : '', unified: true }),
  },
  vpt: {
    training: deep,
    prompting: ({ length, depth }) =>
      ivlpPrompting({ textLength: 1, textDepth: 0, visionLength: length, visionDepth: depth, contextInit }),
  },
  ivlp: {
    training: deep,
    prompting: ({ length, depth }) =>
      ivlpPrompting({
        textLength: length,
        textDepth: depth,
        visionLength: length,
        visionDepth: depth,
        contextInit,
      }),
  },
  maple: {
    training: deep,
    prompting: ({ length, depth }) => maplePrompting({ contextLength: length, depth, contextInit }),
  },
} satisfies Record<string, Host>;

export type HostName = keyof typeof hosts;
export const hostNames = Object.keys(hosts) as [HostName, ...HostName[]];

/** The shape of a host with these trained tensors. */
export function shapeOf(tensors: Values): HostShape {
  const first = tensors.context ?? tensors['text.0'] ?? tensors['vision.0'];
  if (!first) throw new Error(`no soft tokens among ${Object.keys(tensors).join(', ')}`);
  const layers = (tower: string) =>
    Object.keys(tensors).filter((name) => name.startsWith(`${tower}.`)).length;
  return { length: first.shape[0]!, depth: Math.max(layers('text'), layers('vision')) };
}

/** What a host makes of class names, in rows that can be fed to a step: token ids [C, L], or features [C, D]. */
export interface NamedRows {
  readonly rows: HostTensor;
  /** What the host trains. */
  readonly trained: readonly Param[];
  /** Whether it has a vision tower of its own. */
  readonly pixels: boolean;
  /** The host's prompts for the names whose rows are given as `fed`. */
  prompts(fed: Tensor): Prompts;
}

/**
 * Prompts whose class names are inputs, for tasks of `ways` among `names`. Ids go in at a tap of the text tower, so this
 * holds for hosts whose soft tokens stand at the same positions of every sentence; a host without soft tokens in the text
 * tower is fed features.
 */
export async function namedRows(
  model: ClipModel,
  host: PromptMethod,
  names: readonly string[],
  ways: number,
): Promise<NamedRows> {
  const template = `${contextInit} {}.`;
  const all = await host.prompts({ model, classes: names, template });
  const few = await host.prompts({ model, classes: names.slice(0, ways), template });
  const none = input('features', [1, model.config.projection]);
  const tap = 'text_model.embeddings:ids';
  const trained = trainedBy(model, few);
  const inText = trained.some(({ name }) => !name.startsWith('vision.'));
  let ids: Tensor | undefined;
  const { result } = trace(model.weights, (s) => {
    if (!inText) return all.text(s, none);
    const seen = (x: Tensor) => {
      ids = x;
      return x;
    };
    return all.text(s.intercept({ tap: { [tap]: seen } }), none);
  });
  const { rows } = await runOnce({ rows: ids ?? result }, {}, { name: 'names' });
  return {
    rows,
    trained,
    pixels: few.image !== undefined,
    prompts: (fed) => ({
      ...few,
      text: (s, image) => (inText ? few.text(s.intercept({ tap: { [tap]: () => fed } }), image) : fed),
    }),
  };
}
