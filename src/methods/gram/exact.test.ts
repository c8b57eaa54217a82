/** Section 9(a) of GRAM's card, item by item. */
import { expect, test } from 'vitest';
import {
  constant,
  f32,
  grad,
  type HostTensor,
  hvp,
  input,
  sizeOf,
  type Tensor,
  tanh,
} from '../../graph/index.ts';
import { mapTree, type Scope, type Tree, trace, valueInit } from '../../nn/index.ts';
import { Random, runOnce } from '../../runtime/index.ts';
import { gradTree, initParams, type TrainEvent, type Values } from '../../train/index.ts';
import { difference, weightGradients } from '../testing/compare.ts';
import { tinyClip, tinyTask } from '../testing/tiny-clip.ts';
import { fitPrompts } from '../vlm/prompt-tuning.ts';
import { type PromptMethod, promptLoss } from '../vlm/prompting.ts';
import { adapt, type InnerOptions, orders } from './adapt.ts';
import { hierarchy } from './hierarchy.ts';
import { hostNames, hosts } from './hosts.ts';
import { metaStep } from './meta-step.ts';
import { regulated } from './method.ts';
import { type RegulatorForm, regulator, regulatorForms } from './regulator.ts';
import { drawTask } from './tasks.ts';

const noise = (name: string, shape: readonly number[], scale = 1): HostTensor<'float32'> =>
  f32(
    new Random('gram', name).fill(sizeOf(shape), (r) => scale * r.normal()),
    shape,
  );

type Build = (s: Scope) => { loss: Tensor } & Tree;

/** What is built, and the gradient of the loss for each param as `d NAME`; params have their initial values or `values`. */
async function run(build: Build, values: Values = {}): Promise<Record<string, HostTensor>> {
  const { result, params } = trace('scratch', build);
  const first: Values = { ...(await initParams(params, 1)), ...values };
  const gradients = gradTree(result.loss, Object.fromEntries(params.map((p) => [p.name, p.tensor])));
  return runOnce(
    { ...result, ...Object.fromEntries(Object.entries(gradients).map(([name, g]) => [`d ${name}`, g])) },
    Object.fromEntries(params.map(({ name }) => [`param/${name}`, first[name]!])),
  );
}

const forms = regulatorForms.filter((form) => form !== 'none');
const shape = [2, 16];
const theta0 = noise('theta', shape);
/** Losses that are not quadratic. */
const lossOn =
  (set: string) =>
  (theta: Tensor): Tensor =>
    tanh(theta.reshape([1, 32]).mul(constant(noise(set, [20, 32]))))
      .sum(-1)
      .sub(0.3)
      .square()
      .mean();
const [supportLoss, queryLoss] = [lossOn('support'), lossOn('query')];

const metaLoss =
  (form: RegulatorForm, options: Partial<InnerOptions>): Build =>
  (s) => {
    const theta = s.param('theta', shape, valueInit(theta0));
    const inner = { innerSteps: 1, innerRate: 0.1, order: 'second', ...options } satisfies InnerOptions;
    const adapted = adapt({ theta }, (t) => supportLoss(t.theta!), regulator(s.at('phi'), form), inner);
    return { loss: queryLoss(adapted.theta!), adapted: adapted.theta! };
  };

/** φ that are far from the identity, for a gradient of one tensor. */
function otherPhi(form: RegulatorForm, name = 'theta', of = shape): Values {
  const { params } = trace('scratch', (s) => regulator(s.at('phi'), form)(input('g', of), name));
  return Object.fromEntries(params.map((p) => [p.name, noise(p.name, p.shape, 0.7)]));
}

async function regulate(form: RegulatorForm, g: HostTensor, phi: Values): Promise<HostTensor<'float32'>> {
  const { result, params } = trace('scratch', (s) => regulator(s.at('phi'), form)(constant(g), 'theta'));
  const feeds = Object.fromEntries(params.map(({ name }) => [`param/${name}`, phi[name]!]));
  return (await runOnce({ result }, feeds)).result as HostTensor<'float32'>;
}

test.each(forms)(
  '1. %s begins as the identity; inner step and θ-gradient are those of MAML and FOMAML',
  async (form) => {
    const phi = await initParams(
      trace('scratch', (s) => regulator(s.at('phi'), form)(input('g', shape), 'theta')).params,
      1,
    );
    expect(difference(await regulate(form, noise('g', shape), phi), noise('g', shape))).toBe(0);

    // Written out: θ' = θ − α∇L_s; MAML's gradient is (I − αH_s)∇L_q(θ'), FOMAML's ∇L_q(θ').
    const theta = input('theta', shape);
    const step = theta.sub(grad(supportLoss(theta), [theta])[0]!.mul(0.1));
    const [first] = grad(queryLoss(step), [step]);
    const [curved] = hvp(supportLoss(theta), [theta], [first!]);
    const wanted = await runOnce(
      { step, first: first!, second: first!.sub(curved!.mul(0.1)) },
      { theta: theta0 },
    );
    for (const order of orders) {
      const got = await run(metaLoss(form, { order }));
      expect(difference(got.adapted!, wanted.step)).toBeLessThan(1e-6);
      expect(difference(got['d theta']!, wanted[order])).toBeLessThan(1e-5);
    }
    expect(difference(wanted.first, wanted.second)).toBeGreaterThan(1e-2);
  },
);

test.each(forms)('1. α = 0: the θ-gradient of %s is the plain one, that of φ is zero', async (form) => {
  const theta = input('theta', shape);
  const wanted = await runOnce({ plain: grad(queryLoss(theta), [theta])[0]! }, { theta: theta0 });
  for (const order of orders) {
    const got = await run(metaLoss(form, { innerRate: 0, order }), otherPhi(form));
    expect(difference(got['d theta']!, wanted.plain)).toBeLessThan(1e-6);
    const phi = Object.entries(got).filter(([name]) => name.startsWith('d phi'));
    expect(phi.length).toBeGreaterThan(0);
    for (const [, g] of phi) expect(g.data.every((v) => Number(v) === 0)).toBe(true);
  }
});

test('2. quadratic losses: the meta-gradients of θ and γ in closed form', async () => {
  const n = 5;
  const alpha = 0.3;
  const matrix = (name: string) => {
    const m = noise(name, [n, n]).data;
    return Array.from({ length: n }, (_, i) =>
      Array.from({ length: n }, (_c, j) =>
        Math.fround((m[i * n + j]! + m[j * n + i]!) / 2 + (i === j ? 3 : 0)),
      ),
    );
  };
  const vector = (name: string) => Array.from(noise(name, [n]).data);
  const [A, B, a, b] = [matrix('A'), matrix('B'), vector('a'), vector('b')];
  const [theta, gamma] = [vector('t'), vector('gamma')];
  const times = (m: number[][], v: number[]) => m.map((row) => row.reduce((sum, x, j) => sum + x * v[j]!, 0));
  const minus = (x: number[], y: number[]) => x.map((v, i) => v - y[i]!);
  const both = (x: number[], y: number[]) => x.map((v, i) => v * y[i]!);
  const scaled = (x: number[], c: number) => x.map((v) => c * v);

  const gs = times(A, minus(theta, a));
  const gq = times(B, minus(minus(theta, scaled(both(gamma, gs), alpha)), b));
  const dGamma = scaled(both(gs, gq), -alpha);
  const dTheta = { first: gq, second: minus(gq, scaled(times(A, both(gamma, gq)), alpha)) };

  const quadratic = (m: number[][], at: number[]) => (x: Tensor) => {
    const away = x.sub(constant(f32(at))).reshape([1, n]);
    return away
      .matmul(constant(f32(m.flat(), [n, n])))
      .mul(away)
      .sum()
      .mul(0.5);
  };
  for (const order of orders) {
    const got = await run(
      (s) => {
        const t = s.param('t', [n], valueInit(f32(theta)));
        const inner = { innerSteps: 1, innerRate: alpha, order };
        const adapted = adapt({ t }, (x) => quadratic(A, a)(x.t!), regulator(s.at('phi'), 'scale'), inner);
        return { loss: quadratic(B, b)(adapted.t!) };
      },
      { 'phi.t.scale': f32(gamma) },
    );
    expect(difference(got['d phi.t.scale']!, f32(dGamma))).toBeLessThan(1e-6);
    expect(difference(got['d t']!, f32(dTheta[order]))).toBeLessThan(1e-6);
  }
});

test.each(forms)('3. the φ-gradient of %s is the same with a detached inner gradient', async (form) => {
  const phi = otherPhi(form);
  const [first, second] = [
    await run(metaLoss(form, { order: 'first' }), phi),
    await run(metaLoss(form, { order: 'second' }), phi),
  ];
  for (const name of Object.keys(phi)) {
    expect(difference(first[`d ${name}`]!, second[`d ${name}`]!)).toBeLessThan(1e-6);
  }
  expect(difference(first['d theta']!, second['d theta']!)).toBeGreaterThan(1e-3);
  // Not so with more inner steps: there the detached gradient is an approximation of φ's too.
  const two = await Promise.all(orders.map((order) => run(metaLoss(form, { order, innerSteps: 2 }), phi)));
  const gaps = Object.keys(phi).map((name) => difference(two[0]![`d ${name}`]!, two[1]![`d ${name}`]!));
  expect(Math.max(...gaps)).toBeGreaterThan(1e-3);
});

test.each(['conditioned', 'gate'] as const)(
  '4. %s is homogeneous and keeps shapes; no gradient stays none',
  async (form) => {
    const of = [3, 16];
    const phi = otherPhi(form, 'theta', of);
    const g = noise('g', of);
    const out = await regulate(form, g, phi);
    expect(out.shape).toEqual(of);
    expect(difference(out, g)).toBeGreaterThan(0.1);
    for (const c of [1e-4, 3, 1e4]) {
      const [grown, wanted] = [
        f32(
          g.data.map((v) => c * v),
          of,
        ),
        f32(
          Array.from(out.data, (v) => c * Number(v)),
          of,
        ),
      ];
      expect(difference(await regulate(form, grown, phi), wanted)).toBeLessThan(1e-5);
    }
    expect(
      (await regulate(form, f32(new Float32Array(48), of), phi)).data.every((v) => Number(v) === 0),
    ).toBe(true);
  },
);

test('4. affine moves a prompt without a gradient by δ, scale does not; gate keeps signs', async () => {
  const none = f32(new Float32Array(32), shape);
  const affine = otherPhi('affine');
  expect((await regulate('affine', none, affine)).data).toEqual(affine['phi.theta.bias']!.data);
  expect((await regulate('scale', none, otherPhi('scale'))).data.some((v) => Number(v) !== 0)).toBe(false);
  const g = noise('g', shape);
  const out = await regulate('gate', g, otherPhi('gate'));
  expect(Array.from(out.data, (v) => Math.sign(Number(v)))).toEqual(Array.from(g.data, Math.sign));
});

const model = await tinyClip();
const names = ['cat', 'light bulb', 'oak tree', 'St.', 'a'];
const step = {
  tasks: 2,
  ways: 3,
  shots: 1,
  queries: 2,
  regulator: 'conditioned',
  learnInit: true,
  innerSteps: 1,
  innerRate: 0.1,
  order: 'second',
  learningRate: 1e-3,
} as const;
const features = { shape: [10], of: () => noise('features', [1, 10]) };
const pixels = { shape: [3, 16, 16], of: () => noise('pixels', [1, 3, 16, 16]) };
const stepOf = (host: PromptMethod) => metaStep(model, host, names, (own) => (own ? pixels : features), step);

test.each(hostNames)('5. on %s, no gradient of a weight of CLIP in either stage', async (on) => {
  const host = hosts[on].prompting({ length: on === 'coop' ? 4 : 2, depth: 2 });
  const { step: options } = await stepOf(host);
  const batch = mapTree(options.batch, (t, name) => input(name, t.shape, t.dtype));
  const meta = trace(model.weights, (s) => options.build(s, batch));
  expect(meta.params.some(({ name }) => name.startsWith('regulator.'))).toBe(true);
  expect(weightGradients(model, meta.result.loss, meta.params)).toEqual([]);

  const theta = await initParams(
    meta.params.filter((p) => !p.name.startsWith('regulator.')),
    1,
  );
  const phi = Object.fromEntries(
    meta.params
      .filter((p) => p.name.startsWith('regulator.'))
      .map((p) => [p.name.slice('regulator.'.length), noise(p.name, p.shape)]),
  );
  const task = tinyTask(model);
  const method = regulated(host, { theta, phi, regulator: 'conditioned' });
  const prompts = await method.prompts({ model, classes: task.train.classes, template: task.template });
  const training = await method.training!(task);
  const { result, params } = trace(model.weights, (s) =>
    promptLoss(s, model, prompts, training, {
      labels: input('labels', [4], 'int64'),
      features: input('features', [4, 10]),
      pixels: input('pixels', [4, 3, 16, 16]),
    }),
  );
  expect(weightGradients(model, result.loss, params)).toEqual([]);
  // φ are no params: nothing can change them.
  expect(params.map((p) => p.name).sort()).toEqual(Object.keys(theta).sort());
});

const training = { epochs: 2, batch: 5, learningRate: 0.05, weightDecay: 5e-4, views: 0 };
async function metricsOf(method: PromptMethod) {
  const metrics: number[] = [];
  const events = fitPrompts(tinyTask(model), method, training);
  let next = await events.next();
  for (; !next.done; next = await events.next()) {
    const event: TrainEvent = next.value;
    if (event.type === 'step') metrics.push(event.metrics.loss!);
  }
  return { metrics, tensors: next.value.adapter.tensors };
}

test.each(forms)(
  '5. with %s at the identity, stage 2 is the host step for step; else φ stay, and act',
  async (form) => {
    const host = hosts.coop.prompting({ length: 4, depth: 1 });
    const theta = { context: noise('context', [4, 12], 0.02) };
    const initial = (own: RegulatorForm) => {
      const of = trace('scratch', (s) => regulator(s, own)(input('g', [4, 12]), 'context'));
      return initParams(of.params, 1);
    };
    const started: PromptMethod = {
      ...host,
      training: async () => ({ init: ({ name }) => valueInit(theta[name as 'context']) }),
    };
    const wanted = await metricsOf(started);
    const got = await metricsOf(regulated(host, { theta, phi: await initial(form), regulator: form }));
    expect(got.metrics.length).toBe(8);
    for (const [i, loss] of got.metrics.entries()) expect(loss).toBeCloseTo(wanted.metrics[i]!, 5);
    expect(difference(got.tensors.context!, wanted.tensors.context!)).toBeLessThan(1e-5);

    const phi = mapTree(await initial(form), (v, name) => noise(name, v.shape));
    const kept = mapTree(phi, (v) => v.data.slice());
    const other = await metricsOf(regulated(host, { theta, phi, regulator: form }));
    for (const [name, v] of Object.entries(phi)) expect(v.data).toEqual(kept[name]);
    expect(Object.keys(other.tensors)).toEqual(['context']);
    expect(difference(other.tensors.context!, wanted.tensors.context!)).toBeGreaterThan(1e-2);
  },
);

/** 3 topics of 4 concepts, whose images come in 3 styles; 8 pairs of each. */
function pairs() {
  const captions: string[] = [];
  const [text, image]: number[][] = [[], []];
  const groups: string[] = [];
  const random = new Random('pairs');
  for (let t = 0; t < 3; t++)
    for (let c = 0; c < 4; c++)
      for (let style = 0; style < 3; style++)
        for (let i = 0; i < 8; i++) {
          captions.push(`a ${['small', 'big'][i % 2]} icon of topic${t} thing ${'wxyz'[c]}${t}`);
          groups.push(`${t}/${c}/${style}`);
          const noisy = (one: number, at: number) => (one === at ? 1 : 0) + 0.05 * random.normal();
          for (let d = 0; d < 7; d++) text!.push(d < 3 ? 3 * noisy(t, d) : noisy(c, d - 3));
          for (let d = 0; d < 3; d++) image!.push(noisy(style, d));
        }
  const rows = (data: number[], width: number) => ({ data: Float32Array.from(data), width });
  return { captions, groups, features: { text: rows(text!, 7), image: rows(image!, 3) } };
}

test('6. hygiene: support and query of a task share names, but no image and no visual cluster; names are from captions', () => {
  const { captions, groups, features: known } = pairs();
  const options = { topics: 3, concepts: 4, domains: 3, smallest: 5, seed: 1 };
  const topics = hierarchy(captions, known, options);
  expect(
    topics
      .flat()
      .map((c) => c.name)
      .sort(),
  ).toEqual([0, 1, 2].flatMap((t) => [...'wxyz'].map((c) => `${c}${t}`)).sort());
  for (const { name, domains } of topics.flat()) {
    expect(domains.length).toBe(3);
    for (const domain of domains) {
      for (const i of domain) expect(captions[i]).toContain(name);
      // The clusters of images are the styles.
      expect(new Set(domain.map((i) => groups[i])).size).toBe(1);
    }
  }
  const domainOf = new Map(
    topics
      .flat()
      .flatMap(({ domains }) => domains.flatMap((domain) => domain.map((i) => [i, domain] as const))),
  );
  for (const gap of ['different', 'same'] as const) {
    const o = { ways: 3, shots: 2, queries: 3, gap };
    for (let seed = 0; seed < 100; seed++) {
      const task = drawTask(topics, o, new Random(seed, 'task'));
      expect(new Set(task.names).size).toBe(3);
      expect(new Set([...task.support, ...task.query]).size).toBe(3 * 5);
      task.names.forEach((name, c) => {
        const [s, q] = [task.support.slice(2 * c, 2 * c + 2), task.query.slice(3 * c, 3 * c + 3)];
        for (const i of [...s, ...q]) expect(captions[i]).toContain(name);
        const [from, to] = [s, q].map((images) => new Set(images.map((i) => domainOf.get(i))));
        expect([from!.size, to!.size]).toEqual([1, 1]);
        expect([...from!][0] === [...to!][0]).toBe(gap === 'same');
      });
    }
  }
});
