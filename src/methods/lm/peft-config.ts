import { z } from 'zod';
import { didYouMean } from '../../graph/nearest.ts';
import type { JsonObject } from '../../hub/index.ts';

/** The kinds of adapters that Python's `peft` (0.21) and Attune both know: https://huggingface.co/docs/peft. */
const peftTypes = ['LORA', 'IA3', 'PROMPT_TUNING', 'P_TUNING', 'PREFIX_TUNING'] as const;
export type PeftType = (typeof peftTypes)[number];

const names = z.union([z.array(z.string()), z.string()]);
const shared = {
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
const schemas = {
  LORA: z.object({
    peft_type: z.literal('LORA'),
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
  IA3: z.object({
    peft_type: z.literal('IA3'),
    ...shared,
    target_modules: names.nullish(),
    feedforward_modules: names.nullish(),
  }),
  PROMPT_TUNING: z.object({ peft_type: z.literal('PROMPT_TUNING'), ...prompt }),
  P_TUNING: z.object({ peft_type: z.literal('P_TUNING'), ...prompt }),
  PREFIX_TUNING: z.object({ peft_type: z.literal('PREFIX_TUNING'), ...prompt }),
} satisfies Record<PeftType, z.ZodObject>;
/** What decides what an adapter computes. */
export type PeftConfig = z.output<(typeof schemas)[PeftType]>;

/** Keys that tell how an adapter was made or is to be loaded, and change nothing of what it computes. */
const harmless = new Set(
  (
    'attune auto_mapping revision inference_mode peft_version init_lora_weights lora_dropout fan_in_fan_out megatron_core ' +
    'qalora_group_size loftq_config init_ia3_weights prompt_tuning_init prompt_tuning_init_text tokenizer_name_or_path ' +
    'tokenizer_kwargs encoder_reparameterization_type encoder_hidden_size encoder_num_layers encoder_dropout prefix_projection ' +
    'init_weights ensure_weight_tying runtime_config eva_config corda_config lora_ga_config'
  ).split(' '),
);
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
 * Checks the configuration in `where`; keys that are not known are reported.
 * @throws naming the kind or key that is wrong, or would change what the adapter computes in a way that is not here.
 */
export function parsePeftConfig(
  config: JsonObject,
  where: string,
  onWarning: (text: string) => void,
): PeftConfig {
  const type = peftTypes.find((t) => t === config.peft_type);
  if (!type) {
    const given = String(config.peft_type);
    throw new Error(
      `${where}: peft_type "${given}" is not supported${didYouMean(given, peftTypes)}; ${peftTypes.join(', ')} are`,
    );
  }
  const known = Object.keys(schemas[type].shape);
  for (const [key, value] of Object.entries(config)) {
    if (known.includes(key) || harmless.has(key) || !says(value)) continue;
    if (unsupported.has(key)) {
      throw new Error(`${where}: ${key} is set, which is not supported: ${JSON.stringify(value)}`);
    }
    onWarning(`${where}: adapter_config.json: unknown key "${key}"${didYouMean(key, known)} is left out`);
  }
  const parsed = schemas[type].safeParse(config);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new Error(`${where}: adapter_config.json: ${issue!.path.join('.')}: ${issue!.message}`);
}
