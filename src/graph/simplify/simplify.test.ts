import { describe, expect, test } from 'vitest';
import { cosineLogits, parseClipConfig, textTower, visionTower } from '../../models/clip/index.ts';
import { crossEntropy, type Intercept, normalInit, type Scope, trace } from '../../nn/index.ts';
import { compile } from '../../runtime/program.ts';
import { Random } from '../../runtime/random.ts';
import * as g from '../index.ts';
import { constant, f32, grad, i64, input, nodesOf, print, simplify, type Tensor } from '../index.ts';
import * as models from '../testing/models.ts';

const x = input('x', [2, 3]);
const w = input('w', [3, 4]);
const cube = input('cube', [2, 3, 4]);
const row = input('row', [3]);

const tower = { hidden_size: 16, intermediate_size: 32, num_hidden_layers: 2, num_attention_heads: 2 };
const clip = {
  projection_dim: 8,
  text_config: { ...tower, vocab_size: 20, max_position_embeddings: 5 },
  vision_config: { ...tower, image_size: 8, patch_size: 4 },
};

/** What is left of a graph, without its leaves: names of the inputs stand for them. */
function left(outputs: Record<string, Tensor>): string {
  const names = new Map<string, string>();
  const lines = print(simplify(outputs))
    .split('\n')
    .flatMap((line) => {
      const [, id, name] = /^(%\d+) = input\(\) (\S+)/.exec(line) ?? [];
      if (id) names.set(id, name!);
      return id ? [] : [line.replaceAll(/%\d+(\.\d)?\b/g, (v) => names.get(v) ?? v)];
    });
  return lines.join('\n');
}

describe('what vanishes', () => {
  const full = (value: number) => constant(value).expand([2, 3]);
  // By name: to print a tensor is to print its graph.
  const pairs: [string, Tensor, Tensor][] = [
    ['x + 0', x.add(full(0)), x],
    ['0 + x', full(0).add(x), x],
    ['x − 0', x.sub(full(0)), x],
    ['x·1', full(1).mul(x), x],
    ['x / 1', x.div(full(1)), x],
    ['x¹', x.pow(full(1)), x],
    ['−(−x)', x.neg().neg(), x],
    ['not not', g.not(g.not(g.less(x, 0))), g.less(x, 0)],
    ['a cast and back', x.cast('float64').cast('float32'), x],
    ['transposed twice', cube.transpose([2, 0, 1]).transpose([1, 2, 0]), cube],
    ['reshaped and back', x.reshape([6]).reshape([3, 2]).reshape([2, 3]), x],
    ['axes of length 1 that change places', x.reshape([2, 1, 3]).transpose([1, 0, 2]).reshape([2, 3]), x],
    ['pieces put together', g.concat(g.split(cube, [1, 2, 1], 2), 2), cube],
    ['a piece of what was put together', g.concat([x, x.exp()], 0).slice(0, 0, 2), x],
    ['cut from its padding', g.pad(x, [1, 2], [0, 1]).slice(0, 1).slice(1, 2, 5), x],
    ['all rows by index', g.gather(x, constant(i64([0, 1]))), x],
    ['known conditions', g.where(constant({ dtype: 'bool', shape: [], data: Uint8Array.of(1) }), x, 0), x],
    ['the same on both sides', g.where(g.less(x, 0), x, x), x],
    ['a sum over axes of length 1', x.reshape([2, 1, 3]).sum(1), x],
    ['stopped gradients', g.stopGradient(x), x],
    ['checkpoints', g.checkpoint((t: Tensor) => t.exp())(x), x.exp()],
  ];
  test.each(pairs.map((_, i) => i))('%i', (i) => {
    const [name, y, plain] = pairs[i]!;
    expect(print(simplify({ y })), name).toBe(print({ y: plain }));
  });

  test('x·0, x − x and x / x stay: x may be NaN or infinite', () => {
    expect(left({ y: x.mul(0).add(x.sub(x)).add(x.div(x)) })).toMatchInlineSnapshot(`
      "%1 = mul(x, 0) : float32[2, 3]
      %2 = sub(x, x) : float32[2, 3]
      %3 = add(%1, %2) : float32[2, 3]
      %4 = div(x, x) : float32[2, 3]
      %5 = add(%3, %4) : float32[2, 3]
      y = %5"
    `);
  });
  test('what nothing reads', () => {
    const [a, b] = g.split(x, [1, 2], 1) as [Tensor, Tensor];
    expect(left({ y: g.concat([a.exp(), g.tanh(b)], 1).slice(1, 0, 1) })).toMatchInlineSnapshot(`
      "%1 = slice(x) {starts=[0,0] ends=[2,1]} : float32[2, 1]
      %2 = exp(%1) : float32[2, 1]
      y = %2"
    `);
  });
});

/** Each with the values that it had. */
describe('what becomes something else', () => {
  const rows = input('rows', [5, 1, 4]);
  const columns = input('columns', [1, 6, 4]);
  const cases: Record<string, Tensor> = {
    'numbers are computed': constant(2)
      .mul(3)
      .add(constant(f32([1, 2])))
      .exp()
      .expand([2, 2]),
    'numbers meet': x.mul(2).div(3).neg().mul(5),
    'division by 2^k': x.div(8),
    'a number goes to the smaller operand': x.mul(2).mul(row),
    'equal nodes are one': row.add(x).exp().sub(x.add(row).exp().mul(2)),
    'twice the same': x.add(x),
    'negations meet sums': x.neg().add(row).sub(x.mul(row).neg()),
    'and products': x.neg().mul(row.neg()).neg(),
    'expansions are left to broadcasting': row.expand([2, 3]).mul(x),
    'what is equal along an axis is computed once': row
      .expand([2, 3])
      .exp()
      .mul(row.expand([2, 3])),
    'sums of expansions are products': row.expand([2, 3]).sum(0),
    'means of expansions': row.expand([2, 3]).mean(0),
    'reductions in a row': cube.sum(2).sum(0),
    'factors leave sums': x.mul(row).mul(3).sum(0),
    'sums of padding': g.pad(x, [1, 0], [1, 0]).sum(0),
    'scaled and transposed operands': x
      .mul(2)
      .transpose()
      .matmul(w.transpose().neg(), { transA: true, transB: true }),
    'a scaled and transposed product': x.matmul(w).mul(0.5).transpose(),
    'no outer product is spread out': rows.mul(columns).sum(2),
    'also not along a batch': rows
      .reshape([5, 1, 4])
      .mul(input('others', [5, 6, 1]))
      .sum(0),
    'split gradients are put together': grad(
      g.concat([x.slice(1, 1).exp(), g.tanh(x.slice(1, 0, 1))], 1).sum(),
      [x],
    )[0]!,
    'neighbours by index are a slice': g.gather(cube, constant(i64([1, 2])), 1),
    'and their gradient is padding': grad(
      g
        .gather(cube, constant(i64([1, 2])), 1)
        .exp()
        .sum(),
      [cube],
    )[0]!,
    'slices of slices': cube.slice(2, 1).slice(2, 1, 2).slice(0, 1),
  };

  test('graphs', () => {
    const all = Object.entries(cases).map(([name, y]) => `${name}\n${left({ y }).replaceAll(/^/gm, '  ')}`);
    expect(`\n${all.join('\n')}\n`).toMatchInlineSnapshot(`
      "
      numbers are computed
        %0 = constant() : float32[2]
        %1 = expand(%0) : float32[2, 2]
        y = %1
      numbers meet
        %1 = mul(x, -3.333333) : float32[2, 3]
        y = %1
      division by 2^k
        %1 = mul(x, 0.125) : float32[2, 3]
        y = %1
      a number goes to the smaller operand
        %2 = mul(row, 2) : float32[3]
        %3 = mul(x, %2) : float32[2, 3]
        y = %3
      equal nodes are one
        %2 = add(row, x) : float32[2, 3]
        %3 = exp(%2) : float32[2, 3]
        %4 = mul(%3, 2) : float32[2, 3]
        %5 = sub(%3, %4) : float32[2, 3]
        y = %5
      twice the same
        %1 = mul(x, 2) : float32[2, 3]
        y = %1
      negations meet sums
        %2 = sub(row, x) : float32[2, 3]
        %3 = mul(x, row) : float32[2, 3]
        %4 = add(%2, %3) : float32[2, 3]
        y = %4
      and products
        %2 = mul(x, row) : float32[2, 3]
        %3 = neg(%2) : float32[2, 3]
        y = %3
      expansions are left to broadcasting
        %2 = mul(row, x) : float32[2, 3]
        y = %2
      what is equal along an axis is computed once
        %1 = exp(row) : float32[3]
        %2 = mul(%1, row) : float32[3]
        %3 = expand(%2) : float32[2, 3]
        y = %3
      sums of expansions are products
        %1 = reshape(row) : float32[1, 3]
        %2 = mul(%1, 2) : float32[1, 3]
        %3 = reshape(%2) : float32[3]
        y = %3
      means of expansions
        y = row
      reductions in a row
        %1 = sum(cube) {axes=[0,2]} : float32[1, 3, 1]
        %2 = reshape(%1) : float32[3]
        y = %2
      factors leave sums
        %2 = sum(x) {axes=[0]} : float32[1, 3]
        %3 = mul(%2, row) : float32[1, 3]
        %4 = mul(%3, 3) : float32[1, 3]
        %5 = reshape(%4) : float32[3]
        y = %5
      sums of padding
        %1 = sum(x) {axes=[0]} : float32[1, 3]
        %2 = reshape(%1) : float32[3]
        y = %2
      scaled and transposed operands
        %2 = matmul(x, w) {alpha=-2} : float32[2, 4]
        y = %2
      a scaled and transposed product
        %2 = matmul(w, x) {transA transB alpha=0.5} : float32[4, 2]
        y = %2
      no outer product is spread out
        %2 = reshape(rows) : float32[5, 4]
        %3 = reshape(columns) : float32[6, 4]
        %4 = matmul(%2, %3) {transB} : float32[5, 6]
        y = %4
      also not along a batch
        %2 = reshape(rows) : float32[5, 4]
        %3 = reshape(others) : float32[5, 6]
        %4 = matmul(%3, %2) {transA} : float32[6, 4]
        y = %4
      split gradients are put together
        %1 = slice(x) {starts=[0,1] ends=[2,3]} : float32[2, 2]
        %2 = exp(%1) : float32[2, 2]
        %3 = slice(x) {starts=[0,0] ends=[2,1]} : float32[2, 1]
        %4 = tanh(%3) : float32[2, 1]
        %5 = mul(%4, %4) : float32[2, 1]
        %6 = sub(1, %5) : float32[2, 1]
        %7 = concat(%6, %2) {axis=1} : float32[2, 3]
        y = %7
      neighbours by index are a slice
        %1 = slice(cube) {starts=[0,1,0] ends=[2,3,4]} : float32[2, 2, 4]
        y = %1
      and their gradient is padding
        %1 = slice(cube) {starts=[0,1,0] ends=[2,3,4]} : float32[2, 2, 4]
        %2 = exp(%1) : float32[2, 2, 4]
        %3 = transpose(%2) {perm=[1,0,2]} : float32[2, 2, 4]
        %4 = reshape(%3) : float32[2, 8]
        %5 = pad(%4) {before=[1,0] after=[0,0] value=0} : float32[3, 8]
        %6 = reshape(%5) : float32[3, 2, 4]
        %7 = transpose(%6) {perm=[1,0,2]} : float32[2, 3, 4]
        y = %7
      slices of slices
        %1 = slice(cube) {starts=[1,0,2] ends=[2,3,3]} : float32[1, 3, 1]
        y = %1
      "
    `);
  });
  test('values', async () => {
    const r = new Random(1);
    const [simple, plain] = await Promise.all([true, false].map((simplify) => compile(cases, { simplify })));
    const feeds = Object.fromEntries(
      [...plain!.inputs].map(([name, { shape }]) => [
        name,
        f32(
          r.fill(g.sizeOf(shape), (s) => s.normal()),
          shape,
        ),
      ]),
    );
    const [got, want] = [await simple!.run(feeds), await plain!.run(feeds)];
    for (const name of Object.keys(cases)) {
      expect(got[name]!.shape).toEqual(want[name]!.shape);
      for (const [i, v] of want[name]!.data.entries()) {
        expect(Number(got[name]!.data[i]), name).toBeCloseTo(Number(v), 4);
      }
    }
    await Promise.all([simple!.release(), plain!.release()]);
  });
});

describe('gradients hold nothing that is not asked for', () => {
  const [batch, width, rank] = [64, 32, 2];
  const features = input('x', [batch, width]);
  const weight = (name: string, shape: number[]) =>
    g.weight({ name, shape, dtype: 'float32', load: async () => g.zeros(shape) });

  test('a linear layer: each gradient reads what it needs', () => {
    const [v, b] = [input('v', [8, width]), input('b', [8])];
    const loss = g.tanh(features.matmul(v, { transB: true }).add(b)).sum();
    const [dv, db] = grad(loss, [v, b]);
    expect(left({ dv: dv!, db: db! })).toMatchInlineSnapshot(`
      "%3 = matmul(x, v) {transB} : float32[64, 8]
      %4 = add(%3, b) : float32[64, 8]
      %5 = tanh(%4) : float32[64, 8]
      %6 = mul(%5, %5) : float32[64, 8]
      %7 = sub(1, %6) : float32[64, 8]
      %8 = sum(%7) {axes=[0]} : float32[1, 8]
      %9 = reshape(%8) : float32[8]
      %10 = matmul(%7, x) {transA} : float32[8, 32]
      dv = %10
      db = %9"
    `);
    expect(left({ dx: grad(loss, [features])[0]! })).toMatchInlineSnapshot(`
      "%3 = matmul(x, v) {transB} : float32[64, 8]
      %4 = add(%3, b) : float32[64, 8]
      %5 = tanh(%4) : float32[64, 8]
      %6 = mul(%5, %5) : float32[64, 8]
      %7 = sub(1, %6) : float32[64, 8]
      %8 = matmul(%7, v) : float32[64, 32]
      dx = %8"
    `);
  });

  test('LoRA: neither a gradient of the frozen weight nor an array of its shape in the backward pass', () => {
    const [down, up] = [input('A', [rank, width]), input('B', [width, rank])];
    const adapted = weight('W', [width, width]).add(up.matmul(down).mul(2));
    const loss = g.tanh(features.matmul(adapted, { transB: true })).sum();
    const [dA, dB] = grad(loss, [down, up]);
    expect(left({ dA: dA!, dB: dB! })).toMatchInlineSnapshot(`
      "%3 = weight() W : float32[32, 32]
      %4 = matmul(B, A) {alpha=2} : float32[32, 32]
      %5 = add(%3, %4) : float32[32, 32]
      %6 = matmul(x, %5) {transB} : float32[64, 32]
      %7 = tanh(%6) : float32[64, 32]
      %8 = mul(%7, %7) : float32[64, 32]
      %9 = sub(1, %8) : float32[64, 32]
      %10 = matmul(x, A) {transB} : float32[64, 2]
      %11 = matmul(%9, %10) {transA alpha=2} : float32[32, 2]
      %12 = matmul(B, %9) {transA transB} : float32[2, 64]
      %13 = matmul(%12, x) {alpha=2} : float32[2, 32]
      dA = %13
      dB = %11"
    `);
  });

  test('two towers with soft tokens in one: after the loss, nothing of the other', () => {
    const config = parseClipConfig(clip);
    const model = (s: Scope, context?: Tensor) => {
      const place: Intercept = (t) => (context ? t.add(context) : t);
      const prompted = context ? s.intercept({ tap: { 'text_model.embeddings:tokens': place } }) : s;
      const images = visionTower(s, input('pixels', [2, 3, 8, 8]), config).features;
      const prompts = textTower(prompted, input('ids', [3, 5], 'int64'), config).features;
      return cosineLogits(images, prompts, constant(100));
    };
    const { result, params } = trace(
      models.frozen((s) => model(s)),
      (s) =>
        crossEntropy(model(s, s.param('context', [5, 16], normalInit(0.02))), input('labels', [2], 'int64')),
    );
    const simple = simplify({ loss: result, gradient: grad(result, [params[0]!.tensor])[0]! });
    const forward = new Set(nodesOf([simple.loss]));
    const backward = nodesOf([simple.gradient]).filter((n) => !forward.has(n));
    const read = new Set(backward.flatMap((n) => n.inputs.map((t) => t.node)));
    const weights = [...read, ...backward].flatMap((n) =>
      n.op === 'weight' ? [print({ w: n.outputs[0]! })] : [],
    );
    expect(weights.length).toBeGreaterThan(5);
    expect(weights.filter((line) => !line.includes('text_'))).toEqual([]);
    const vision = nodesOf([simple.loss]).filter((n) => {
      const below = nodesOf(n.outputs);
      return below.some((m) => m.op === 'input' && print({ m: m.outputs[0]! }).includes('pixels'));
    });
    // Of all that comes from the pixels, the backward pass reads the normalised features alone.
    expect(
      vision.filter((n) => read.has(n)).map((n) => `${n.op} [${n.outputs[0]!.shape}]`),
    ).toMatchInlineSnapshot(`
      [
        "div [2,8]",
        "logSoftmax [2,3]",
      ]
    `);
  });
});

test('whole models get smaller, at once as far as they can', () => {
  const sizes = { layers: 2, width: 32, heads: 2, batch: 2, length: 8, vocabulary: 50 };
  const images = { batch: 2, size: 16, width: 4 };
  const graphs = {
    promptedEncoder: models.promptedEncoder(sizes, 4),
    loraEncoder: models.loraEncoder(sizes, 2),
    decoder: models.decoder(sizes),
    convNet: models.convNet(images),
    convNetSecondOrder: models.convNetSecondOrder(images),
    resNet: models.resNet(images, [1, 1], false),
  };
  for (const [name, graph] of Object.entries(graphs)) {
    const simple = simplify(graph);
    expect(nodesOf(Object.values(simple)).length, name).toBeLessThan(nodesOf(Object.values(graph)).length);
    // A constant that was folded on the way may stand elsewhere in a second print, not in a third.
    const again = simplify(simple);
    expect(nodesOf(Object.values(again)).length, name).toBe(nodesOf(Object.values(simple)).length);
    expect(print(simplify(again)), name).toBe(print(again));
  }
});
