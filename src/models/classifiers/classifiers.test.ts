import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { grad, type HostTensor, i64, input, sizeOf, type Tensor } from '../../graph/index.ts';
import { batchNormInTraining, crossEntropy, trace } from '../../nn/index.ts';
import { runOnce } from '../../runtime/index.ts';
import {
  convNet,
  type ImageClassifier,
  imageClassifier,
  imageClassifiers,
  leNet,
  mlp,
  resNet,
  wideResNet,
} from './index.ts';

type Sketch = [norm: number, product: number];
interface Result {
  readonly logits: number[];
  readonly loss: number;
  readonly features: Sketch;
  readonly images: Sketch;
  readonly gradients: Record<string, Sketch>;
  readonly running?: Record<string, Sketch>;
}
interface Variant {
  readonly shape: number[];
  readonly weights: Record<string, number[]>;
  readonly eval: Result;
  readonly train?: Result;
}
const golden: { variants: Record<string, Variant>; digests: Record<string, string> } = JSON.parse(
  readFileSync(new URL('./testdata/golden.json', import.meta.url), 'utf8'),
);

const networks: Record<string, ImageClassifier> = {
  convnet: (s, x) => convNet(s, x, { classes: 3, width: 6 }),
  'convnet-grey': (s, x, norm) =>
    convNet(
      s,
      x,
      {
        classes: 3,
        width: 4,
        depth: 2,
        norm: 'batchnorm',
        activation: 'leakyrelu',
        pooling: 'maxpooling',
      },
      norm,
    ),
  'convnet-layernorm': (s, x) =>
    convNet(s, x, {
      classes: 3,
      width: 4,
      depth: 2,
      norm: 'layernorm',
      activation: 'sigmoid',
      pooling: 'none',
    }),
  'convnet-groupnorm': (s, x) =>
    convNet(s, x, { classes: 3, width: 8, depth: 2, norm: 'groupnorm', activation: 'swish' }),
  'convnet-bare': (s, x) => convNet(s, x, { classes: 3, width: 4, depth: 1, norm: 'none' }),
  'lenet-grey': (s, x) => leNet(s, x, { classes: 3 }),
  lenet: (s, x) => leNet(s, x, { classes: 3 }),
  'lenet-batchnorm': (s, x, norm) => leNet(s, x, { classes: 3, batchNorm: true }, norm),
  mlp: (s, x) => mlp(s, x, { classes: 3, widths: [12, 10] }),
  'mlp-batchnorm': (s, x, norm) => mlp(s, x, { classes: 3, widths: [12, 10], batchNorm: true }, norm),
  'resnet-basic': (s, x, norm) =>
    resNet(s, x, { classes: 3, blocks: [1, 2, 1], width: 4, stem: 'cifar' }, norm),
  'resnet-imagenet': (s, x, norm) =>
    resNet(s, x, { classes: 3, blocks: [2, 1], width: 4, stem: 'imagenet' }, norm),
  'resnet-bottleneck': (s, x, norm) =>
    resNet(s, x, { classes: 3, blocks: [2, 1], width: 4, stem: 'cifar', bottleneck: true }, norm),
  'wide-resnet': (s, x, norm) => wideResNet(s, x, { classes: 3, depth: 16, width: 3 }, norm),
};

/** As in tools/reference/classifiers.py. */
function wave(shape: readonly number[], phase: number, mean = 0, amplitude = 1): HostTensor<'float32'> {
  const data = Float32Array.from(
    { length: sizeOf(shape) },
    (_, i) => mean + amplitude * Math.sin(1.7 * i + phase),
  );
  return { dtype: 'float32', shape, data };
}
const weightsOf = ({ weights }: Variant): Record<string, HostTensor> =>
  Object.fromEntries(
    Object.entries(weights).map(([name, shape], phase) => {
      const norm = shape.length === 1 || shape.length === 3;
      const one = name.endsWith('running_var') || (norm && name.endsWith('weight'));
      const value = norm
        ? wave(shape, phase, one ? 1 : 0, 0.3)
        : wave(shape, phase, 0, 1.7 / Math.sqrt(sizeOf(shape.slice(1))));
      return [`param/${name}`, value];
    }),
  );

function sketch(t: HostTensor): Sketch {
  const other = wave([t.data.length], 0.5).data;
  let [square, product] = [0, 0];
  for (let i = 0; i < other.length; i++) {
    square += Number(t.data[i]) ** 2;
    product += Number(t.data[i]) * other[i]!;
  }
  return [Math.sqrt(square), product];
}
/** The product is a sum of both signs: its error is measured by the norm. */
function expectSketch(t: HostTensor, [norm, product]: Sketch, name: string): void {
  const [gotNorm, gotProduct] = sketch(t);
  const scale = Math.max(norm, 1e-2);
  expect(Math.abs(gotNorm - norm) / scale, `norm of ${name}`).toBeLessThan(1e-4);
  expect(
    Math.abs(gotProduct - product) / scale / Math.sqrt(t.data.length),
    `product of ${name}`,
  ).toBeLessThan(1e-4);
}

/** Loss, logits and features with the gradients of all parameters, and the next running statistics. */
async function run(name: string, variant: Variant, training: boolean) {
  const images = input('images', variant.shape);
  const labels = input('labels', [variant.shape[0]!], 'int64');
  const { result, params, buffers } = trace('scratch', (s) => {
    const { features, logits } = networks[name]!(s, images, training ? batchNormInTraining : undefined);
    return { features, logits, loss: crossEntropy(logits, labels) };
  });
  const trained = params.filter((p) => !p.name.includes('running'));
  const gradients = grad(result.loss, [images, ...trained.map((p) => p.tensor)]);
  const outputs: Record<string, Tensor> = { ...result, 'gradient images': gradients[0]! };
  trained.forEach((p, i) => {
    outputs[`gradient ${p.name}`] = gradients[i + 1]!;
  });
  for (const b of buffers.values()) outputs[`running ${b.name}`] = b.next;
  const feeds = {
    ...weightsOf(variant),
    images: wave(variant.shape, 0.3),
    labels: i64(Array.from({ length: variant.shape[0]! }, (_, i) => i % 3)),
  };
  const read = [...params, ...buffers.values()];
  return { read: read.map((p) => [p.name, [...p.shape]]), out: await runOnce(outputs, feeds) };
}

describe.each(Object.entries(golden.variants))('%s equals PyTorch', (name, variant) => {
  const modes = ['eval', 'train'] as const;
  test.each(modes.filter((mode) => variant[mode]))('in %s mode: names, logits, gradients', async (mode) => {
    const { read, out } = await run(name, variant, mode === 'train');
    expect(new Set(read)).toEqual(new Set(Object.entries(variant.weights)));
    const want = variant[mode]!;
    const scale = Math.max(1, ...want.logits.map(Math.abs));
    want.logits.forEach((logit, i) => {
      expect(Math.abs(Number(out.logits!.data[i]) - logit) / scale, `logit ${i}`).toBeLessThan(1e-4);
    });
    expect(Math.abs(Number(out.loss!.data[0]) - want.loss) / Math.max(1, want.loss)).toBeLessThan(1e-4);
    expectSketch(out.features!, want.features, 'features');
    expectSketch(out['gradient images']!, want.images, 'the gradient of the images');
    for (const [key, value] of Object.entries(want.gradients))
      expectSketch(out[`gradient ${key}`]!, value, key);
    for (const [key, value] of Object.entries(want.running ?? {}))
      expectSketch(out[`running ${key}`]!, value, key);
  });
});

test('at their full size they have the weights of torchvision, RobustBench and dataset condensation', () => {
  for (const [name, want] of Object.entries(golden.digests)) {
    const classes = name.startsWith('resnet') ? 1000 : 10;
    const images = input('images', [1, 3, ...(classes === 1000 ? [224, 224] : [32, 32])]);
    const { params } = trace('scratch', (s) => imageClassifier(name, classes)(s, images));
    const lines = params.map((p) => `${p.name} [${p.shape}]`).sort();
    expect(createHash('sha256').update(lines.join('\n')).digest('hex').slice(0, 16), name).toBe(want);
  }
});

test('parameters of named networks on small images', () => {
  const count = (name: string, shape = [1, 3, 32, 32]) => {
    const build: ImageClassifier = imageClassifier(name, 10);
    const { params } = trace('scratch', (s) => build(s, input('images', shape), batchNormInTraining));
    return params.reduce((n, p) => n + sizeOf(p.shape), 0);
  };
  expect(count('convnet-3')).toBe(320_010);
  expect(count('resnet-18-cifar')).toBe(11_173_962);
  expect(count('resnet-18', [1, 3, 224, 224])).toBe(11_689_512 - 513_000 + 5_130);
  expect(count('lenet', [1, 1, 28, 28])).toBe(61_706);
  expect(Object.keys(imageClassifiers).length).toBeGreaterThan(8);
});

test('names and depths that there are not', () => {
  expect(() => imageClassifier('resnet18', 10)).toThrow(
    'There is no network "resnet18" (did you mean "resnet-18"',
  );
  expect(() =>
    trace('scratch', (s) => wideResNet(s, input('x', [1, 3, 32, 32]), { classes: 10, depth: 18 })),
  ).toThrow('A WideResNet has 6n + 4 layers, such as 16, 28 or 40, not 18');
});
