import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import {
  concat,
  constant,
  f32,
  grad,
  type HostTensor,
  i64,
  input,
  print,
  type Tensor,
  toFloat32,
} from '../../graph/index.ts';
import { readSafetensors, type SafetensorsSource } from '../../hub/safetensors.ts';
import { activations, crossEntropy, intercept, normalInit, trace } from '../../nn/index.ts';
import { compile } from '../../runtime/index.ts';
import { type ClipConfig, parseClipConfig, writeClipConfig } from './config.ts';
import { cosineLogits, logitScale, type TowerOutput, textTower, visionTower } from './towers.ts';

const testdata = fileURLToPath(new URL('./testdata/', import.meta.url));
const configOf = (variant: string): Record<string, unknown> =>
  JSON.parse(readFileSync(`${testdata}${variant}/config.json`, 'utf8'));

interface Fixture {
  config: ClipConfig;
  source: SafetensorsSource;
  golden: (name: string) => Promise<HostTensor>;
}
async function fixture(variant: string): Promise<Fixture> {
  const golden = await readSafetensors(`${testdata}${variant}/golden.safetensors`);
  return {
    config: parseClipConfig(configOf(variant)),
    source: await readSafetensors(`${testdata}${variant}`),
    golden: (name) => golden.get(name)!.load(),
  };
}

/** Largest difference, relative to the largest golden value where that is above 1. */
function difference(got: HostTensor, golden: HostTensor): number {
  expect(got.shape).toEqual(golden.shape);
  const want = toFloat32(golden).data;
  let scale = 1;
  let error = 0;
  for (let i = 0; i < want.length; i++) {
    scale = Math.max(scale, Math.abs(want[i]!));
    error = Math.max(error, Math.abs(Number(got.data[i]) - want[i]!));
    if (Number.isNaN(Number(got.data[i]))) return Number.NaN;
  }
  return error / scale;
}
/** The same, relative to the largest golden value whatever it is: for gradients, which may all be small. */
function relative(got: HostTensor, golden: HostTensor): number {
  const largest = Math.max(...toFloat32(golden).data.map(Math.abs));
  const unit = (t: HostTensor) => ({ ...t, data: toFloat32(t).data.map((x) => x / largest) }) as HostTensor;
  return difference(unit(got), unit(golden));
}

const tower = (prefix: string, t: TowerOutput): Record<string, Tensor> => ({
  ...Object.fromEntries(t.hiddenStates().map((h, i) => [`${prefix}.hidden.${i}`, h])),
  [`${prefix}.last`]: t.lastHiddenState(),
  [`${prefix}.pooled`]: t.pooled,
  [`${prefix}.features`]: t.features,
});

async function evaluate(outputs: Record<string, Tensor>, feeds: Record<string, HostTensor>) {
  const program = await compile(outputs);
  try {
    return await program.run(feeds);
  } finally {
    await program.release();
  }
}

const variants = ['plain', 'gelu-float16', 'sharded-bfloat16', 'config-of-2021'];

describe.each(variants)('%s equals transformers', (variant) => {
  test('every hidden state, pooled output, features and logits', async () => {
    const { config, source, golden } = await fixture(variant);
    const feeds = { ids: await golden('ids'), mask: await golden('mask'), pixels: await golden('pixels') };
    const { result } = trace(source, (s) => {
      const ids = input('ids', feeds.ids.shape, 'int64');
      const mask = input('mask', feeds.mask.shape, 'int64');
      const text = textTower(s, ids, config);
      const masked = textTower(s, ids, config, mask);
      const short = textTower(s, ids.slice(0, 1).slice(1, 0, 7), config);
      const vision = visionTower(s, input('pixels', feeds.pixels.shape), config);
      return {
        ...tower('text', text),
        ...tower('masked', masked),
        ...tower('short', short),
        ...tower('vision', vision),
        logits_per_image: cosineLogits(vision.features, masked.features, logitScale(s, config)),
      };
    });
    const out = await evaluate(result, feeds);
    for (const name of Object.keys(result)) {
      expect(difference(out[name]!, await golden(name)), name).toBeLessThan(1e-4);
    }
    expect(config.text.layers + config.vision.layers).toBeGreaterThan(3);
  });

  test('ids cut behind the longest end token have the same features', async () => {
    const { config, source, golden } = await fixture(variant);
    const all = await golden('ids');
    const feeds = { ids: all };
    const { result } = trace(source, (s) => {
      const ids = input('ids', all.shape, 'int64').slice(0, 1);
      return {
        whole: textTower(s, ids, config).features,
        // The two shorter captions end at positions 4 and 6.
        cut: textTower(s, ids.slice(1, 0, 7), config).features,
      };
    });
    const out = await evaluate(result, feeds);
    expect(difference(out.cut!, out.whole!)).toBeLessThan(1e-5);
  });
});

describe('gradients of the contrastive loss', () => {
  test('equal PyTorch for weights of every kind', async () => {
    const { config, source, golden } = await fixture('plain');
    const file = await readSafetensors(`${testdata}plain/golden.safetensors`);
    const wanted = file.names().filter((name) => name.startsWith('grad/'));
    const feeds: Record<string, HostTensor> = {};
    for (const name of ['ids', 'mask', 'pixels']) feeds[name] = await golden(name);
    const { result, params } = trace(source, (scope) => {
      const s = intercept(scope, {
        weight: Object.fromEntries(wanted.map((name) => [name.slice(5), (_w, match) => match.train()])),
      });
      const ids = input('ids', feeds.ids!.shape, 'int64');
      const text = textTower(s, ids, config, input('mask', feeds.mask!.shape, 'int64'));
      const vision = visionTower(s, input('pixels', feeds.pixels!.shape), config);
      const logits = cosineLogits(vision.features, text.features, logitScale(s, config));
      const classes = constant(i64([0, 1, 2]));
      const loss = crossEntropy(logits, classes).add(crossEntropy(logits.transpose(), classes)).mul(0.5);
      return { loss };
    });
    expect(params).toHaveLength(wanted.length);
    const gradients = grad(
      result.loss,
      params.map((p) => p.tensor),
    );
    for (const p of params) {
      feeds[`param/${p.name}`] = await source.get(p.name)!.load();
    }
    const out = await evaluate(
      { ...result, ...Object.fromEntries(params.map((p, i) => [`grad/${p.name}`, gradients[i]!])) },
      feeds,
    );
    expect(difference(out.loss!, await golden('loss'))).toBeLessThan(1e-5);
    for (const name of wanted) {
      // The bias of the keys moves all scores of a row alike: its gradient is rounding alone.
      if (name.includes('k_proj.bias')) continue;
      expect(relative(out[name]!, await golden(name)), name).toBeLessThan(1e-4);
    }
  });
});

describe('config.json', () => {
  test('keys left out have the values of transformers', () => {
    const tower = { layers: 12, activation: 'quick_gelu', eps: 1e-5 };
    expect(parseClipConfig({ text_config: null, vision_config_dict: null })).toEqual({
      projection: 512,
      logitScaleInit: 2.6592,
      text: {
        ...tower,
        ...{ width: 512, heads: 8, mlpWidth: 2048, vocabulary: 49408, context: 77, eosToken: 49407 },
      },
      vision: {
        ...tower,
        ...{ width: 768, heads: 12, mlpWidth: 3072, imageSize: 224, patchSize: 32, channels: 3 },
      },
    });
  });

  test('*_config_dict overrides *_config, by its defaults too', () => {
    const config = parseClipConfig({
      text_config: { hidden_size: 64, eos_token_id: 2, layer_norm_eps: 0.1 },
      text_config_dict: { hidden_size: 128 },
      vision_config: { patch_size: 16 },
    });
    expect(config.text).toMatchObject({ width: 128, eosToken: 49407, eps: 1e-5 });
    expect(config.vision.patchSize).toBe(16);
  });

  test('what is written is read again', () => {
    const config = parseClipConfig(configOf('gelu-float16'));
    expect(parseClipConfig(writeClipConfig(config, { bos: 62, eos: 2, pad: 0 }))).toEqual(config);
  });

  test('what does not fit is refused, with the key', () => {
    expect(() => parseClipConfig({ model_type: 'siglip' })).toThrow(
      'config.json describes a "siglip" model, not "clip"',
    );
    expect(() => parseClipConfig({ text_config: { hidden_act: 'quickgelu' } })).toThrow(
      'config.json: unknown activation text_config.hidden_act "quickgelu" (did you mean "quick_gelu"',
    );
    expect(() => parseClipConfig({ vision_config: { num_attention_heads: 7 } })).toThrow(
      'config.json: vision_config width 768 is not a multiple of its 7 heads',
    );
    expect(() => parseClipConfig({ vision_config: { image_size: '224' } })).toThrow(
      'config.json: vision_config.image_size must be a number, not "224"',
    );
    expect(() => parseClipConfig({ text_config: { num_hidden_layers: 1.5 } })).toThrow(
      'config.json: text_config.num_hidden_layers must be a positive whole number, not 1.5',
    );
  });
});

test('activations equal those of transformers', async () => {
  const golden: Record<string, number[]> = JSON.parse(readFileSync(`${testdata}activations.json`, 'utf8'));
  const { x, ...tables } = golden;
  const at = input('x', [x!.length]);
  expect(Object.keys(activations).sort()).toEqual(Object.keys(tables).sort());
  const out = await evaluate(
    Object.fromEntries(Object.entries(activations).map(([name, f]) => [name, f(at)])),
    { x: f32(x!) },
  );
  for (const [name, want] of Object.entries(tables)) {
    expect(difference(out[name]!, f32(want)), name).toBeLessThan(1e-6);
  }
});

test('inputs that do not fit a tower, and weights that do not fit config.json, are refused', async () => {
  const { config, source } = await fixture('plain');
  const fails = (build: Parameters<typeof trace>[1]) => expect(() => trace(source, build));
  fails((s) => textTower(s, input('ids', [1, 13], 'int64'), config)).toThrow(
    "13 tokens do not fit the text tower's context of 12",
  );
  fails((s) => visionTower(s, input('pixels', [1, 3, 24, 24]), config)).toThrow(
    'The vision tower expects [B, 3, 20, 20], not [1,3,24,24]',
  );
  const wide = { ...config, text: { ...config.text, vocabulary: 65 } };
  fails((s) => textTower(s, input('ids', [1, 5], 'int64'), wide)).toThrow(
    /Weight "text_model.embeddings.token_embedding.weight" in .* is \[64,32\] but the model expects \[65,32\]/,
  );
  const deep = { ...config, vision: { ...config.vision, layers: 4 } };
  fails((s) => visionTower(s, input('pixels', [1, 3, 20, 20]), deep)).toThrow(
    /Weight "vision_model.encoder.layers.3.layer_norm1.weight" is missing from .*did you mean "vision_model/,
  );
});

describe('a soft prompt', () => {
  /** Classification of images by sentences whose second and third token are learnt, with its gradient. */
  async function promptStep() {
    const { config, source, golden } = await fixture('plain');
    const feeds: Record<string, HostTensor> = { ids: await golden('ids'), pixels: await golden('pixels') };
    const { result, params } = trace(source, (scope) => {
      const s = intercept(scope, {
        tap: {
          'text_model.embeddings:tokens': (tokens, { param }) => {
            const [n, length, width] = tokens.shape as [number, number, number];
            const soft = param('prompt', [2, width], normalInit(0.02)).expand([n, 2, width]);
            return concat([tokens.slice(1, 0, 1), soft, tokens.slice(1, 3, length)], 1);
          },
        },
      });
      const vision = visionTower(s, input('pixels', feeds.pixels!.shape), config);
      const text = textTower(s, input('ids', feeds.ids!.shape, 'int64'), config);
      const logits = cosineLogits(vision.features, text.features, logitScale(s, config));
      return { loss: crossEntropy(logits, constant(i64([0, 1, 2]))), features: text.features };
    });
    const [gradient] = grad(result.loss, [params[0]!.tensor]);
    return { config, source, golden, feeds, params, ...result, gradient: gradient! };
  }
  const count = (text: string, op: string) => text.split('\n').filter((l) => l.includes(` = ${op}(`)).length;

  test('set to the token embeddings it replaces changes nothing', async () => {
    const { source, golden, feeds, features, params } = await promptStep();
    expect(params.map(({ name, shape }) => [name, shape])).toEqual([['prompt', [2, 32]]]);
    const table = toFloat32(await source.get('text_model.embeddings.token_embedding.weight')!.load()).data;
    const row = (position: number) => Number(feeds.ids!.data[position]);
    const rows = [row(1), row(2)].flatMap((id) => [...table.subarray(id * 32, id * 32 + 32)]);
    const out = await evaluate(
      { first: features.slice(0, 0, 1) },
      {
        ids: feeds.ids!,
        'param/prompt': f32(rows, [2, 32]),
      },
    );
    const want = await golden('text.features');
    expect(difference(out.first!, f32(toFloat32(want).data.slice(0, 16), [1, 16]))).toBeLessThan(1e-5);
  });

  test('has a backward pass through the text tower alone, of no more products than it needs', async () => {
    const { loss, gradient } = await promptStep();
    const forward = print({ loss });
    const both = print({ loss, gradient });
    // A text layer has 6 products with weights or activations twice (scores and mix); the vision tower adds its
    // patches; projections and the logits make 3 more.
    expect(count(forward, 'matmul')).toBe(2 * 8 + 3 * 8 + 1 + 2 + 1);
    // Backward through a frozen product is one product; through scores and mix two each. Nothing of the vision
    // tower, and no gradient of a weight.
    expect(count(both, 'matmul') - count(forward, 'matmul')).toBe(2 * (6 + 2 * 2) + 1 + 1);
    expect(both.match(/vision_model/g)).toHaveLength(forward.match(/vision_model/g)!.length);
  });

  test('has the gradient that differences give', async () => {
    const { loss, gradient, feeds } = await promptStep();
    const program = await compile({ loss, gradient });
    const start = Float32Array.from({ length: 64 }, (_, i) => Math.sin(i));
    const at = async (values: Float32Array) =>
      program.run({ ...feeds, 'param/prompt': f32(values, [2, 32]) });
    const analytic = (await at(start)).gradient.data;
    const direction = Float32Array.from({ length: 64 }, (_, i) => Math.cos(3 * i));
    const h = 1e-2;
    const moved = (by: number) => start.map((x, i) => x + by * direction[i]!);
    const up = Number((await at(moved(h))).loss.data[0]);
    const down = Number((await at(moved(-h))).loss.data[0]);
    const slope = direction.reduce((sum, d, i) => sum + d * Number(analytic[i]), 0);
    expect(Math.abs((up - down) / (2 * h) - slope)).toBeLessThan(2e-2 * Math.max(1, Math.abs(slope)));
    await program.release();
  });
});
