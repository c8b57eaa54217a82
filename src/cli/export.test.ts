import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type HostTensor, toFloat16 } from '../graph/index.ts';
import { readSafetensors, writeSafetensors } from '../hub/index.ts';
import { run } from './cli.ts';
import { recorder, writeColours, writeTinyClip } from './testing/fixtures.ts';

const home = process.cwd();
const guide = resolve('docs/export.md');
const nodeModules = resolve('node_modules');
let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'attune-export-'));
  process.chdir(root);
  await writeTinyClip('clip');
  const source = await readSafetensors('clip/model.safetensors');
  const half: Record<string, HostTensor> = {};
  for (const name of source.names()) {
    half[name] = toFloat16((await source.get(name)!.load()) as HostTensor<'float32'>);
  }
  await writeSafetensors('clip/model.safetensors', half);
  await writeColours('colours');
  await attune('tune', '--model', 'clip', '--data', 'colours', '--shots', '4', '--out', 'run');
}, 60_000);
afterAll(async () => {
  process.chdir(home);
  await rm(root, { recursive: true });
});

async function attune(...argv: string[]) {
  const { io, text } = recorder();
  expect(await run([...argv, '--json'], io)).toBe(0);
  return JSON.parse(text.out);
}

interface Prediction {
  readonly label: string;
  readonly probability: number;
}

test('the program in the guide gives the probabilities of predict, without Attune', async () => {
  const [, program] = /```js\n(.*?)```/s.exec(await readFile(guide, 'utf8'))!;
  await writeFile('run/app.mjs', program!);
  await symlink(nodeModules, 'node_modules');
  const image = resolve('colours/green/2.png');
  const { stdout } = await promisify(execFile)(process.execPath, ['app.mjs', image], { cwd: resolve('run') });
  const there = new Map((JSON.parse(stdout) as Prediction[]).map((p) => [p.label, p.probability]));
  const here: Prediction[] = (await attune('predict', image, '--run', 'run')).images[0].predictions;
  expect(there.size).toBe(3);
  for (const { label, probability } of here) {
    expect(Math.abs(there.get(label)! - probability)).toBeLessThan(1e-5);
  }
});

test('holds its weights in their precision, its labels and its preprocessing', async () => {
  const onnx = await readFile('run/classifier.onnx');
  const text = onnx.toString('latin1');
  for (const key of ['labels', 'preprocessing', 'template', 'method', 'producer'])
    expect(text).toContain(key);
  expect(text).toContain('["blue","green","red"]');
  const vision = (await readSafetensors('clip/model.safetensors')).names().filter((n) => /^vis/.test(n));
  const weights = await readSafetensors('clip/model.safetensors');
  const bytes = vision.reduce((n, name) => n + weights.get(name)!.file!.length, 0);
  // Float16 weights and the nodes of the graph, not twice as much.
  expect(onnx.length).toBeGreaterThan(bytes);
  expect(onnx.length).toBeLessThan(bytes + 16_000);
});

test('runs several images at once', async () => {
  const files = await attune('export', '--run', 'run', '--out', 'app/four.onnx');
  expect(files).toMatchObject({ onnx: 'app/four.onnx', json: 'app/four.json' });
  const { default: ort } = await import('onnxruntime-node');
  const session = await ort.InferenceSession.create('app/four.onnx');
  const pixels = new ort.Tensor('float32', new Float32Array(4 * 3 * 256), [4, 3, 16, 16]);
  const { probabilities } = await session.run({ pixel_values: pixels });
  expect(probabilities!.dims).toEqual([4, 3]);
});

test('a run that was copied elsewhere still exports', async () => {
  await mkdir('copy');
  for (const file of ['adapter_config.json', 'adapter_model.safetensors']) {
    await copyFile(join('run', file), join('copy', file));
  }
  await attune('export', '--run', 'copy');
  expect(await readFile('copy/classifier.onnx')).toEqual(await readFile('run/classifier.onnx'));
});
