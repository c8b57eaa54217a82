import { mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { readSafetensors } from '../hub/index.ts';
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

  test.each([
    [['--sampler', 'rs3'], 'rs2-stratified'],
    [['--fraction', '1.5'], '--fraction'],
    [['--subset', 'x.json', '--sampler', 'rs2'], 'give one of them'],
  ])('%j is refused', async (flags, message) => {
    const { code, err } = await attune('train', ...small(), ...flags);
    expect([code, err]).toEqual([2, expect.stringContaining(message)]);
  });
});
