import { copyFile, mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { readSafetensors } from '../hub/index.ts';
import { openClassifier } from '../methods/classify/saved.ts';
import { readSynthetic } from '../methods/index.ts';
import { run } from './cli.ts';
import { recorder, writeColours } from './testing/fixtures.ts';

let data: string;
let root: string;
const attune = async (...argv: string[]) => {
  const { io, text } = recorder();
  return { code: await run(argv, io), ...text };
};
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'attune-train-'));
  data = await writeColours(join(root, 'colours'));
});
const small = () => ['--data', data, '--network', 'mlp', '--rounds', '4', '--batch', '4'];

describe('attune train', () => {
  test('trains with a sampler, writes a model with its names and a result', async () => {
    const out = join(root, 'rs2');
    const {
      code,
      out: printed,
      err,
    } = await attune(
      'train',
      ...small(),
      '--sampler',
      'rs2',
      '--fraction',
      '0.3',
      '--evaluate-every',
      '2',
      '--out',
      out,
      '--json',
    );
    expect([code, err]).toEqual([0, expect.stringContaining('images a round')]);
    const result = JSON.parse(printed);
    expect(result.curve.map(([step]: [number]) => step)).toEqual([result.steps / 2, result.steps]);
    expect(result.accuracy).toBeGreaterThan(0.5);
    expect(JSON.parse(await readFile(join(out, 'result.json'), 'utf8'))).toEqual(result);
    const model = await readSafetensors(join(out, 'model.safetensors'));
    expect(model.names()).toContain('fc_1.weight');

    const again = await attune('train', ...small(), '--sampler', 'rs2', '--out', out);
    expect([again.code, again.err]).toEqual([2, expect.stringContaining('is not empty')]);
  });

  test('trains on what the network in training selects', async () => {
    const flags = ['--sampler', 'rescored-margin', '--fraction', '0.3', '--out', join(root, 'rescored')];
    const { code, out } = await attune('train', ...small(), ...flags, '--json');
    expect(code).toBe(0);
    const { images, imagesPerRound } = JSON.parse(out);
    expect(imagesPerRound).toBe(Math.round(0.3 * images));
  });

  test.each([
    [['--sampler', 'rs3'], 'rs2-stratified'],
    [['--fraction', '1.5'], '--fraction'],
    [['--subset', 'x.json', '--sampler', 'rs2'], 'give one of them'],
  ])('%j is refused', async (flags, message) => {
    const { code, err } = await attune('train', ...small(), ...flags);
    expect([code, err]).toEqual([2, expect.stringContaining(message)]);
  });
});

describe('on what attune distill condensed', () => {
  let condensed: string;
  beforeAll(async () => {
    condensed = join(root, 'condensed');
    const steps = ['--outer-steps', '2', '--inner-steps', '1', '--network-epochs', '1', '--networks', '0'];
    const warmUp = ['--warm-up-outer', '0', '--warm-up-inner', '0'];
    const flags = ['--data', data, '--size', '8', '--network', 'mlp', ...steps, ...warmUp];
    expect(await attune('distill', ...flags, '--out', condensed)).toMatchObject({ code: 0 });
  });
  const train = (source: string, out: string, ...more: string[]) =>
    attune(
      ...['train', '--data', source, '--network', 'mlp', '--rounds', '60', '--json'],
      ...['--out', join(root, out), ...more],
    );

  test('trains on its images as they are and measures on the real test images', async () => {
    const { code, out } = await train(condensed, 'of-run');
    expect(code).toBe(0);
    const result = JSON.parse(out);
    expect(result).toMatchObject({ images: 3, shape: [3, 8, 8], measuredOn: 'test', condensedFrom: data });
    expect(result.accuracy).toBeGreaterThan(0.9);
    const { normalisation } = await readSynthetic(join(condensed, 'synthetic.safetensors'));
    expect(result.normalisation).toEqual(normalisation);
    // What adapts the classifier finds the real data.
    expect((await openClassifier(join(root, 'of-run'))).data).toBe(data);

    const file = await train(join(condensed, 'synthetic.safetensors'), 'of-file');
    expect(JSON.parse(file.out).accuracy).toBe(result.accuracy);
    const weights = (run: string) => readFile(join(root, run, 'model.safetensors'));
    expect(await weights('of-file')).toEqual(await weights('of-run'));
  });

  test('what would not fit is refused', async () => {
    const refused = async (source: string, ...more: string[]) => {
      const { code, err } = await train(source, `refused-${more.join('')}`, ...more);
      expect(code).toBe(1);
      return err;
    };
    expect(await refused(condensed, '--size', '16')).toContain('leave --size out');
    expect(await refused(condensed, '--augment', 'crop')).toContain('set augment to none');
    const alone = join(root, 'alone.safetensors');
    await copyFile(join(condensed, 'synthetic.safetensors'), alone);
    expect(await refused(alone)).toContain('keep');
    expect(await refused(join(root, 'nowhere.safetensors'))).toContain('nowhere.safetensors');
  });
});

describe('attune select', () => {
  const file = () => join(root, 'subset.json');
  const scoring = () => ['--data', data, '--network', 'mlp', '--scoring-epochs', '2', '--batch', '4'];

  test('writes positions and ids, on which attune train trains', async () => {
    const { code, out } = await attune(
      ...['select', ...scoring(), '--method', 'craig', '--fraction', '0.3', '--out', file()],
    );
    expect([code, out]).toEqual([0, expect.stringContaining('npx attune train')]);
    const subset = JSON.parse(await readFile(file(), 'utf8'));
    expect(subset.indices).toHaveLength(subset.ids.length);
    expect(subset.weights).toHaveLength(subset.ids.length);
    expect(subset.options).toMatchObject({ method: 'craig', network: 'mlp', scoringEpochs: 2 });
    const trained = await attune(
      'train',
      ...small(),
      '--subset',
      file(),
      '--out',
      join(root, 'craig'),
      '--json',
    );
    expect(JSON.parse(trained.out)).toMatchObject({
      imagesPerRound: subset.indices.length,
      images: subset.count,
    });
  });

  test('--json prints the subset', async () => {
    const { code, out } = await attune('select', ...scoring(), '--fraction', '0.2', '--json');
    const { method, indices, count, perClass } = JSON.parse(out);
    expect([code, method, indices.length]).toEqual([0, 'random', Math.round(0.2 * count)]);
    expect(Object.keys(perClass)).toEqual(['blue', 'green', 'red']);
  });

  test.each([
    [['--method', 'hurding'], 2, 'did you mean "herding"'],
    [['--method', 'cal', '--released', 'herding-argmax'], 1, 'it knows cal-lowest'],
    [['--fraction', '0'], 2, '--fraction'],
  ])('%j is refused', async (flags, exit, message) => {
    const { code, err } = await attune('select', ...scoring(), ...flags);
    expect([code, err]).toEqual([exit, expect.stringContaining(message)]);
  });
});
