import { expect, test } from 'vitest';
import { constant, grad, i64, input, print, type Tensor } from '../../graph/index.ts';
import { normalInit, type Scope, trace } from '../../nn/index.ts';
import { Random, runOnce } from '../../runtime/index.ts';
import { initParams } from '../../train/index.ts';
import { deepText, deepVision, parseClipConfig, replaceTokens, textTower, visionTower } from './index.ts';

const tower = { hidden_size: 16, num_hidden_layers: 3, num_attention_heads: 2, intermediate_size: 32 };
const config = parseClipConfig({
  projection_dim: 8,
  text_config: { ...tower, vocab_size: 20, max_position_embeddings: 8, eos_token_id: 19 },
  vision_config: { ...tower, image_size: 8, patch_size: 4 },
});
const ids = constant(i64([1, 2, 3, 4, 19, 1, 5, 6, 7, 19], [2, 5]));
const pixels = constant({
  dtype: 'float32',
  shape: [2, 3, 8, 8],
  data: new Random(1).fill(2 * 3 * 64, (r) => r.normal()),
});

/** Two soft tokens a layer: appended to the image's tokens, in place of the words 1 and 2 of the text. */
function deepPrompts(scope: Scope, prompt: (tower: string, layer: number) => Tensor): Scope {
  const layers = (tower: string) => [0, 1, 2].map((layer) => prompt(tower, layer));
  const slots = [
    [1, 2],
    [1, 2],
  ];
  return deepVision(deepText(scope, layers('text'), slots), layers('vision'));
}

async function run(build: (scope: Scope) => Record<string, Tensor>) {
  const { result, params } = trace('scratch', build);
  const values = await initParams(params, 3);
  return runOnce(result, Object.fromEntries(params.map((p) => [`param/${p.name}`, values[p.name]!])));
}

const features = (s: Scope) => ({
  image: visionTower(s, pixels, config).features,
  text: textTower(s, ids, config).features,
});

test('every layer of both towers takes soft tokens, and each of them gets a gradient', async () => {
  const out = await run((scope) => {
    const prompts: Tensor[] = [];
    const s = deepPrompts(scope, (tower, layer) => {
      const p = scope.param(`${tower}.${layer}`, [2, 16], normalInit(0.5));
      prompts.push(p);
      return p;
    });
    const { image, text } = features(s);
    expect(prompts).toHaveLength(6);
    const weights = constant({
      dtype: 'float32',
      shape: [8],
      data: new Random(2).fill(8, (r) => r.normal()),
    });
    const gradients = grad(image.mul(weights).sum().add(text.mul(weights).sum()), prompts);
    return Object.fromEntries(gradients.map((g, i) => [`g${i}`, g.abs().max()]));
  });
  for (const [name, { data }] of Object.entries(out)) expect(Number(data[0]), name).toBeGreaterThan(1e-4);
});

test('replacing tokens by themselves changes nothing, by others it does', async () => {
  const plain = await run(features);
  const same = await run((scope) =>
    features(
      scope.intercept({
        tap: {
          'vision_model.encoder.layers.*:in': (x) => replaceTokens(x, x.slice(1, 3), 3),
          'text_model.encoder.layers.*:in': (x) => replaceTokens(x, x.slice(1, 1, 3), 1),
        },
      }),
    ),
  );
  expect(same).toEqual(plain);
  const other = await run((scope) =>
    features(deepPrompts(scope, () => constant({ ...zero, shape: [2, 16] }))),
  );
  expect(other.image!.data).not.toEqual(plain.image!.data);
  expect(other.text!.data).not.toEqual(plain.text!.data);
});

const zero = { dtype: 'float32', data: new Float32Array(32) } as const;

test('soft tokens of a layer that is not there are refused', () => {
  const x = input('pixels', [1, 3, 8, 8]);
  const tokens = new Array(4).fill(constant({ ...zero, shape: [2, 16] }));
  expect(() => trace('scratch', (s) => visionTower(deepVision(s, tokens), x, config))).toThrow(
    'The tap pattern "vision_model.encoder.layers.3:in" matches no site',
  );
});

test('the last layer is computed whole only where its output is tapped; features are the same', async () => {
  let seen: readonly number[] = [];
  const lastRows = (s: Scope) =>
    s.intercept({
      tap: {
        'text_model.encoder.layers.2:out': (x) => {
          seen = x.shape;
          return x;
        },
        'vision_model.encoder.layers.2:out': (x) => x,
      },
    });
  const short = await run(features);
  const whole = await run((s) => features(lastRows(s)));
  expect(seen).toEqual([2, 5, 16]);
  for (const tower of ['image', 'text'] as const) {
    short[tower]!.data.forEach((v, i) => {
      expect(Number(v)).toBeCloseTo(Number(whole[tower]!.data[i]), 5);
    });
  }
  const text = trace('scratch', (s) => ({ text: textTower(s, ids, config).features })).result;
  // The last layer's MLP sees one position a sentence.
  expect(print(text)).toContain('float32[2, 1, 32]');
});
