import { mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { readSafetensors } from '../hub/index.ts';
import { adaptClassifier, adaptOptions } from '../methods/open-set-tta/run.ts';
import { drained } from '../methods/testing/patches.ts';
import { run } from './cli.ts';
import { recorder, writeColours } from './testing/fixtures.ts';

let data: string;
let root: string;
let classifier: string;
const attune = async (...argv: string[]) => {
  const { io, text } = recorder();
  return { code: await run(argv, io), ...text };
};
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'attune-adapt-'));
  data = await writeColours(join(root, 'colours'));
  classifier = join(root, 'classifier');
  const trained = ['--network', 'mlp-bn', '--rounds', '4', '--batch', '4', '--out', classifier];
  expect((await attune('train', '--data', data, ...trained)).code).toBe(0);
});
const adapt = (...flags: string[]) =>
  attune('adapt', '--run', classifier, '--corruptions', 'contrast,pixelate', '--batch', '6', ...flags);
const weightsOf = async (dir: string) => {
  const file = await readSafetensors(join(dir, 'model.safetensors'));
  const loaded = file.names().map(async (name) => [name, [...(await file.get(name)!.load()).data]] as const);
  return Object.fromEntries(await Promise.all(loaded));
};

describe('attune adapt', () => {
  test('reports domains beside the classifier left alone; only scale and shift of batch norm move', async () => {
    const out = join(root, 'tent');
    const { code, out: printed } = await adapt('--filter', '--rounds', '2', '--out', out, '--json');
    expect(code).toBe(0);
    const { rounds } = JSON.parse(printed);
    expect(rounds).toHaveLength(2);
    expect(rounds[1].domains.map((d: { domain: string }) => d.domain)).toEqual(['contrast', 'pixelate']);
    expect(rounds[0].mean).toMatchObject({ error: expect.any(Number), frozenError: expect.any(Number) });
    const [before, after] = [await weightsOf(classifier), await weightsOf(out)];
    const moved = Object.keys(after).filter((name) => String(after[name]) !== String(before[name]));
    expect(moved).toEqual(Object.keys(after).filter((name) => /^bn_\d\.(weight|bias)$/.test(name)));
    expect(moved.length).toBeGreaterThan(0);
    const lines = (await readFile(join(out, 'metrics.jsonl'), 'utf8')).trim().split('\n');
    expect(lines.filter((line) => JSON.parse(line).report)).toHaveLength(4);
  });

  test('stopped in the second domain and resumed, it ends with the same weights and reports', async () => {
    const settings = adaptOptions.parse({ corruptions: ['contrast', 'pixelate'], batch: 6, rounds: 2 });
    const whole = await drained(adaptClassifier(classifier, settings, { dir: join(root, 'whole') }));
    const dir = join(root, 'parts');
    const stop = new AbortController();
    const events = adaptClassifier(classifier, settings, { dir, signal: stop.signal });
    for (let next = await events.next(); ; next = await events.next()) {
      if (next.done) {
        expect(next.value).toBeUndefined();
        break;
      }
      if (next.value.type === 'domain') stop.abort();
    }
    const parts = await drained(adaptClassifier(classifier, settings, { dir, resume: true }));
    expect(parts!.rounds).toEqual(whole!.rounds);
    expect(await weightsOf(dir)).toEqual(await weightsOf(join(root, 'whole')));
  });

  test('a folder of domains is a stream', async () => {
    const stream = join(root, 'cameras');
    for (const domain of ['day', 'night']) await writeColours(join(stream, domain));
    const flags = ['--stream', stream, '--batch', '6', '--out', join(root, 'by-folder'), '--json'];
    const { code, out } = await attune('adapt', '--run', classifier, ...flags);
    expect(code).toBe(0);
    const [{ domains }] = JSON.parse(out).rounds;
    expect(domains.map((d: { domain: string }) => d.domain)).toEqual(['day', 'night']);
  });

  test.each([
    [['--method', 'bn', '--filter'], 2, 'use it with tent'],
    [['--corruptions', 'contrst'], 2, 'did you mean "contrast"'],
    [['--stream', 'x', '--severity', '3'], 2, 'give one of them'],
  ])('%j is refused', async (flags, exit, message) => {
    const { code, err } = await attune('adapt', '--run', classifier, '--out', join(root, 'no'), ...flags);
    expect([code, err]).toEqual([exit, expect.stringContaining(message)]);
  });

  test('a folder without a classifier is an error that says what is wanted', async () => {
    const { code, err } = await attune('adapt', '--run', data, '--out', join(root, 'none'));
    expect([code, err]).toEqual([1, expect.stringContaining('finished attune train')]);
  });
});
