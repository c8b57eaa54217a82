import { afterAll, expect, it } from 'vitest';
import { constant, f32, gridSample, type HostTensor, type Tensor } from '../graph/index.ts';
import { checkGradients } from '../graph/testing/finite-differences.ts';
import { jit, Random, runOnce } from '../runtime/index.ts';
import { applyDsa, type DsaChanges, type DsaOp, drawDsa, dsaOps, dsaTypes, noDsa } from './dsa.ts';

const size = [6, 8] as const;
const shape = [2, 3, ...size];
const images: HostTensor = {
  dtype: 'float32',
  shape,
  data: new Random(1, 'images').fill(288, (r) => r.normal()),
};

const changed = jit((x: Tensor, places: Tensor, shares: Tensor, colors: Tensor) =>
  applyDsa(x, { places, shares, colors }),
);
afterAll(() => changed.release());
async function apply({ places, shares, colors }: DsaChanges<HostTensor>, x = images): Promise<number[]> {
  return Array.from((await changed(x, places, shares, colors)).data as Float32Array);
}
const only = (op: DsaOp, seed = 1, count = 1) => drawDsa(new Random(seed, 'dsa'), size, { ops: [op], count });
/** What one pixel of `images` becomes by a rule about rows and columns. */
const pixelwise = (source: (y: number, x: number) => readonly [number, number] | undefined): number[] =>
  Array.from({ length: 288 }, (_, i) => {
    const [y, x] = source(Math.floor((i % 48) / 8), i % 8) ?? [-1, -1];
    return y < 0 || y >= 6 || x < 0 || x >= 8 ? 0 : Number(images.data[i - (i % 48) + 8 * y + x]);
  });

it('no change leaves images bit for bit, in siamese and other tables', async () => {
  const same = Array.from(images.data as Float32Array);
  const types = dsaTypes(size, 2);
  expect(await apply(noDsa(size))).toEqual(same);
  const { places, shares, colors } = noDsa(size);
  const two = (t: HostTensor, data: HostTensor['data']) =>
    ({ ...t, shape: [2, ...t.shape.slice(1)], data }) as HostTensor;
  const twice = {
    places: two(
      places,
      BigInt64Array.from([places.data, places.data].flatMap((d) => [...(d as BigInt64Array)])),
    ),
    shares: two(
      shares,
      Float32Array.from([shares.data, shares.data].flatMap((d) => [...(d as Float32Array)])),
    ),
    colors: two(colors, Float32Array.of(0, 1, 1, 0, 1, 1)),
  };
  for (const [name, { shape, dtype }] of Object.entries(types)) {
    expect(twice[name as keyof typeof twice]).toMatchObject({ shape, dtype });
  }
  expect(await apply(twice)).toEqual(same);
});

it('crop moves by whole pixels and fills with zeros, up to an eighth of the side', async () => {
  const seen = new Set<string>();
  for (let seed = 0; seed < 60; seed++) {
    const got = await apply(only('crop', seed));
    for (let dy = -1; dy <= 1; dy++) {
      for (let dx = -1; dx <= 1; dx++) {
        const want = pixelwise((y, x) => [y + dy, x + dx]);
        if (want.every((v, i) => v === got[i])) seen.add(`${dy} ${dx}`);
      }
    }
  }
  expect(seen.size).toBe(9);
});

it('flip mirrors about half of the draws, cutout clears a square of half the side', async () => {
  const mirrored = pixelwise((y, x) => [y, 7 - x]);
  const flips = await Promise.all(Array.from({ length: 40 }, (_, seed) => apply(only('flip', seed))));
  const turned = flips.filter((f) => f.every((v, i) => v === mirrored[i])).length;
  expect(turned).toBeGreaterThan(8);
  expect(flips.filter((f) => f.every((v, i) => v === Number(images.data[i]))).length).toBe(40 - turned);
  for (let seed = 0; seed < 20; seed++) {
    const cut = await apply(only('cutout', seed));
    const gone = Array.from({ length: 48 }, (_, i) => cut[i] === 0);
    const rows = gone.flatMap((g, i) => (g ? [Math.floor(i / 8)] : []));
    const columns = gone.flatMap((g, i) => (g ? [i % 8] : []));
    const [height, width] = [rows, columns].map((at) => Math.max(...at) - Math.min(...at) + 1) as [
      number,
      number,
    ];
    // Its centre lies inside, so that at least half of each side does.
    expect([rows.length, height <= 3 && height >= 1, width <= 4 && width >= 2]).toEqual([
      height * width,
      true,
      true,
    ]);
    expect(cut.every((v, i) => v === 0 || v === Number(images.data[i]))).toBe(true);
  }
});

it('scale and rotate are gridSample on an affine grid with aligned corners', async () => {
  for (const op of ['scale', 'rotate'] as const) {
    for (const seed of [1, 2, 3]) {
      const random = new Random(seed, 'dsa');
      random.int(1);
      const angle = (random.uniform(-15, 15) * Math.PI) / 180;
      const again = new Random(seed, 'dsa');
      again.int(1);
      const [sy, sx] = [again.uniform(1 / 1.2, 1.2), again.uniform(1 / 1.2, 1.2)];
      const grid = Array.from({ length: 2 * 48 }, (_, i) => {
        const [v, u] = [(2 * Math.floor((i % 48) / 8)) / 5 - 1, (2 * (i % 8)) / 7 - 1];
        const [sin, cos] = [Math.sin(angle), Math.cos(angle)];
        return op === 'scale' ? [sx * u, sy * v] : [cos * u - sin * v, sin * u + cos * v];
      }).flat();
      const y = gridSample(constant(images), constant(f32(grid, [2, ...size, 2])), { alignCorners: true });
      const want = (await runOnce({ y }, {})).y.data;
      (await apply(only(op, seed))).forEach((v, i) => {
        expect(Math.abs(v - Number(want[i])), `${op} ${i}`).toBeLessThan(1e-5);
      });
    }
  }
});

it('color is brightness, saturation about the channels, contrast about the image', async () => {
  const changes = only('color', 5);
  const [added, saturation, contrast] = Array.from(changes.colors.data as Float32Array) as [
    number,
    number,
    number,
  ];
  expect(Math.abs(added)).toBeLessThanOrEqual(0.5);
  const got = await apply(changes);
  for (const n of [0, 1]) {
    let x = Array.from(images.data.slice(n * 144, n * 144 + 144) as Float32Array, (v) => v + added);
    const grey = Array.from({ length: 48 }, (_, i) => (x[i]! + x[48 + i]! + x[96 + i]!) / 3);
    x = x.map((v, i) => (v - grey[i % 48]!) * saturation + grey[i % 48]!);
    const mean = x.reduce((a, b) => a + b) / 144;
    x.forEach((v, i) => {
      expect(got[n * 144 + i]).toBeCloseTo((v - mean) * contrast + mean, 5);
    });
  }
});

it('siamese: an image and its copy are changed alike; otherwise each image has its own parameters', async () => {
  const copies: HostTensor = {
    ...images,
    data: Float32Array.from([...images.data.slice(0, 144), ...images.data.slice(0, 144)] as number[]),
  };
  for (const op of dsaOps) {
    const alike = await apply(only(op, 3), copies);
    expect(alike.slice(144), op).toEqual(alike.slice(0, 144));
    const own = await Promise.all([1, 2, 3, 4].map((seed) => apply(only(op, seed, 2), copies)));
    expect(
      own.some((y) => y.slice(144).some((v, i) => v !== y[i])),
      op,
    ).toBe(true);
  }
});

it('gradients pass to the images', async () => {
  for (const changes of [only('rotate', 4), only('scale', 4, 2), only('color', 5)]) {
    const fed = Object.fromEntries(Object.entries(changes).map(([name, t]) => [name, constant(t)]));
    await checkGradients((x) => applyDsa(x, fed as unknown as DsaChanges<Tensor>).square(), [shape], {
      dtype: 'float32',
    });
  }
});
