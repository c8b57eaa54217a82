/** The small steps in jax-js. Its functions consume their arguments, hence `.ref` wherever a value is used again. */
import { defaultDevice, init, jit, lax, nn, numpy as np, valueAndGrad } from '@jax-js/jax';

const linear = (p, name, x) =>
  np.add(np.matmul(x, np.transpose(p[`${name}.weight`].ref)), p[`${name}.bias`].ref);
const norm = (x, axes, eps = 1e-5) => {
  const centred = x.ref.sub(np.mean(x, axes, { keepdims: true }));
  const variance = np.mean(np.square(centred.ref), axes, { keepdims: true });
  return centred.div(np.sqrt(variance.add(eps)));
};

const models = {
  transformer(p, input) {
    const [n, length, width] = input.shape;
    const heads = (x) => np.transpose(np.reshape(x, [n, length, 4, width / 4]), [0, 2, 1, 3]);
    const layerNorm = (name, x) => norm(x, -1).mul(p[`${name}.weight`].ref).add(p[`${name}.bias`].ref);
    let x = input;
    for (let i = 0; i < 2; i++) {
      const y = layerNorm(`l${i}.ln1`, x.ref);
      const [q, k, v] = ['q', 'k', 'v'].map((name) => heads(linear(p, `l${i}.${name}`, y.ref)));
      y.dispose();
      const scores = np.matmul(q, np.transpose(k, [0, 1, 3, 2])).mul((width / 4) ** -0.5);
      const mixed = np.matmul(nn.softmax(scores, -1), v);
      const joined = np.reshape(np.transpose(mixed, [0, 2, 1, 3]), [n, length, width]);
      x = x.add(linear(p, `l${i}.o`, joined));
      const z = layerNorm(`l${i}.ln2`, x.ref);
      x = x.add(linear(p, `l${i}.fc2`, nn.relu(linear(p, `l${i}.fc1`, z))));
    }
    return linear(p, 'head', np.mean(x, 1));
  },
  convnet(p, input) {
    const channels = (name) => np.reshape(p[name].ref, [1, -1, 1, 1]);
    let x = input;
    for (let i = 0; i < 2; i++) {
      const padding = [
        [1, 1],
        [1, 1],
      ];
      const y = lax.convGeneralDilated(x, p[`conv${i}.weight`].ref, [1, 1], padding);
      const normal = norm(y.add(channels(`conv${i}.bias`)), [2, 3]);
      const z = nn.relu(normal.mul(channels(`norm${i}.weight`)).add(channels(`norm${i}.bias`)));
      const [n, c, h, w] = z.shape;
      x = np.mean(np.reshape(z, [n, c, h / 2, 2, w / 2, 2]), [3, 5]);
    }
    return linear(p, 'head', np.reshape(x, [x.shape[0], -1]));
  },
};

/** A function that takes a step and returns its loss. Values are { shape, data }. */
export async function start({ step, backend, weights, x, y, rate }) {
  await init(backend);
  defaultDevice(backend);
  const array = ({ data, shape }) => np.array(data).reshape(shape);
  let params = Object.fromEntries(Object.entries(weights).map(([name, value]) => [name, array(value)]));
  const [given, labels] = [array(x), array(y)];
  const lossOf = (p, a, b) => {
    const logits = models[step](p, a);
    for (const value of Object.values(p)) value.dispose();
    return np.mean(np.sum(nn.logSoftmax(logits, -1).mul(b), -1)).mul(-1);
  };
  const update = jit((p, a, b) => {
    const kept = Object.fromEntries(Object.entries(p).map(([name, value]) => [name, value.ref]));
    const [loss, gradients] = valueAndGrad(lossOf)(p, a, b);
    const next = Object.entries(kept).map(([name, value]) => [name, value.sub(gradients[name].mul(rate))]);
    return [loss, Object.fromEntries(next)];
  });
  return async () => {
    const [loss, next] = update(params, given.ref, labels.ref);
    params = next;
    for (const value of Object.values(params)) await value.blockUntilReady();
    const [number] = await loss.data();
    return number;
  };
}
