import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import {
  avgPool,
  constant,
  cosineSimilarity,
  f32,
  gelu,
  grad,
  i64,
  input,
  relu,
  softplus,
  type Tensor,
} from '../graph/index.ts';
import { expectClose } from '../graph/testing/golden.ts';
import { compile } from '../runtime/index.ts';
import {
  causalMask,
  conv,
  crossEntropy,
  dotProductAttention,
  groupNorm,
  joinHeads,
  layerNorm,
  linear,
  type Scope,
  splitHeads,
  trace,
} from './index.ts';

type Host = { shape: number[]; data: number[] };
interface Golden {
  weights: Record<string, Host>;
  inputs: Record<string, Host>;
  loss: number;
  gradients: Record<string, number[]>;
}
/** Written by `tools/reference/composites.py`. */
const golden = JSON.parse(
  readFileSync(new URL('./testdata/composites.json', import.meta.url), 'utf8'),
) as Record<string, Golden>;

/** Traces `loss` over fresh parameters and compares it, and its gradients by name, with PyTorch's. */
async function check(
  name: string,
  lossOf: (s: Scope, inputs: Record<string, Tensor>) => Tensor,
  wrt: 'weights' | 'inputs' = 'weights',
): Promise<void> {
  const { weights, inputs, loss: wantedLoss, gradients } = golden[name]!;
  const xs = Object.fromEntries(Object.entries(inputs).map(([k, { shape }]) => [k, input(k, shape)]));
  const { result: loss, params } = trace('scratch', (s) => lossOf(s, xs));
  expect(params.map((p) => p.name).sort()).toEqual(Object.keys(weights).sort());
  const of = (k: string) => (wrt === 'inputs' ? xs[k]! : params.find((p) => p.name === k)!.tensor);
  const names = Object.keys(gradients);
  const found = grad(loss, names.map(of));
  const outputs: Record<string, Tensor> = { loss };
  found.forEach((g, i) => {
    outputs[`gradient ${names[i]}`] = g;
  });
  const program = await compile(outputs);
  const feeds = Object.entries(weights).map(
    ([k, { shape, data }]) => [`param/${k}`, f32(data, shape)] as const,
  );
  const given = Object.entries(inputs).map(([k, { shape, data }]) => [k, f32(data, shape)] as const);
  const out = await program.run(
    Object.fromEntries([...feeds, ...given].filter(([k]) => program.inputs.has(k))),
  );
  await program.release();
  expectClose(out.loss!.data, [wantedLoss], 'loss');
  for (const [k, want] of Object.entries(gradients)) expectClose(out[`gradient ${k}`]!.data, want, k);
}

test('a transformer block', async () => {
  await check('transformer', (s, { x }) => {
    const attention = (at: Scope, h: Tensor) => {
      const packed = h.matmul(at.weight('in_proj_weight', [24, 8]), { transB: true });
      const qkv = packed.add(at.weight('in_proj_bias', [24]));
      const [q, k, v] = [0, 8, 16].map((i) => splitHeads(qkv.slice(2, i, i + 8), 2)) as [
        Tensor,
        Tensor,
        Tensor,
      ];
      return linear(at.at('out_proj'), joinHeads(dotProductAttention(q, k, v, causalMask(5))), 8);
    };
    const h = x!.add(attention(s.at('self_attn'), layerNorm(s.at('norm1'), x!)));
    const inner = gelu(linear(s.at('linear1'), layerNorm(s.at('norm2'), h), 16));
    return h
      .add(linear(s.at('linear2'), inner, 8))
      .square()
      .mean();
  });
});

/** The small network of dataset distillation: convolution, instance norm, activation and average pooling, twice. */
function convNet(s: Scope, images: Tensor, activation = relu): Tensor {
  let x = images;
  for (let i = 0; i < 2; i++) {
    x = groupNorm(s.at(`norm${i}`), conv(s.at(`conv${i}`), x, 4, [3, 3], { padding: 1 }), 4);
    x = avgPool(activation(x), 2);
  }
  return linear(s.at('classifier'), x.reshape([x.dim(0), -1]), 3);
}
const classes = (n: number) => constant(i64(Array.from({ length: n }, (_, i) => i % 3)));
const lossOf = (s: Scope, x: Tensor, activation = relu) =>
  crossEntropy(convNet(s, x, activation), classes(x.dim(0)));

test('a ConvNet with instance norm', async () => {
  await check('convnet', (s, { x }) => lossOf(s, x!));
});

test('gradient matching: the gradient of a distance between gradients', async () => {
  await check(
    'matching',
    (s, { real, synthetic }) => {
      const names = Object.keys(golden.matching!.weights);
      const losses = [synthetic!, real!].map((x) => lossOf(s, x, softplus));
      const weights = names.map((k) => s.weight(k, golden.matching!.weights[k]!.shape));
      const [a, b] = losses.map((loss) => grad(loss, weights)) as [Tensor[], Tensor[]];
      const distances = a.flatMap((g, i) => {
        if (g.rank === 1) return [];
        const rows = (t: Tensor) => t.reshape([t.dim(0), -1]);
        return [cosineSimilarity(rows(g), rows(b[i]!)).neg().add(1).sum()];
      });
      return distances.reduce((x, y) => x.add(y));
    },
    'inputs',
  );
});

test('MAML: the gradient through a step of gradient descent', async () => {
  await check('maml', (s, { support, query }) => {
    const loss = lossOf(s, support!);
    const names = Object.keys(golden.maml!.weights);
    const weights = names.map((k) => s.weight(k, golden.maml!.weights[k]!.shape));
    const gradients = grad(loss, weights);
    const adapted = s.intercept({
      weight: { '**': (w, { name }) => w.sub(gradients[names.indexOf(name)]!.mul(0.4)) },
    });
    return lossOf(adapted, query!);
  });
});
