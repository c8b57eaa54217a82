/** The small steps in TensorFlow.js, backends `cpu` and `wasm`; convolutions channels last, as it likes them. */

import * as tf from '@tensorflow/tfjs';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';

const norm = (x, axes, eps = 1e-5) => {
  const centred = tf.sub(x, tf.mean(x, axes, true));
  return tf.div(centred, tf.sqrt(tf.add(tf.mean(tf.square(centred), axes, true), eps)));
};
const affine = (p, name, x) => tf.add(tf.mul(x, p[`${name}.weight`]), p[`${name}.bias`]);
/** On [rows, in]: products of matrices are what it does best. */
const linear = (p, name, x) => tf.add(tf.matMul(x, p[`${name}.weight`], false, true), p[`${name}.bias`]);

const models = {
  transformer(p, input) {
    const [n, length, width] = input.shape;
    const heads = (x) => tf.transpose(tf.reshape(x, [n, length, 4, width / 4]), [0, 2, 1, 3]);
    let x = tf.reshape(input, [n * length, width]);
    for (let i = 0; i < 2; i++) {
      const y = affine(p, `l${i}.ln1`, norm(x, [1]));
      const [q, k, v] = ['q', 'k', 'v'].map((name) => heads(linear(p, `l${i}.${name}`, y)));
      const shares = tf.softmax(tf.mul(tf.matMul(q, k, false, true), (width / 4) ** -0.5));
      const mixed = tf.reshape(tf.transpose(tf.matMul(shares, v), [0, 2, 1, 3]), [n * length, width]);
      x = tf.add(x, linear(p, `l${i}.o`, mixed));
      const z = affine(p, `l${i}.ln2`, norm(x, [1]));
      x = tf.add(x, linear(p, `l${i}.fc2`, tf.relu(linear(p, `l${i}.fc1`, z))));
    }
    return linear(p, 'head', tf.mean(tf.reshape(x, [n, length, width]), 1));
  },
  convnet(p, input) {
    let x = tf.transpose(input, [0, 2, 3, 1]);
    for (let i = 0; i < 2; i++) {
      const kernel = tf.transpose(p[`conv${i}.weight`], [2, 3, 1, 0]);
      const y = tf.add(tf.conv2d(x, kernel, 1, 'same'), p[`conv${i}.bias`]);
      x = tf.avgPool(tf.relu(affine(p, `norm${i}`, norm(y, [1, 2]))), 2, 2, 'valid');
    }
    return linear(p, 'head', tf.reshape(tf.transpose(x, [0, 3, 1, 2]), [x.shape[0], -1]));
  },
};

/** A function that takes a step and returns its loss. Values are { shape, data }; `wasmPath` is where its binaries lie. */
export async function start({ step, backend, weights, x, y, rate, wasmPath }) {
  if (backend === 'wasm') setWasmPaths(wasmPath);
  if (backend === 'webgpu') await import('@tensorflow/tfjs-backend-webgpu');
  await tf.setBackend(backend);
  await tf.ready();
  const names = Object.keys(weights);
  const variables = Object.fromEntries(
    names.map((name) => [name, tf.variable(tf.tensor(weights[name].data, weights[name].shape))]),
  );
  const [given, labels] = [x, y].map(({ data, shape }) => tf.tensor(data, shape));
  return async () => {
    const loss = tf.tidy(() => {
      const lossOf = () => {
        const logits = models[step](variables, given);
        const shifted = tf.sub(logits, tf.logSumExp(logits, -1, true));
        return tf.neg(tf.mean(tf.sum(tf.mul(labels, shifted), -1)));
      };
      const { value, grads } = tf.variableGrads(
        lossOf,
        names.map((name) => variables[name]),
      );
      for (const name of names) {
        const variable = variables[name];
        variable.assign(tf.sub(variable, tf.mul(grads[variable.name], rate)));
      }
      return value;
    });
    const [number] = await loss.data();
    loss.dispose();
    return number;
  };
}
