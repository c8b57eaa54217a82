import { join } from 'node:path';
import { expect, test } from 'vitest';
import { compile } from '../../runtime/program.ts';
import { constant, f32, grad, importOnnx, input, type Tensor, weight } from '../index.ts';
import { decodeTensor } from './decode.ts';
import { difference, readCases } from './testing/cases.ts';

const cases = readCases(join(import.meta.dirname, 'testdata/exports.gz'));
const cosines = (t: Tensor): Tensor =>
  constant(
    f32(
      Float32Array.from({ length: t.size }, (_, i) => Math.cos(i)),
      t.shape,
    ),
  );

test.each(cases)('$name: outputs and gradients of PyTorch', async (c) => {
  const model = await importOnnx(c.model);
  const [{ inputs, outputs } = { inputs: [], outputs: [] }] = c.sets;
  const feeds = Object.fromEntries(model.inputs.map(({ name }, i) => [name, decodeTensor(inputs[i]!)]));
  const expected = Object.entries(c.gradients ?? {});
  const trained = new Map<string, Tensor>();
  for (const [name] of expected) {
    const w = model.weights.get(name)!;
    trained.set(name, input(`w/${name}`, w.shape));
    feeds[`w/${name}`] = await w.load();
  }
  const given = model.inputs.map(({ name, dtype }) => [name, input(name, feeds[name]!.shape, dtype)]);
  const { y } = model.call(
    Object.fromEntries(given),
    (name) => trained.get(name) ?? weight(model.weights.get(name)!),
  );
  const gradients = grad(y!.mul(cosines(y!)).sum(), [...trained.values()]);
  const made: [string, Tensor][] = [['y/', y!], ...gradients.map((g, i): [string, Tensor] => [`g/${i}`, g])];
  const program = await compile(Object.fromEntries(made));
  const out = await program.run(feeds);
  await program.release();
  expect(difference(out['y/']!, decodeTensor(outputs[0]!), 1e-4, 1e-5)).toBeUndefined();
  expect(expected.length).toBeGreaterThan(2);
  for (const [i, [name, [projection, norm]]] of expected.entries()) {
    const values = Array.from(out[`g/${i}`]!.data, Number);
    const error = values.reduce((sum, v, k) => sum + v * Math.cos(k), 0) - projection;
    // Gradients that vanish, such as those of a softmax's key biases, are all rounding.
    expect(Math.abs(error) / (norm + 0.01), name).toBeLessThan(1e-4);
    expect(Math.abs(Math.hypot(...values) - norm) / (norm + 0.01), name).toBeLessThan(1e-4);
  }
});
