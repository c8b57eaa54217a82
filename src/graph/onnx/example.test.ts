import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { tuneImported } from '../../../examples/import.ts';
import { Random } from '../../runtime/random.ts';
import * as g from '../index.ts';

test('LoRA on an imported classifier lowers its loss from what the model gives', async () => {
  const random = new Random(3, 'classifier');
  const normal = (...shape: number[]) =>
    g.f32(
      random.fill(g.sizeOf(shape), (r) => r.normal()),
      shape,
    );
  const source = g.memoryWeights({ 'fc1.weight': normal(16, 64), 'fc2.weight': normal(64, 3) });
  const w = (name: string) => g.weight(source.get(name)!);
  const logits = (x: g.Tensor) =>
    g
      .gelu(x.matmul(w('fc1.weight')))
      .matmul(w('fc2.weight'))
      .mul(0.05);
  const { bytes } = await g.encodeOnnx({ logits: logits(g.input('x', [8, 16])) }, { weights: 'inline' });
  const folder = await mkdtemp(join(tmpdir(), 'attune-import-'));
  try {
    const path = join(folder, 'classifier.onnx');
    await writeFile(path, bytes);
    // The larger weight is mapped from the model's own file, at whatever offset it lies there.
    const { weights } = await g.importOnnx(path);
    expect(weights.names().filter((n) => weights.get(n)!.file).length).toBe(1);
    const labels = g.i64([0, 1, 2, 0, 1, 2, 0, 1]);
    const losses = await tuneImported(path, normal(8, 16), labels);
    expect(losses.at(-1)!).toBeLessThan(losses[0]! / 2);
  } finally {
    await rm(folder, { recursive: true });
  }
});
