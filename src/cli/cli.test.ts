import { mkdir, mkdtemp, readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { builtInData } from '../data/index.ts';
import { methods } from '../methods/index.ts';
import { run } from './cli.ts';
import { recorder, writeColours, writeTinyClip } from './testing/fixtures.ts';

const home = process.cwd();
let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'attune-cli-'));
  process.chdir(root);
  await writeTinyClip('clip');
  await writeColours('colours');
}, 60_000);
afterAll(async () => {
  process.chdir(home);
  await rm(root, { recursive: true });
});

async function attune(...argv: string[]) {
  const { io, text } = recorder();
  const code = await run(argv, io);
  return { code, ...text, json: () => JSON.parse(text.out) };
}
const tiny = ['--model', 'clip', '--data', 'colours', '--shots', '4'];

/** A command that must fail: nothing on standard output, the cause on the last line. */
async function failure(...argv: string[]) {
  const { code, out, err } = await attune(...argv);
  expect(out).toBe('');
  const cause = err.trimEnd().split('\n').at(-1)!;
  expect(cause).toMatch(/^attune: /);
  return { code, cause };
}

describe('tune', () => {
  test('writes a run and reports it; --resume reports it again, another call takes another folder', async () => {
    const first = await attune('tune', ...tiny, '--json');
    expect(first.code).toBe(0);
    const result = first.json();
    expect(result).toMatchObject({
      model: join(process.cwd(), 'clip'),
      method: 'coop',
      shots: 4,
      seed: 1,
      zeroShot: { accuracy: expect.any(Number) },
      tuned: { accuracy: 1 },
      trainableParameters: 3 * 4 * 16,
      seconds: expect.any(Number),
      runDir: 'runs/colours-coop-4shot-seed1',
    });
    expect((await readdir(result.runDir)).sort()).toEqual([
      'adapter_config.json',
      'adapter_model.safetensors',
      'checkpoint.safetensors',
      'classifier.json',
      'classifier.onnx',
      'metrics.jsonl',
      'result.json',
      'run.json',
    ]);
    expect((await attune('tune', ...tiny, '--resume', '--json')).json()).toEqual(result);
    expect((await attune('tune', '--resume', result.runDir, '--json')).json()).toEqual(result);
    const again = await attune('tune', ...tiny, '--json');
    expect(again.json().runDir).toBe('runs/colours-coop-4shot-seed1-2');
    expect(await readFile('runs/colours-coop-4shot-seed1-2/adapter_model.safetensors')).toEqual(
      await readFile('runs/colours-coop-4shot-seed1/adapter_model.safetensors'),
    );
  });

  test('several seeds: mean and deviation', async () => {
    const { code, out, json } = await attune(
      'tune',
      ...tiny,
      '--method',
      'linear-probe',
      '--seeds',
      '1,2',
      '--json',
    );
    expect(code).toBe(0);
    expect(out.trimEnd()).not.toContain('\n');
    expect(json()).toMatchObject({
      seeds: [1, 2],
      tuned: { accuracy: 1, std: 0 },
      runs: [{ seed: 1 }, { seed: 2 }],
    });
    const plain = await attune('tune', ...tiny, '--method', 'linear-probe', '--seeds', '1,2', '--resume');
    expect(plain.out).toMatch(/mean .* ± 0\.0 .*100\.0 % ± 0\.0/);
  });

  test('--out is never overwritten', async () => {
    const out = ['--out', 'mine', '--method', 'zero-shot'];
    expect((await attune('tune', ...tiny, ...out)).code).toBe(0);
    expect((await failure('tune', ...tiny, ...out)).cause).toContain('already holds this run');
    expect((await failure('tune', ...tiny, ...out, '--seed', '2')).cause).toContain('seed: 1 there, 2 here');
    expect((await failure('tune', '--resume', 'mine', '--shots', '3')).cause).toContain(
      'shots: 4 there, 3 here',
    );
    expect((await failure('tune', ...tiny, '--out', 'colours')).cause).toContain('not empty');
    expect((await attune('tune', ...tiny, ...out, '--resume')).code).toBe(0);
  });

  test('has the flags of the method that is asked for', async () => {
    const { code, out } = await attune('tune', '--method', 'coop', '--help');
    expect(code).toBe(0);
    expect(out).toContain('--context-length <n>');
    expect((await attune('tune', '--method=linear-probe', '--help')).out).toContain('--decays');
    for (const { name } of methods) expect((await attune('methods', name)).out).toContain(name);
  });
});

describe('a run is used', () => {
  const runDir = 'runs/used';
  beforeAll(async () => {
    await attune('tune', ...tiny, '--out', runDir);
  });

  test('eval measures what tune reported, and other data', async () => {
    const { tuned, zeroShot } = JSON.parse(await readFile(join(runDir, 'result.json'), 'utf8'));
    const same = (await attune('eval', '--run', runDir, '--per-class', '--json')).json();
    expect(same).toMatchObject({ accuracy: tuned.accuracy, zeroShot, images: 12 });
    expect(same.perClass).toHaveLength(3);
    await writeColours('more', 5);
    const other = (
      await attune('eval', '--run', runDir, '--data', 'more', '--split', 'all', '--json')
    ).json();
    expect(other).toMatchObject({ accuracy: 1, images: 15, data: 'more' });
  });

  test('predict ranks labels, with a run and without', async () => {
    const { json } = await attune(
      'predict',
      'colours/red/0.png',
      'colours/blue/3.png',
      '--run',
      runDir,
      '--json',
    );
    const [red, blue] = json().images;
    expect([red.predictions[0].label, blue.predictions[0].label]).toEqual(['red', 'blue']);
    const sum = red.predictions.reduce((n: number, p: { probability: number }) => n + p.probability, 0);
    expect(sum).toBeCloseTo(1, 5);
    const zero = await attune(
      'predict',
      'colours/red/0.png',
      '--model',
      'clip',
      '--labels',
      'a, b',
      '--json',
    );
    expect(
      zero
        .json()
        .images[0].predictions.map((p: { label: string }) => p.label)
        .sort(),
    ).toEqual(['a', 'b']);
    expect((await failure('predict', 'colours/red/0.png', '--model', 'clip')).code).toBe(2);
    expect((await failure('predict', 'nothing.png', '--run', runDir)).cause).toContain('nothing.png');
  });

  test('another base model is refused', async () => {
    await writeTinyClip('other', 2);
    const { code, cause } = await failure(
      'predict',
      'colours/red/0.png',
      '--run',
      runDir,
      '--model',
      'other',
    );
    expect(code).toBe(1);
    expect(cause).toContain('trained on other weights');
  });

  test('a probe refuses other classes', async () => {
    await attune('tune', ...tiny, '--method', 'linear-probe', '--out', 'runs/probe');
    await writeColours('two', 4);
    await rm('two/green', { recursive: true });
    expect(
      (await attune('eval', '--run', 'runs/probe', '--data', 'two', '--split', 'all', '--json')).json(),
    ).toMatchObject({
      accuracy: 1,
      classes: 3,
    });
    await rename('two/blue', 'two/x');
    expect((await failure('eval', '--run', 'runs/probe', '--data', 'two')).cause).toContain('class "x"');
    const labels = await failure('predict', 'colours/red/0.png', '--run', 'runs/probe', '--labels', 'a,b,c');
    expect(labels.code).toBe(2);
  });
});

describe('lists', () => {
  test('each prints one JSON object', async () => {
    expect((await attune('methods', '--json')).json().methods.map((m: { name: string }) => m.name)).toContain(
      'coop',
    );
    expect((await attune('models', '--json')).json().models[0].name).toBe('icon-clip');
    expect((await attune('data', 'colours', '--shots', '4', '--json')).json()).toMatchObject({
      images: { train: 18, val: 6, test: 12 },
      classes: [{ name: 'blue', train: 6, val: 2, test: 4 }, { name: 'green' }, { name: 'red' }],
      warnings: [],
    });
    expect((await attune('data', '--json')).json()).toEqual({ data: builtInData });
    for (const argv of [[], ['methods'], ['models'], ['data'], ['--help'], ['help', 'eval']]) {
      const { code, out, err } = await attune(...argv);
      expect([code, err]).toEqual([0, '']);
      expect(out).not.toBe('');
    }
  });
});

describe('bad input', () => {
  const withData = (dir: string) => ['tune', '--model', 'clip', '--data', dir, '--shots', '2'];

  test('an unreadable image; --on-bad-image skip leaves it out and says so', async () => {
    await writeColours('broken', 6);
    await truncate('broken/red/0.png', 40);
    const { code, cause } = await failure(...withData('broken'));
    expect(code).toBe(1);
    expect(cause).toMatch(/broken\/red\/0\.png.*|--on-bad-image skip/);
    const skipped = await attune(...withData('broken'), '--on-bad-image', 'skip', '--json');
    expect(skipped.code).toBe(0);
    expect(skipped.json().warnings.join()).toContain('skipped 1 unreadable');
    expect(skipped.err).toContain('warning: skipped 1 unreadable');
  });

  test('the same image in two classes', async () => {
    await writeColours('twice', 6);
    await writeFile('twice/blue/x.png', await readFile('twice/red/0.png'));
    expect((await failure(...withData('twice'))).cause).toMatch(/same image is in two classes.*blue.*red/);
  });

  test('an empty class', async () => {
    await writeColours('hollow', 6);
    await mkdir('hollow/grey');
    expect((await failure(...withData('hollow'))).cause).toMatch(
      /no readable image in the class folder "grey"/,
    );
  });

  test('fewer images than shots; --allow-fewer takes what there is', async () => {
    const shots = ['tune', '--model', 'clip', '--data', 'colours', '--shots', '50', '--method', 'zero-shot'];
    expect((await failure(...shots)).cause).toContain('pass --allow-fewer');
    expect((await attune(...shots, '--allow-fewer')).code).toBe(0);
  });

  test('a checkpoint that is truncated, and one of other settings', async () => {
    const out = 'runs/checkpoint';
    await attune('tune', ...tiny, '--out', out);
    await rm(join(out, 'result.json'));
    const settings = JSON.parse(await readFile(join(out, 'run.json'), 'utf8'));
    await writeFile(join(out, 'run.json'), JSON.stringify({ ...settings, seed: 9 }));
    const other = await failure('tune', '--resume', out);
    expect(other).toMatchObject({ code: 1, cause: expect.stringContaining('other settings') });
    await writeFile(join(out, 'run.json'), JSON.stringify(settings));
    await truncate(join(out, 'checkpoint.safetensors'), 300);
    const cut = await failure('tune', '--resume', out);
    expect(cut.cause).toMatch(/checkpoint\.safetensors.*truncated.*[Rr]emove it/);
    await rm(join(out, 'checkpoint.safetensors'));
    expect((await attune('tune', '--resume', out)).code).toBe(0);
  });

  test.each([
    [['tune', '--method', 'cop'], 'did you mean "coop"?'],
    [['methods', 'zeroshot'], 'did you mean "zero-shot"?'],
    [['tune', '--context-lenght', '4'], 'Did you mean --context-length?'],
    [['tune', '--method', 'linear-probe', '--step', '4'], 'Did you mean --steps?'],
    [['tnue'], 'Did you mean tune?'],
    [['tune', '--context-length', 'four'], '--context-length'],
    [['tune', '--context-length', '0'], '--context-length'],
    [['tune', '--class-position', 'middel'], 'middle'],
    [['tune', '--shots', '0'], '"0" is no whole number'],
    [['tune', '--seed', '1', '--seeds', '1,2'], 'cannot be used with'],
    [['pretrain', 'icon-clp'], 'did you mean "icon-clip"?'],
    [['eval'], '--run DIR'],
  ])('%j is a usage error', async (argv, text) => {
    const { code, cause } = await failure(...argv);
    expect(code).toBe(2);
    expect(cause).toContain(text);
  });

  test.each([
    [['tune', '--model', 'zoo:icon-clop'], 'did you mean "icon-clip"?'],
    [['tune', '--model', 'clop'], 'did you mean "clip"?'],
    [['tune', '--model', 'clip', '--data', 'icns'], 'did you mean "icons"?'],
    [['tune', '--model', 'clip', '--data', './nowhere'], 'nowhere'],
    [['tune', '--resume', 'runs/none'], 'run.json is missing'],
    [['eval', '--run', 'colours'], 'adapter_config.json'],
    [['data', 'clip'], 'clip'],
  ])('%j fails with its cause', async (argv, text) => {
    const { code, cause } = await failure(...argv);
    expect(code).toBe(1);
    expect(cause).toContain(text);
  });

  test('a failure before the first checkpoint leaves no folder behind', async () => {
    const before = await readdir('runs');
    const long = await failure('tune', ...tiny, '--context-length', '60');
    expect(long.cause).toContain('Use fewer soft tokens');
    expect(await readdir('runs')).toEqual(before);
  });

  test('weights that the model does not read', async () => {
    await writeTinyClip('extra');
    const { readSafetensors, writeSafetensors } = await import('../hub/index.ts');
    const source = await readSafetensors('extra/model.safetensors');
    const tensors = Object.fromEntries(
      await Promise.all(source.names().map(async (name) => [name, await source.get(name)!.load()] as const)),
    );
    await writeSafetensors('extra/model.safetensors', { ...tensors, surplus: tensors.logit_scale! });
    const argv = ['predict', 'colours/red/0.png', '--model', 'extra', '--labels', 'a,b'];
    expect((await failure(...argv)).cause).toMatch(/unknown "surplus".*--allow-unused-weights/);
    const { code, err } = await attune(...argv, '--allow-unused-weights');
    expect(code).toBe(0);
    expect(err).toContain('surplus');
  });

  test('an image of another shape is resized', async () => {
    const wide = { width: 50, height: 20, channels: 3, background: '#d22' } as const;
    await sharp({ create: wide }).jpeg().toFile('wide.jpg');
    expect((await attune('predict', 'wide.jpg', '--model', 'clip', '--labels', 'a,b')).code).toBe(0);
  });
});
