import { type HostTensor, type Shape, sizeOf, toFloat32, type Weight } from '../graph/index.ts';
import type { Random } from '../runtime/random.ts';

/** Fills a fresh parameter, as float32. May be asynchronous: some start from stored weights. */
export type Initializer = (shape: Shape, random: Random) => Float32Array | Promise<Float32Array>;

export const zerosInit: Initializer = (shape) => new Float32Array(sizeOf(shape));
export const constantInit =
  (value: number): Initializer =>
  (shape) =>
    new Float32Array(sizeOf(shape)).fill(value);
export const onesInit = constantInit(1);

/** N(mean, std²), as torch.nn.init.normal_. */
export const normalInit =
  (std: number, mean = 0): Initializer =>
  (shape, random) =>
    random.fill(sizeOf(shape), (r) => mean + std * r.normal());

export const uniformInit =
  (low: number, high: number): Initializer =>
  (shape, random) =>
    random.fill(sizeOf(shape), (r) => r.uniform(low, high));

/** N(0, std²) cut at ±2 std (absolute bounds −2 and 2 as in torch.nn.init.trunc_normal_). */
export const truncatedNormalInit =
  (std: number): Initializer =>
  (shape, random) =>
    random.fill(sizeOf(shape), (r) => {
      let value = std * r.normal();
      while (Math.abs(value) > 2) value = std * r.normal();
      return value;
    });

/** fan_in and fan_out of a weight in PyTorch's layout [out, in, ...kernel]. */
export function fans(shape: Shape): { fanIn: number; fanOut: number } {
  if (shape.length < 2) throw new Error(`Fans need at least two axes, not [${shape}]`);
  const kernel = sizeOf(shape.slice(2));
  return { fanIn: shape[1]! * kernel, fanOut: shape[0]! * kernel };
}

/** U(±√(1 / fan_in)): what torch.nn.Linear and Conv2d draw (kaiming_uniform_ with a = √5). */
export const linearInit: Initializer = (shape, random) => {
  const bound = 1 / Math.sqrt(fans(shape).fanIn);
  return random.fill(sizeOf(shape), (r) => r.uniform(-bound, bound));
};
/** The bias that goes with `linearInit`: U(±√(1 / fanIn)). */
export const linearBiasInit = (fanIn: number): Initializer =>
  uniformInit(-1 / Math.sqrt(fanIn), 1 / Math.sqrt(fanIn));

/** U(±√(6 / (fan_in + fan_out))) (Glorot & Bengio 2010), torch.nn.init.xavier_uniform_. */
export const xavierUniformInit: Initializer = (shape, random) => {
  const { fanIn, fanOut } = fans(shape);
  const bound = Math.sqrt(6 / (fanIn + fanOut));
  return random.fill(sizeOf(shape), (r) => r.uniform(-bound, bound));
};

/** N(0, 2 / fan) for ReLU networks (He et al. 2015), torch.nn.init.kaiming_normal_. */
export const kaimingNormalInit =
  (mode: 'fanIn' | 'fanOut' = 'fanIn'): Initializer =>
  (shape, random) => {
    const std = Math.sqrt(2 / fans(shape)[mode]);
    return random.fill(sizeOf(shape), (r) => std * r.normal());
  };

/** The values of a host tensor. */
export const valueInit =
  (value: HostTensor): Initializer =>
  () =>
    toFloat32(value).data.slice();

/** The values that a checkpoint holds: fine-tuning starts here. */
export const weightInit =
  (weight: Weight): Initializer =>
  async () =>
    toFloat32(await weight.load()).data.slice();
