import { type HostTensor, input, toFloat32 } from '../../graph/index.ts';
import { type AdapterFiles, type JsonObject, type LanguageModel, matchKeys } from '../../hub/index.ts';
import { mapTree, type Param, trace } from '../../nn/index.ts';
import type { Values } from '../../train/index.ts';
import { ia3, scaledModules } from '../lm-baselines/ia3.ts';
import { lora } from '../lm-baselines/lora.ts';
import { injectionOf, type LanguageAdapter } from './adapter.ts';
import { endsWithPath, expression, familyOf, modulesOf, noMatrix, targeted } from './families.ts';
import { inject, injectScope } from './injection.ts';
import { type PeftConfig, type PeftType, parsePeftConfig } from './peft-config.ts';
import { promptName } from './prompts.ts';
import { scoreOf, type TextTask, type TextTensors } from './score.ts';
import { batchTypes } from './texts.ts';

/** With `bias: 'all'` `peft` writes the head's bias three times. */
export const copied = /\.(modules_to_save|original_module)\.bias$/;

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
  const c = parsePeftConfig(config, where, onWarning);
  const type = c.peft_type;
  if ('target_modules' in c && Array.isArray(c.target_modules)) {
    c.target_modules = presentTargets(model, c.target_modules, (name) =>
      onWarning(`${where}: target_modules: "${name}" names no matrix of ${model.spec} and is left out`),
    );
  }
  const [method, options] = optionsOf(c, model);
  const values: Values = {};
  for (const [name, value] of Object.entries(stored)) {
    if (copied.test(name)) continue;
    const own = neutralName(type, name);
    values[own] = toFloat32(own.endsWith('.ia3_l') ? { ...value, shape: [value.data.length] } : value);
  }
  const rows = 'num_virtual_tokens' in c ? c.num_virtual_tokens : undefined;
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

function optionsOf(c: PeftConfig, model: LanguageModel): [method: string, options: JsonObject] {
  const family = familyOf(model);
  switch (c.peft_type) {
    case 'LORA':
      return [
        'lora',
        {
          ...{ rank: c.r, alpha: c.lora_alpha, targets: targetsOf(c.target_modules, family.lora) },
          ...{ rankStabilized: c.use_rslora, dora: c.use_dora, bias: c.bias },
          ...{ rankPattern: c.rank_pattern ?? {}, alphaPattern: c.alpha_pattern ?? {} },
        },
      ];
    case 'IA3':
      return [
        'ia3',
        {
          targets: targetsOf(c.target_modules, [...family.ia3, ...family.ia3FeedForward]),
          feedForward: targetsOf(c.feedforward_modules, family.ia3FeedForward),
        },
      ];
    default:
      return [promptMethods[c.peft_type], { length: c.num_virtual_tokens }];
  }
}
const promptMethods = {
  PROMPT_TUNING: 'prompt-tuning',
  P_TUNING: 'p-tuning',
  PREFIX_TUNING: 'prefix-tuning',
};

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
  const { config, byInput, adapted } = configOf(type, model, adapter);
  const before = prefixOf(type);
  const heads = new Set<string>();
  const tensors: Values = {};
  for (const [name, value] of Object.entries(adapter.tensors)) {
    const at = name.lastIndexOf('.');
    const [path, last] = [name.slice(0, at), name.slice(at + 1)];
    if (name === promptName) tensors[name] = value;
    else if (last === 'ia3_l') {
      const shape = byInput.has(path) ? [1, value.data.length] : [value.data.length, 1];
      tensors[before + name] = { ...value, shape };
    } else if (last === 'lora_A' || last === 'lora_B') tensors[`${before}${name}.weight`] = value;
    else if (last === 'bias' && adapted.has(path)) tensors[`${before}${path}.base_layer.bias`] = value;
    else tensors[before + name] = value;
    if (isHead(name)) heads.add(path.includes('pooler') ? 'pooler' : 'classifier');
  }
  return {
    config: {
      ...{ peft_type: type, task_type: taskTypes[model.kind] },
      ...{ base_model_name_or_path: model.spec, inference_mode: true },
      ...(heads.size && { modules_to_save: [...heads] }),
      ...config,
    },
    tensors,
  };
}

/** Whether a tensor belongs to a head that is trained with the method. */
const isHead = (name: string): boolean => /^classifier\.|(^|\.)pooler\./.test(name);

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

interface WrittenConfig {
  readonly config: JsonObject;
  /** Paths of the matrices whose input (IA)³ scales, and of those that LoRA changes. */
  readonly byInput: ReadonlySet<string>;
  readonly adapted: ReadonlySet<string>;
}

function configOf(
  type: PeftType,
  loaded: LanguageModel,
  { options, tensors }: LanguageAdapter,
): WrittenConfig {
  const family = familyOf(loaded);
  const layout: JsonObject = family.transposed ? { fan_in_fan_out: true } : {};
  const none = new Set<string>();
  if (type === 'LORA') {
    const o = lora.options.parse(options);
    const modules = targeted(modulesOf(loaded), o.targets.length ? o.targets : family.lora);
    const config = {
      ...{ r: o.rank, lora_alpha: o.alpha, lora_dropout: 0, bias: o.bias, use_dora: o.dora },
      ...{ use_rslora: o.rankStabilized, rank_pattern: o.rankPattern, alpha_pattern: o.alphaPattern },
      ...{ target_modules: modulesIn(o.targets, family.lora), ...layout },
    };
    return { config, byInput: none, adapted: new Set(modules.map((m) => m.path)) };
  }
  if (type === 'IA3') {
    const o = ia3.options.parse(options);
    const config = {
      target_modules: modulesIn(o.targets, [...family.ia3, ...family.ia3FeedForward]),
      feedforward_modules: modulesIn(o.feedForward, family.ia3FeedForward),
      ...layout,
    };
    return { config, byInput: new Set(scaledModules(loaded, o).inner.map((m) => m.path)), adapted: none };
  }
  const { model } = loaded;
  const prefix = type === 'PREFIX_TUNING';
  const width = prefix ? model.keyHeads * model.headWidth : model.width;
  const config = {
    ...{ num_virtual_tokens: tensors[promptName]!.shape[0]!, token_dim: width },
    ...{ num_attention_heads: model.keyHeads, num_layers: model.layers },
    // For a prefix of T5 `peft` wants two, of which it reads one.
    num_transformer_submodules: prefix && loaded.kind === 'seq2seq' ? 2 : 1,
    ...(type === 'P_TUNING' && { encoder_hidden_size: width }),
  };
  return { config, byInput: none, adapted: none };
}
