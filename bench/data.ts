import { type HostTensor, i64, type Shape, sizeOf } from '../src/graph/index.ts';
import { Random } from '../src/runtime/index.ts';

/** Numbers of mean 0 and variance 1, good enough to time with and much faster than `Random`: uniform, by xorshift. */
export class FastRandom extends Random {
  private state: number;
  constructor(seed: number | string, ...stream: (number | string)[]) {
    super(seed, ...stream);
    this.state = super.uint32() | 1;
  }
  override uint32(): number {
    this.state ^= this.state << 13;
    this.state ^= this.state >>> 17;
    this.state ^= this.state << 5;
    return this.state >>> 0;
  }
  override normal(): number {
    return (this.uint32() / 2 ** 32 - 0.5) * Math.sqrt(12);
  }
}

/** An array of noise, always the same for the same name. */
export const noise = (name: string, shape: Shape): HostTensor<'float32'> => ({
  dtype: 'float32',
  shape,
  data: new FastRandom('noise', name).fill(sizeOf(shape), (r) => r.normal()),
});

/** Random whole numbers below `end`. */
export function integers(name: string, shape: Shape, end: number): HostTensor<'int64'> {
  const random = new Random('integers', name);
  return i64(
    Array.from({ length: sizeOf(shape) }, () => random.int(end)),
    shape,
  );
}

/** Token ids [count, length] of CLIP: a start token, random words, an end token. */
export function sentenceIds(count: number, length: number): HostTensor<'int64'> {
  const ids = integers('ids', [count, length], 39_000);
  for (let c = 0; c < count; c++) {
    ids.data[c * length] = 49_406n;
    ids.data[(c + 1) * length - 1] = 49_407n;
  }
  return ids;
}
