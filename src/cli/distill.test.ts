import { mkdtemp, readdir, readFile } from 'node:fs/promises';
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
  return { code: await run(['distill', ...argv], io), ...text };
};
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'attune-distill-'));
  data = await writeColours(join(root, 'colours'));
});
const small = (out: string, ...more: string[]) => [
  ...['--data', data, '--size', '8', '--network', 'mlp', '--outer-steps', '3', '--inner-steps', '2'],
  ...[
    '--network-epochs',
    '2',
    '--warm-up-outer',
    '1',
    '--warm-up-inner',
    '1',
    '--networks',
    '2',
    '--epochs',
    '20',
  ],
  ...['--out', join(root, out), ...more],
];

describe('attune distill', () => {
  test('condenses, draws, judges beside random images, and judges anew', async () => {
    const first = await attune(...small('one', '--dsa', '--json'));
    expect([first.code, first.err]).toEqual([0, expect.stringContaining('condensing 33 images to 3 × 1')]);
    const result = JSON.parse(first.out);
    expect(result.accuracy.mlp.synthetic.accuracies).toHaveLength(2);
    expect(result.accuracy.mlp.random.accuracies).toHaveLength(2);
    expect(result.measuredOn).toBe('test');
    const files = await readdir(join(root, 'one'));
    expect(files.sort()).toEqual([
      ...['checkpoint.safetensors', 'config.json', 'metrics.jsonl', 'model.safetensors'],
      ...['result.json', 'synthetic.png', 'synthetic.safetensors'],
    ]);
    const config = JSON.parse(await readFile(join(root, 'one', 'config.json'), 'utf8'));
    expect(config).toMatchObject({ method: 'dcc', dsa: true, outerSteps: 3, distance: 'rows' });
    const set = await readSafetensors(join(root, 'one', 'synthetic.safetensors'));
    expect(set.get('images')!.shape).toEqual([3, 3, 8, 8]);
    expect(JSON.parse(set.metadata.classes!)).toHaveLength(3);
    const before = await readFile(join(root, 'one', 'synthetic.safetensors'));

    const again = await attune(
      ...small('one', '--dsa', '--resume', '--evaluate-on', 'convnet-3,mlp', '--networks', '1'),
    );
    expect([again.code, again.out]).toEqual([0, expect.stringMatching(/convnet-3 .*±.*\nmlp .*±/)]);
    expect(await readFile(join(root, 'one', 'synthetic.safetensors'))).toEqual(before);
  });

  test.each([
    [['--images-per-class', '5', '--inner-steps', '0'], 2, 'give --inner-steps and --network-epochs'],
    [['--warm-up-outer', '4'], 2, '--warm-up-outer 4 exceeds --outer-steps 3'],
    [['--distance', 'row'], 2, 'rows'],
    [['--evaluate-on', 'lent'], 1, 'did you mean "lenet"?'],
    [['--images-per-class', '13', '--networks', '0'], 1, 'fewer than the 13 that are needed'],
  ])('%j is refused', async (flags, status, message) => {
    const { code, err } = await attune(...small(`refused ${flags}`, ...flags));
    expect([code, err]).toEqual([status, expect.stringContaining(message)]);
  });

  test('a folder that is not empty, and a run with other settings', async () => {
    await attune(...small('two', '--networks', '0'));
    expect(await attune(...small('two'))).toMatchObject({
      code: 2,
      err: expect.stringContaining('is not empty'),
    });
    const other = await attune(...small('two', '--resume', '--method', 'dc'));
    expect([other.code, other.err]).toEqual([
      1,
      expect.stringContaining('belongs to a run with other settings'),
    ]);
  });
});
