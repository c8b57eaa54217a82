import { z } from 'zod';
import { type HostTensor, input, toFloat32 } from '../../graph/index.ts';
import { didYouMean } from '../../graph/nearest.ts';
import { type AdapterFiles, type JsonObject, type LanguageModel, matchKeys } from '../../hub/index.ts';
import { mapTree, type Param, trace } from '../../nn/index.ts';
import type { Values } from '../../train/index.ts';
import { scaledModules } from '../lm-baselines/ia3.ts';
import { injectionOf, type LanguageAdapter } from './adapter.ts';
import { endsWithPath, expression, familyOf, modulesOf, noMatrix, targeted } from './families.ts';
import { inject, injectScope } from './injection.ts';
import { findLanguageMethod } from './list.ts';
import { promptName } from './prompts.ts';
import { scoreOf, type TextTask, type TextTensors } from './score.ts';
import { batchTypes } from './texts.ts';

/** The kinds of adapters that Python's `peft` (0.21) and Attune both know: https://huggingface.co/docs/peft. */
const peftTypes = ['LORA', 'IA3', 'PROMPT_TUNING', 'P_TUNING', 'PREFIX_TUNING'] as const;
type PeftType = (typeof peftTypes)[number];

const names = z.union([z.array(z.string()), z.string()]);
const shared = {
  peft_type: z.string(),
  task_type: z.string().nullish(),
  base_model_name_or_path: z.string().nullish(),
  modules_to_save: z.array(z.string()).nullish(),
};
const prompt = {
  ...shared,
  num_virtual_tokens: z.int().positive(),
  token_dim: z.int().positive().nullish(),
  num_transformer_submodules: z.int().positive().nullish(),
  num_attention_heads: z.int().positive().nullish(),
  num_layers: z.int().positive().nullish(),
};
/** What decides what an adapter computes. */
const schemas = {
  LORA: z.object({
    ...shared,
    r: z.int().positive().default(8),
    lora_alpha: z.number().default(8),
    target_modules: names.nullish(),
    bias: z.enum(['none', 'all', 'lora_only']).default('none'),
    use_rslora: z.boolean().default(false),
    use_dora: z.boolean().default(false),
    rank_pattern: z.record(z.string(), z.number()).nullish(),
    alpha_pattern: z.record(z.string(), z.number()).nullish(),
  }),
  IA3: z.object({ ...shared, target_modules: names.nullish(), feedforward_modules: names.nullish() }),
  PROMPT_TUNING: z.object(prompt),
  P_TUNING: z.object(prompt),
  PREFIX_TUNING: z.object(prompt),
} satisfies Record<PeftType, z.ZodObject>;

/** Keys that tell how an adapter was made or is to be loaded, and change nothing of what it computes. */
const harmless = new Set(
  (
    'attune auto_mapping revision inference_mode peft_version init_lora_weights lora_dropout fan_in_fan_out megatron_core ' +
    'qalora_group_size loftq_config init_ia3_weights prompt_tuning_init prompt_tuning_init_text tokenizer_name_or_path ' +
    'tokenizer_kwargs encoder_reparameterization_type encoder_hidden_size encoder_num_layers encoder_dropout prefix_projection ' +
    'init_weights ensure_weight_tying runtime_config eva_config corda_config lora_ga_config'
  ).split(' '),
);
/** With `bias: 'all'` `peft` writes the head's bias three times. */
export const copied = /\.(modules_to_save|original_module)\.bias$/;

/** Keys of `peft` that would change what the adapter computes in a way that is not here. */
const unsupported = new Set(
  (
    'layers_to_transform layers_pattern layer_replication exclude_modules target_parameters trainable_token_indices lora_bias ' +
    'alora_invocation_tokens use_qalora use_bdlora arrow_config kasa_config monteclora_config velora_config megatron_config'
  ).split(' '),
);
const says = (value: unknown): boolean =>
  !(
    value === null ||
    value === undefined ||
    value === false ||
    value === '' ||
    JSON.stringify(value) === '{}' ||
    JSON.stringify(value) === '[]'
  );

/** Whether a configuration is one of `peft`. */
export const isPeft = ({ peft_type: type }: JsonObject): boolean => typeof type === 'string';

/**
 * An adapter that Python's `peft` wrote, for a model. `task` is what it is to say, where it is no classification by the model's own
 * labels. Unknown keys of the configuration are reported to `onWarning`.
 * @throws naming the key or tensor that is missing, of another shape, or not supported; also where the file adapts nothing.
 */
export async function fromPeft(
  model: LanguageModel,
  { config, tensors: stored }: AdapterFiles,
  where: string,
  {
    task: given,
    onWarning = () => {},
  }: { task?: TextTask | undefined; onWarning?: (text: string) => void } = {},
): Promise<LanguageAdapter> {
  const type = String(config.peft_type) as PeftType;
  if (!peftTypes.includes(type)) {
    throw new Error(
      `${where}: peft_type "${type}" is not supported${didYouMean(type, peftTypes)}; ${peftTypes.join(', ')} are`,
    );
  }
  const schema: z.ZodObject = schemas[type];
  const known = Object.keys(schema.shape);
  for (const [key, value] of Object.entries(config)) {
    if (known.includes(key) || harmless.has(key) || !says(value)) continue;
    if (unsupported.has(key))
      throw new Error(`${where}: ${key} is set, which is not supported: ${JSON.stringify(value)}`);
    onWarning(`${where}: adapter_config.json: unknown key "${key}"${didYouMean(key, known)} is left out`);
  }
  const parsed = schema.safeParse(config);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new Error(`${where}: adapter_config.json: ${issue!.path.join('.')}: ${issue!.message}`);
  }
  const c = parsed.data as Known;
  if (Array.isArray(c.target_modules)) {
    c.target_modules = presentTargets(model, c.target_modules, (name) =>
      onWarning(`${where}: target_modules: "${name}" names no matrix of ${model.spec} and is left out`),
    );
  }
  const [method, options] = optionsOf(type, c, model);
  const values: Values = {};
  for (const [name, value] of Object.entries(stored)) {
    if (copied.test(name)) continue;
    const own = neutralName(type, name);
    values[own] = toFloat32(own.endsWith('.ia3_l') ? { ...value, shape: [value.data.length] } : value);
  }
  const rows = c.num_virtual_tokens as number | undefined;
  const table = values[promptName];
  // Of a model of pairs the file may hold a prompt for the decoder too, which `peft` does not read.
  if (rows && table && table.shape[0]! > rows && table.shape[1] === model.model.width) {
    values[promptName] = {
      ...table,
      data: table.data.slice(0, rows * table.shape[1]!),
      shape: [rows, table.shape[1]!],
    } as HostTensor;
  }
  const task = given ?? taskOf(model, values);
  const adapter = { method, options, task, tensors: values };
  const wanted = await paramsOf(model, adapter);
  const { missing, unknown, message } = matchKeys(
    wanted.map((p) => p.name),
    Object.keys(values),
  );
  if (missing.length || unknown.length) {
    throw new Error(`${where}: the tensors are not those of its configuration on ${model.spec}:\n${message}`);
  }
  for (const { name, shape } of wanted) {
    if (String(values[name]!.shape) !== String(shape)) {
      throw new Error(`${where}: "${name}" is [${values[name]!.shape}], but ${model.spec} needs [${shape}]`);
    }
  }
  return adapter;
}

/** Target names that the model has: `peft` passes over the others as long as one is there. */
function presentTargets(
  model: LanguageModel,
  targets: string[],
  onMissing: (name: string) => void,
): string[] {
  const paths = [...modulesOf(model).keys()];
  const present = targets.filter((t) => paths.some((path) => endsWithPath(path, t)));
  if (present.length === 0) return targets;
  for (const name of targets) if (!present.includes(name)) onMissing(name);
  return present;
}

/** Values that a schema has checked, by key. */
// biome-ignore lint/suspicious/noExplicitAny: which keys there are depends on the kind
type Known = Record<string, any>;

const isPrompt = (type: PeftType): boolean => !['LORA', 'IA3'].includes(type);
/** What `peft` puts before the model's own names. */
const prefixOf = (type: PeftType): string => (isPrompt(type) ? 'base_model.' : 'base_model.model.');

/** A name in a file of `peft`, without what it puts around the model's. */
const neutralName = (type: PeftType, name: string): string =>
  (name.startsWith(prefixOf(type)) ? name.slice(prefixOf(type).length) : name)
    .replace(/\.(lora_[AB])\.weight$/, '.$1')
    .replace(/\.base_layer\.bias$/, '.bias');

/** `target_modules` as options have them: a text is a regular expression, an empty list means none. */
function targetsOf(
  given: readonly string[] | string | null | undefined,
  standard: readonly string[],
): string[] {
  if (typeof given === 'string') return [`${expression}${given}`];
  return given?.length === 0 ? [noMatrix] : [...(given ?? standard)];
}
/** And back. */
function modulesIn(given: readonly string[], standard: readonly string[]): string[] | string {
  const list = given.length ? given : standard;
  if (list.length === 1 && list[0]!.startsWith(expression)) return list[0]!.slice(expression.length);
  return list.filter((target) => target !== noMatrix);
}

function optionsOf(type: PeftType, c: Known, model: LanguageModel): [method: string, options: JsonObject] {
  const family = familyOf(model);
  if (type === 'LORA') {
    return [
      'lora',
      {
        ...{ rank: c.r, alpha: c.lora_alpha, targets: targetsOf(c.target_modules, family.lora) },
        ...{ rankStabilized: c.use_rslora, dora: c.use_dora, bias: c.bias },
        ...{ rankPattern: c.rank_pattern ?? {}, alphaPattern: c.alpha_pattern ?? {} },
      },
    ];
  }
  if (type === 'IA3') {
    return [
      'ia3',
      {
        targets: targetsOf(c.target_modules, [...family.ia3, ...family.ia3FeedForward]),
        feedForward: targetsOf(c.feedforward_modules, family.ia3FeedForward),
      },
    ];
  }
  const method = { PROMPT_TUNING: 'prompt-tuning', P_TUNING: 'p-tuning', PREFIX_TUNING: 'prefix-tuning' }[
    type
  ];
  return [method, { length: c.num_virtual_tokens }];
}

/** What an adapter is for, where its file does not say: an encoder's classes are the model's, as many as the head has. */
function taskOf({ kind, model }: LanguageModel, tensors: Values): TextTask {
  if (kind !== 'encoder') return { kind: 'text', classes: [], parts: ['text'] };
  const count =
    tensors['classifier.bias']?.shape[0] ??
    tensors['classifier.out_proj.bias']?.shape[0] ??
    model.labels.length;
  const classes = Array.from({ length: count }, (_, i) => model.labels[i] ?? `LABEL_${i}`);
  return { kind: 'classification', classes, parts: ['text'] };
}

/** What an adapter must hold for a model. */
async function paramsOf(model: LanguageModel, adapter: LanguageAdapter): Promise<readonly Param[]> {
  const injection = await injectionOf(model, adapter);
  const { task } = adapter;
  const types = batchTypes(model, task, { batch: 1, length: 8, targetLength: 1 });
  const batch = mapTree(types, ({ shape, dtype }, key) => input(`batch/${key}`, shape, dtype)) as TextTensors;
  return trace(model.weights, (s) =>
    scoreOf(injectScope(s, injection), inject(model, injection), model.heads, task, batch),
  ).params;
}

const taskTypes = { encoder: 'SEQ_CLS', seq2seq: 'SEQ_2_SEQ_LM', causal: 'CAUSAL_LM' } as const;

/** What Python's `peft` reads of an adapter, in its names; undefined where it has no such kind. */
export function toPeft(model: LanguageModel, adapter: LanguageAdapter): AdapterFiles | undefined {
  const type = peftTypeOf(model, adapter);
  if (!type) return undefined;
  const o = findLanguageMethod(adapter.method).options.parse(adapter.options) as unknown as Known;
  const modules = modulesOf(model);
  const family = familyOf(model);
  const inner = type === 'IA3' ? scaledModules(model, o as never).inner.map((m) => m.path) : [];
  const targets: readonly string[] = o.targets?.length ? o.targets : family.lora;
  const adapted = new Set(type === 'LORA' ? targeted(modules, targets).map((m) => m.path) : []);
  const own = new Set(['lora_A', 'lora_B', 'lora_magnitude_vector', 'ia3_l']);
  const heads = new Set<string>();
  const tensors: Values = {};
  for (const [name, value] of Object.entries(adapter.tensors)) {
    const at = name.lastIndexOf('.');
    const [path, last] = [name.slice(0, at), name.slice(at + 1)];
    if (name === promptName) tensors[name] = value;
    else if (last === 'ia3_l') {
      const shape = inner.includes(path) ? [1, value.data.length] : [value.data.length, 1];
      tensors[prefixOf(type) + name] = { ...value, shape };
    } else if (last === 'lora_A' || last === 'lora_B') tensors[`${prefixOf(type)}${name}.weight`] = value;
    else if (own.has(last)) tensors[prefixOf(type) + name] = value;
    else if (last === 'bias' && adapted.has(path))
      tensors[`${prefixOf(type)}${path}.base_layer.bias`] = value;
    else {
      tensors[prefixOf(type) + name] = value;
      if (!model.weights.get(name) || /^(classifier|score)\./.test(name)) heads.add(headOf(path));
    }
  }
  const config: JsonObject = {
    ...{
      peft_type: type,
      task_type: taskTypes[model.kind],
      base_model_name_or_path: model.spec,
      inference_mode: true,
    },
    ...(heads.size && { modules_to_save: [...heads] }),
    ...configOf(type, o, model),
  };
  if (!isPrompt(type) && family.transposed) config.fan_in_fan_out = true;
  if (type === 'LORA') config.target_modules = modulesIn(o.targets, family.lora);
  if (type === 'IA3') {
    config.target_modules = modulesIn(o.targets, [...family.ia3, ...family.ia3FeedForward]);
    config.feedforward_modules = modulesIn(o.feedForward, family.ia3FeedForward);
  }
  return { config, tensors };
}

/** Whether a tensor belongs to a head that is trained with the method. */
const isHead = (name: string): boolean => /^classifier\.|(^|\.)pooler\./.test(name);

/** The module that `peft` saves whole: the last segment of a head's path but for what is inside it. */
const headOf = (path: string): string => (path.includes('pooler') ? 'pooler' : path.split('.')[0]!);

/** The kind by which `peft` knows an adapter: prompts that fold are its prompt tuning. */
function peftTypeOf(
  model: LanguageModel,
  { method, options, tensors }: LanguageAdapter,
): PeftType | undefined {
  if (method === 'lora') return 'LORA';
  if (method === 'ia3') return 'IA3';
  if (method === 'p-tuning') return 'P_TUNING';
  if (method === 'prefix-tuning' || method === 'panda') return 'PREFIX_TUNING';
  // It is a prompt, and a head at most: no offset of the embeddings, no network.
  const plain = Object.keys(tensors).every((name) => name === promptName || isHead(name));
  const first = model.kind !== 'encoder' || options.readAt !== 'text';
  return tensors[promptName] && tensors[promptName].shape[1] === model.model.width && plain && first
    ? 'PROMPT_TUNING'
    : undefined;
}

function configOf(type: PeftType, o: Known, { model }: LanguageModel): JsonObject {
  if (type === 'LORA') {
    return {
      ...{
        r: o.rank,
        lora_alpha: o.alpha,
        lora_dropout: 0,
        bias: o.bias,
        use_rslora: o.rankStabilized,
        use_dora: o.dora,
      },
      ...{ rank_pattern: o.rankPattern, alpha_pattern: o.alphaPattern },
    };
  }
  if (type === 'IA3') return {};
  const own = type === 'PREFIX_TUNING' ? model.keyHeads * model.headWidth : model.width;
  const config = {
    ...{
      num_virtual_tokens: o.length,
      token_dim: own,
      num_attention_heads: model.keyHeads,
      num_layers: model.layers,
    },
    // For a prefix of T5 `peft` wants two, of which it reads one.
    num_transformer_submodules: type === 'PREFIX_TUNING' && 'decoderLayers' in model ? 2 : 1,
  };
  return type === 'P_TUNING' ? { ...config, encoder_hidden_size: own } : config;
}
