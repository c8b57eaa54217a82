import { didYouMean } from '../../graph/nearest.ts';
import { type LanguageWeights, languageParts } from '../../hub/index.ts';
import { llamaTypes } from '../../models/llama/index.ts';
import { t5Types } from '../../models/t5/index.ts';
import { trace } from '../../nn/index.ts';

/** Where methods go in a family of models by default: suffixes of module paths, as in `peft`. */
export interface Family {
  /** Matrices that LoRA changes. */
  readonly lora: readonly string[];
  /** Matrices whose output (IA)³ scales, and those whose input it scales. */
  readonly ia3: readonly string[];
  readonly ia3FeedForward: readonly string[];
  /** Last matrices of the attention and of the feed-forward part, behind which adapters stand. */
  readonly attentionOut: string;
  readonly feedForwardOut: string;
  /** Weights of normalisations. */
  readonly norms: readonly string[];
  /** Weights are [in, out]: GPT-2's layout, `fan_in_fan_out` in `peft`. */
  readonly transposed?: boolean;
}

const bertFamily: Family = {
  lora: ['query', 'value'],
  ia3: ['key', 'value'],
  ia3FeedForward: ['output.dense'],
  attentionOut: 'attention.output.dense',
  feedForwardOut: 'output.dense',
  norms: ['**.LayerNorm.weight', '**.LayerNorm.bias'],
};
const t5Family: Family = {
  lora: ['q', 'v'],
  ia3: ['k', 'v'],
  ia3FeedForward: ['wo'],
  attentionOut: 'SelfAttention.o',
  feedForwardOut: 'wo',
  norms: ['**.layer_norm.weight', '**.final_layer_norm.weight'],
};
const llamaFamily: Family = {
  lora: ['q_proj', 'v_proj'],
  ia3: ['k_proj', 'v_proj'],
  ia3FeedForward: ['down_proj'],
  attentionOut: 'o_proj',
  feedForwardOut: 'down_proj',
  norms: ['**.input_layernorm.weight', '**.post_attention_layernorm.weight', 'model.norm.weight'],
};
const gpt2Family: Family = {
  lora: ['c_attn'],
  ia3: ['c_attn'],
  ia3FeedForward: ['mlp.c_proj'],
  attentionOut: 'attn.c_proj',
  feedForwardOut: 'mlp.c_proj',
  norms: ['**.ln_1.*', '**.ln_2.*', 'transformer.ln_f.*'],
  transposed: true,
};

export function familyOf({ modelType }: Pick<LanguageWeights, 'modelType'>): Family {
  if ((t5Types as readonly string[]).includes(modelType)) return t5Family;
  if ((llamaTypes as readonly string[]).includes(modelType)) return llamaFamily;
  return modelType === 'gpt2' ? gpt2Family : bertFamily;
}

/** A matrix of a model, with taps before and behind it. */
export interface Module {
  readonly path: string;
  readonly inputs: number;
  readonly outputs: number;
  readonly biased: boolean;
}

/** All matrices of a model that may be adapted, by path: those with the taps `PATH:in` and `PATH:out`, without heads. */
export function modulesOf(model: LanguageWeights): Map<string, Module> {
  const { transposed = false } = familyOf(model);
  const { weights, sites } = readWhole(model);
  const paths = [...sites].flatMap((site) => (site.endsWith(':in') ? [site.slice(0, -':in'.length)] : []));
  const own = paths.filter((path) => weights.has(`${path}.weight`) && sites.has(`${path}:out`));
  return new Map(
    own.map((path) => {
      const [first, second] = model.weights.get(`${path}.weight`)!.shape as [number, number];
      const [outputs, inputs] = transposed ? [second, first] : [first, second];
      return [path, { path, inputs, outputs, biased: weights.has(`${path}.bias`) }];
    }),
  );
}

/** What a model reads of its file but for heads, and the sites that it passes. */
export function readWhole(model: LanguageWeights) {
  const { body, heads } = languageParts(model);
  return trace('scratch', (s) => [body(s), model.heads.has('pool') && heads.pool!(s)]);
}

function wholePath(pattern: string): RegExp {
  try {
    return new RegExp(`^(?:${pattern})$`);
  } catch (error) {
    throw new Error(
      `targets: "${pattern}" is no regular expression of JavaScript (Python writes some parts otherwise): list the paths instead`,
      { cause: error },
    );
  }
}

/** Whether a path ends with a suffix of whole segments. */
export const endsWithPath = (path: string, suffix: string): boolean =>
  path === suffix || path.endsWith(`.${suffix}`);

/** Begins a target that is a regular expression of whole paths. */
export const expression = 're:';
/** A target that means no matrix, where an empty list means the family's. */
export const noMatrix = 'none';

/**
 * The modules that are meant, as by `target_modules` of `peft`: each target is a suffix of paths (`q` is the last segment, `attention.output.dense` the
 * last three) or, behind `re:`, a regular expression of whole paths. Throws where one matches nothing.
 */
export function targeted(modules: ReadonlyMap<string, Module>, targets: readonly string[]): Module[] {
  const paths = [...modules.keys()];
  const found = new Set<string>();
  for (const target of targets) {
    if (target === noMatrix) continue;
    const pattern = target.startsWith(expression) && wholePath(target.slice(expression.length));
    const own = paths.filter((path) => (pattern ? pattern.test(path) : endsWithPath(path, target)));
    if (own.length === 0) {
      throw new Error(
        `"${target}" names no matrix of the model${didYouMean(target, paths)}; one is ${paths[0]}`,
      );
    }
    for (const path of own) found.add(path);
  }
  return paths.filter((path) => found.has(path)).map((path) => modules.get(path)!);
}
