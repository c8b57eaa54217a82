import { describe, expect, test } from 'vitest';
import { f32, type HostTensor, i64, input, memoryWeights, type Tensor, toFloat16 } from '../graph/index.ts';
import { compile, Random } from '../runtime/index.ts';
import {
  constantInit,
  intercept,
  linear,
  normalInit,
  onesInit,
  type Scope,
  trace,
  zerosInit,
} from './index.ts';
import { compilePattern } from './pattern.ts';

const source = memoryWeights(
  {
    'layers.0.weight': f32([1, 2, 3, 4], [2, 2]),
    'layers.1.weight': toFloat16(f32([5, 6, 7, 8], [2, 2])),
    scale: f32([10], []),
    ids: i64([0, 1]),
  },
  'tiny.safetensors',
);
/** x through both layers, tapped before and after each. */
function model(s: Scope, x: Tensor): Tensor {
  let y = x;
  for (const layer of [0, 1]) {
    const at = s.at('layers').at(layer);
    y = at.tap('out', linear(at, at.tap('in', y), 2, { bias: false }));
  }
  return y.mul(s.weight('scale', [], onesInit));
}
async function run(build: (s: Scope, x: Tensor) => Tensor, feeds: Record<string, HostTensor> = {}) {
  const x = input('x', [1, 2]);
  const traced = trace(source, (s) => build(s, x));
  const program = await compile({ y: traced.result });
  const out = await program.run({ ...(program.inputs.has('x') ? { x: f32([1, 1], [1, 2]) } : {}), ...feeds });
  await program.release();
  return { y: Array.from(out.y.data, Number), ...traced };
}

describe('trained tensors', () => {
  const scaled = (s: Scope, x: Tensor) => {
    const masked = s.intercept({
      weight: { 'layers.*.weight': (w, { param }) => w.mul(param('factor', [], onesInit)) },
    });
    return model(masked, x).mul(s.at('out').param('gain', [], onesInit));
  };
  const half = { factor: input('half', []) };

  test('can be given by name, also those that interceptors declare', async () => {
    const given = await run((s, x) => scaled(s.bind(half), x), {
      half: f32([0.5], []),
      'param/out.gain': f32([2], []),
    });
    expect(given.y).toEqual([285, 385]);
    expect(given.params.map((p) => p.name)).toEqual(['out.gain']);
    const inner = await run((s, x) => scaled(s.bind(half).bind({ 'out.gain': input('g', []) }), x), {
      half: f32([0.5], []),
      g: f32([3], []),
    });
    expect([inner.y, inner.params]).toEqual([[427.5, 577.5], []]);
    expect(() => trace(source, (s) => s.bind(half).param('factor', [2], onesInit))).toThrow(
      '"factor" is given as [], but is declared as [2]',
    );
    const kept = trace(source, (s) => s.bind(half).buffer('factor', [], onesInit));
    expect([kept.result, kept.buffers.size]).toEqual([half.factor, 0]);
  });

  test('layers that a method adds are trained under their names, whatever surrounds the model', () => {
    const traced = trace(source, (s) => {
      const masked = s.intercept({ weight: { 'layers.*.weight': (w) => w.mul(2) } });
      return linear(masked.trained().at('adapter'), model(masked, input('x', [1, 2])), 3);
    });
    expect(traced.params.map(({ name, shape }) => [name, shape])).toEqual([
      ['adapter.weight', [3, 2]],
      ['adapter.bias', [3]],
    ]);
    expect([...traced.weights]).toEqual(['layers.0.weight', 'layers.1.weight', 'scale']);
  });
});

describe('scope', () => {
  test('weights come from the source as float32, by full name; taps without interceptors change nothing', async () => {
    const { y, weights, params } = await run(model);
    // [1 1] → [3 7] → [57 77] → ·10
    expect(y).toEqual([570, 770]);
    expect([...weights]).toEqual(['layers.0.weight', 'layers.1.weight', 'scale']);
    expect(params).toEqual([]);
  });

  test('a missing key or a wrong shape is an error that names source, key and near misses', () => {
    const fails = (build: (s: Scope) => unknown) => expect(() => trace(source, build));
    fails((s) => s.at('layers').at(2).weight('weight', [2, 2])).toThrow(
      'Weight "layers.2.weight" is missing from tiny.safetensors (did you mean "layers.0.weight" or "layers.1.weight"?)',
    );
    fails((s) => s.weight('scale', [1])).toThrow(
      'Weight "scale" in tiny.safetensors is [] but the model expects [1]; does config.json belong to these weights?',
    );
    fails((s) => s.weight('toString', [1])).toThrow('Weight "toString" is missing');
  });

  test('a parameter declared twice is one; with another shape it is an error', () => {
    const { result, params } = trace(source, (s) => [
      s.at('prompt').param('v', [2], zerosInit),
      s.param('prompt.v', [2], onesInit),
    ]);
    expect(result[0]).toBe(result[1]);
    expect(params.map(({ name, shape, init }) => [name, shape, init])).toEqual([
      ['prompt.v', [2], zerosInit],
    ]);
    expect(() => trace(source, (s) => [s.param('v', [2], zerosInit), s.param('v', [3], zerosInit)])).toThrow(
      '"v" is declared as [2] and again as [3]',
    );
  });

  test('from scratch, every weight is a parameter with its own initial values', async () => {
    const { params, weights } = trace('scratch', (s) => model(s, input('x', [1, 2])));
    expect(params.map((p) => p.name)).toEqual([...weights]);
    const values = await Promise.all(params.map((p) => p.init(p.shape, new Random(1, p.name))));
    expect(values.map((v) => v.length)).toEqual([4, 4, 1]);
  });
});

describe('interceptors', () => {
  test('change weights and activations whose names match, and learn the layer', async () => {
    const seen: unknown[] = [];
    const { y } = await run((s, x) =>
      model(
        intercept(s, {
          weight: {
            'layers.*.weight': (w, { name, layer, captures }) => {
              seen.push([name, layer, captures]);
              return w.mul(layer + 1);
            },
          },
          tap: {
            '**:in': (h, { layer, captures }) => {
              seen.push([layer, captures]);
              return h.add(1);
            },
          },
        }),
        x,
      ),
    );
    expect(seen).toEqual([
      [Number.NaN, ['layers.0']],
      ['layers.0.weight', 0, ['0']],
      [Number.NaN, ['layers.1']],
      ['layers.1.weight', 1, ['1']],
    ]);
    // [2 2] → [6 14] + 1 → 2·[5·7+6·15, 7·7+8·15] → ·10
    expect(y).toEqual([20 * 125, 20 * 169]);
  });

  test('nest: the outer sees what the inner made, patterns of one interceptor apply in their order', async () => {
    const plus = (n: number) => (w: Tensor) => w.add(n);
    const times = (n: number) => (w: Tensor) => w.mul(n);
    const scaleOf = (wrap: (s: Scope) => Scope) => run((s) => wrap(s).weight('scale', []));
    const inner = await scaleOf((s) =>
      intercept(intercept(s, { weight: { scale: plus(1) } }), { weight: { scale: times(2) } }),
    );
    expect(inner.y).toEqual([22]);
    const other = await scaleOf((s) =>
      intercept(intercept(s, { weight: { scale: times(2) } }), { weight: { scale: plus(1) } }),
    );
    expect(other.y).toEqual([21]);
    expect((await scaleOf((s) => intercept(s, { weight: { '*': plus(1), scale: times(2) } }))).y).toEqual([
      22,
    ]);
  });

  test('wrap only the scope they are given, wherever in the tree it stands', async () => {
    const { y } = await run((s) => {
      const below = intercept(s.at('layers'), { weight: { 'layers.0.weight': (w) => w.mul(0) } });
      const here = below.at(0).weight('weight', [2, 2]);
      return here.add(s.at('layers').at(0).weight('weight', [2, 2]));
    });
    expect(y).toEqual([1, 2, 3, 4]);
  });

  test('declare parameters under global names', async () => {
    const { y, params } = await run(
      (s, x) =>
        model(
          intercept(s, {
            weight: {
              'layers.*.weight': (w, { param, name }) => w.mul(param(`mask/${name}`, [2, 2], onesInit)),
            },
            tap: { 'layers.0:out': (h, { param }) => h.add(param('shift', [2], normalInit(1))) },
          }),
          x,
        ),
      {
        'param/mask/layers.0.weight': f32([1, 1, 1, 1], [2, 2]),
        'param/mask/layers.1.weight': f32([1, 0, 0, 1], [2, 2]),
        'param/shift': f32([1, -1]),
      },
    );
    expect(params.map((p) => p.name)).toEqual(['mask/layers.0.weight', 'shift', 'mask/layers.1.weight']);
    // [3 7] + [1 -1] → [5·4, 8·6] → ·10
    expect(y).toEqual([200, 480]);
  });

  test('train() makes the weight itself a parameter that starts from its stored value', async () => {
    const { params, y } = await run(
      (s, x) => model(intercept(s, { weight: { 'layers.1.*': (_w, { train }) => train() } }), x),
      { 'param/layers.1.weight': f32([1, 0, 0, 1], [2, 2]) },
    );
    expect(y).toEqual([30, 70]);
    expect(params.map(({ name, shape }) => [name, shape])).toEqual([['layers.1.weight', [2, 2]]]);
    expect([...(await params[0]!.init([2, 2], new Random(0)))]).toEqual([5, 6, 7, 8]);
    const fresh = trace('scratch', (s) =>
      model(intercept(s, { weight: { scale: (_w, { train }) => train() } }), input('x', [1, 2])),
    );
    expect(fresh.params).toHaveLength(3);
  });

  test('a pattern that matched nothing is an error that lists near misses', () => {
    const build = (interceptors: Parameters<Scope['intercept']>[0]) => () =>
      trace(source, (s) => model(intercept(s, interceptors), input('x', [1, 2])));
    expect(build({ weight: { 'layer.*.weight': (w) => w } })).toThrow(
      'The weight pattern "layer.*.weight" matches no weight (did you mean "layers.0.weight" or "layers.1.weight"?)',
    );
    expect(build({ tap: { 'layers.*:inn': (x) => x } })).toThrow(
      'The tap pattern "layers.*:inn" matches no site (did you mean "layers.0:in" or "layers.1:in"',
    );
    expect(build({ tap: { 'vision_model.encoder:in': (x) => x } })).toThrow(
      'matches no site; there are 4, such as "layers.0:in"',
    );
    expect(() => trace(source, (s) => intercept(s, { tap: { '*': (x) => x } }))).toThrow(
      'The tap pattern "*" matches no site; there are none',
    );
  });

  test('a weight of another shape is refused; a tap may change the shape', async () => {
    expect(() =>
      trace(source, (s) => intercept(s, { weight: { '*': (w) => w.reshape([1]) } }).weight('scale', [])),
    ).toThrow('The interceptor of "*" made [1] of "scale" []');
    const { y } = await run(
      (s, x) =>
        intercept(s, { tap: { site: (h) => h.sum() } })
          .tap('site', x)
          .add(s.param('p', [], constantInit(0)).mul(0)),
      { 'param/p': f32([0], []) },
    );
    expect(y).toEqual([2]);
  });
});

test('patterns: a star stays within a segment, two stars cross them or stand for none', () => {
  const match = (pattern: string, name: string) => compilePattern(pattern)(name);
  expect(match('layers.*:in', 'layers.11:in')).toEqual(['11']);
  expect(match('layers.*', 'layers.1.weight')).toBeUndefined();
  expect(match('layers.*', 'layers.1:in')).toBeUndefined();
  expect(match('*_proj', 'q_proj')).toEqual(['q']);
  expect(match('vision.**.self_attn.*.weight', 'vision.layers.3.self_attn.q.weight')).toEqual([
    'layers.3',
    'q',
  ]);
  expect(match('vision.**.weight', 'vision.weight')).toEqual(['']);
  expect(match('vision.**.weight', 'visionweight')).toBeUndefined();
  expect(match('vision.**.weight', 'vision.a.weight')).toEqual(['a']);
  expect(match('**.weight', 'weight')).toEqual(['']);
  expect(match('**.weight', 'a.b.weight')).toEqual(['a.b']);
  expect(match('**.weight', 'a.myweight')).toBeUndefined();
  expect(match('**', 'a.b:c')).toEqual(['a.b:c']);
  expect(match('**:in', 'a.b:in')).toEqual(['a.b']);
  expect(match('a.**', 'a.b.c')).toEqual(['b.c']);
  expect(match('a+b.(c)', 'a+b.(c)')).toEqual([]);
  expect(match('a.b', 'axb')).toBeUndefined();
});
