/** Linear regression tasks on which it is known what a regulator should learn. */
import { constant, f32, type HostTensor, type Tensor } from '../../graph/index.ts';
import { adam, mse, zerosInit } from '../../nn/index.ts';
import { Random, runOnce } from '../../runtime/index.ts';
import { batchOf, TrainStep, type Values } from '../../train/index.ts';
import { adapt } from './adapt.ts';
import { frozenRegulator } from './method.ts';
import { type RegulatorForm, regulator } from './regulator.ts';

/** Coordinates that mean the same in both domains, and as many whose signs in support and query differ. */
const half = 8;
const width = 2 * half;
const [tasks, examples] = [8, 16];

/** How the signs of the second half of the weights in the query domain follow from those in the support domain. */
export type Signs = 'independent' | 'flipped';

function drawTasks(signs: Signs, random: Random): Values {
  const normal = (shape: readonly number[]): HostTensor<'float32'> =>
    f32(
      random.fill(
        shape.reduce((a, b) => a * b),
        (r) => r.normal(),
      ),
      shape,
    );
  const support = normal([tasks, width]);
  const query = f32(support.data.slice(), [tasks, width]);
  for (let i = 0; i < query.data.length; i++) {
    if (i % width < half) continue;
    if (signs === 'flipped' || random.next() < 0.5) query.data[i]! *= -1;
  }
  const inputs = [tasks, examples, width];
  return { support, query, supportInputs: normal(inputs), queryInputs: normal(inputs) };
}

export interface ToyResult {
  /** Mean of R(g)/g over the coordinates of each half, for random gradients. */
  readonly shared: number;
  readonly ambiguous: number;
  /** Mean over the last steps. */
  readonly queryLoss: number;
}

/** Meta-trains the weights of linear regression and a regulator by the code that prompts are meta-trained with. */
export async function trainToy(
  form: RegulatorForm,
  signs: Signs,
  steps: number,
  seed: number,
): Promise<ToyResult> {
  const step = await TrainStep.compile({
    source: 'scratch',
    batch: {
      support: batchOf([tasks, width]),
      query: batchOf([tasks, width]),
      supportInputs: batchOf([tasks, examples, width]),
      queryInputs: batchOf([tasks, examples, width]),
    },
    build(s, batch) {
      const theta = { theta: s.param('theta', [1, width], zerosInit) };
      const regulate = regulator(s.at('regulator'), form);
      const losses = Array.from({ length: tasks }, (_, t) => {
        const of = (name: string) => batch[name]!.slice(0, t, t + 1).reshape([-1, width]);
        const loss = (set: string, w: Tensor) => {
          const x = of(`${set}Inputs`);
          return mse(x.matmul(w, { transB: true }), x.matmul(of(set), { transB: true }));
        };
        const inner = { innerSteps: 1, innerRate: 0.25, order: 'second' } as const;
        return loss('query', adapt(theta, (v) => loss('support', v.theta!), regulate, inner).theta!);
      });
      return { loss: losses.reduce((a, b) => a.add(b)).div(tasks) };
    },
    optimizer: adam({ lr: () => 0.02 }),
  });
  let state = await step.init(seed);
  let queryLoss = 0;
  const last = Math.floor(steps / 4);
  for (let i = 0; i < steps; i++) {
    const batch = drawTasks(signs, new Random(seed, 'toy', i));
    const result = await step.run(state, batch, {
      step: i,
      epoch: 0,
      stepsPerEpoch: steps,
      totalSteps: steps,
    });
    state = result.state;
    if (i >= steps - last) queryLoss += result.metrics.loss! / last;
  }
  await step.release();
  const phi = Object.fromEntries(
    Object.entries(state.params).flatMap(([name, v]) =>
      name.startsWith('regulator.') ? [[name.slice('regulator.'.length), v]] : [],
    ),
  );
  return { ...(await factors(form, phi, seed)), queryLoss };
}

async function factors(form: RegulatorForm, phi: Values, seed: number) {
  const rows = 64;
  const g = f32(
    new Random(seed, 'gradients').fill(rows * width, (r) => r.normal()),
    [rows, width],
  );
  const regulate = frozenRegulator({ regulator: form, phi });
  // Forms by coordinate have the shape of one gradient: they are asked row by row.
  const row = (i: number) => constant(g).slice(0, i, i + 1);
  const outputs = Object.fromEntries(
    Array.from({ length: rows }, (_, i) => [`${i}`, regulate(row(i), 'theta').div(row(i))]),
  );
  const factor = Object.values(await runOnce(outputs, {}));
  const mean = (from: number) =>
    factor.reduce(
      (sum, t) =>
        sum +
        Array.from(t.data, Number)
          .slice(from, from + half)
          .reduce((a, b) => a + b),
      0,
    ) /
    (rows * half);
  return { shared: mean(0), ambiguous: mean(half) };
}
