import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { writeColours, writeTinyClip } from '../../cli/testing/fixtures.ts';
import { byClass, type DataSplits, type Dataset } from '../../data/index.ts';
import { pictures, tinyClip } from '../testing/tiny-clip.ts';
import { ImageFeatures } from '../vlm/features.ts';
import { FeatureCache } from './feature-cache.ts';
import { planOf } from './protocols.ts';
import { labelOf, type StudySettings, type StudyTrial, study, trialsOf } from './study.ts';
import { figure } from './summary.ts';

let folder: string;
const before = process.env.ATTUNE_CACHE;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'attune-study-'));
  process.env.ATTUNE_CACHE = join(folder, 'cache');
  await writeTinyClip(join(folder, 'clip'));
  await writeColours(join(folder, 'colours'));
}, 60_000);
afterAll(async () => {
  if (before === undefined) delete process.env.ATTUNE_CACHE;
  else process.env.ATTUNE_CACHE = before;
  await rm(folder, { recursive: true, force: true });
});

/** `count` images a class and split, in domains that alternate. */
function splits(
  name: string,
  classes: readonly string[],
  count = 6,
  domains = ['line', 'solid'],
): DataSplits {
  const set = (split: string): Dataset => ({
    name,
    version: '1',
    classes,
    examples: classes.flatMap((c, label) =>
      Array.from({ length: count }, (_, i) => ({
        id: `${split}/${c}/${i}`,
        label,
        domain: domains[i % domains.length]!,
        image: () => Promise.reject(new Error('not asked for')),
      })),
    ),
  });
  return { train: set('train'), val: set('val'), test: set('test'), split: 'given', warnings: [] };
}
const ids = (data: Dataset) => data.examples.map((e) => e.id);

describe('plans', () => {
  const data = splits('letters', ['a', 'b', 'c', 'd', 'e']);
  const common = { shots: 2, seed: 1 };

  test('base-to-new draws for all classes, then splits the labels; two closed worlds', () => {
    const all = planOf(data, { ...common, protocol: 'few-shot' });
    const plan = planOf(data, { ...common, protocol: 'base-to-new' });
    expect(plan.train.classes).toEqual(['a', 'b', 'c']);
    expect(ids(all.train)).toEqual(expect.arrayContaining(ids(plan.train)));
    expect(byClass(plan.train).map((g) => g.length)).toEqual([2, 2, 2]);
    expect(plan.tests.map((t) => [t.name, t.data.classes, t.data.examples.length])).toEqual([
      ['base', ['a', 'b', 'c'], 18],
      ['new', ['d', 'e'], 12],
    ]);
  });

  test('classes with fewer images keep all; fewer shots are among more', () => {
    const [two, many] = [2, 16].map((shots) => planOf(data, { shots, seed: 1, protocol: 'few-shot' }));
    expect(many!.train.examples).toHaveLength(30);
    expect(many!.val.examples).toHaveLength(20);
    expect(ids(many!.train)).toEqual(expect.arrayContaining(ids(two!.train)));
  });

  test('cross-dataset tests on other data with their own names, without images that were trained on', () => {
    const draw = planOf(data, { ...common, protocol: 'few-shot' }).train;
    const target = splits('OxfordPets', ['x', 'y']);
    const shared = {
      ...target,
      test: { ...target.test, examples: [...target.test.examples, draw.examples[0]!] },
    };
    const plan = planOf(data, { ...common, protocol: 'cross-dataset', targets: [shared] });
    expect(plan.train).toEqual(draw);
    expect(plan.tests.map((t) => [t.name, t.template, t.data.examples.length])).toEqual([
      ['source', 'a photo of a {}.', 30],
      ['OxfordPets', 'a photo of a {}, a type of pet.', 12],
    ]);
    expect(() => planOf(data, { ...common, protocol: 'cross-dataset' })).toThrow(/--targets a,b/);
  });

  test('domain-generalisation trains on one domain, whose classes are all there are', () => {
    const odd = splits('odd', ['a', 'b'], 5);
    const noSolid = {
      ...odd.train,
      examples: odd.train.examples.filter((e) => e.label === 0 || e.domain === 'line'),
    };
    const plan = planOf({ ...odd, train: noSolid }, { ...common, protocol: 'domain-generalisation' });
    expect(new Set(plan.train.examples.map((e) => e.domain))).toEqual(new Set(['line']));
    expect(plan.tests.map((t) => [t.name, t.data.examples.length])).toEqual([
      ['source', 6],
      ['solid', 4],
    ]);
    const solid = { ...common, protocol: 'domain-generalisation', domain: 'solid' } as const;
    expect(planOf({ ...odd, train: noSolid }, solid).tests.map((t) => t.data.classes)).toEqual([
      ['a'],
      ['a'],
    ]);
    expect(() => planOf(odd, { ...solid, domain: 'sold' })).toThrow(/no domain "sold".*did you mean/);
    const one = splits('one', ['a', 'b'], 5, ['line']);
    expect(() => planOf(one, { ...common, protocol: 'domain-generalisation' })).toThrow(/--targets/);
  });
});

describe('figures', () => {
  const trial = (
    label: string,
    data: string,
    seed: number,
    base: number,
    fresh: number | null,
  ): StudyTrial => ({
    ...{ label, data, seed, protocol: 'base-to-new', model: 'm', method: label, options: {}, shots: 16 },
    tests: {
      base: { accuracy: base, images: 1, classes: 1 },
      new: { accuracy: fresh, images: 1, classes: 1 },
    },
    ...{ trainImages: 1, trainableParameters: 1, seconds: 1, runDir: '' },
  });

  test('H of the averages, as published: 71.70 for CLIP; deviation over seeds of means over data', () => {
    const trials = [trial('clip', 'x', 1, 0.6934, 0.7422), trial('clip', 'x', 2, 0.6934, 0.7422)];
    expect((100 * figure(trials, { label: 'clip' }, 'H')!.mean).toFixed(2)).toBe('71.70');
    const two = [
      trial('a', 'x', 1, 0.2, 0.4),
      trial('a', 'y', 1, 0.6, 1),
      trial('a', 'x', 2, 0.4, 0),
      trial('a', 'y', 2, 0.8, 0.4),
    ];
    const base = figure(two, { label: 'a' }, 'base')!;
    expect([base.mean, base.std]).toEqual([expect.closeTo(0.5), expect.closeTo(Math.SQRT2 / 10)]);
    expect(figure(two, { label: 'a' }, 'H')!.mean).toBeCloseTo((2 * 0.5 * 0.45) / 0.95);
    expect(figure(two, { label: 'a', data: 'y' }, 'new')!.values).toEqual([1, 0.4]);
  });

  test('what a method cannot be tested on is undefined, what was not run an error', () => {
    const trials = [trial('probe', 'x', 1, 0.5, null)];
    expect(figure(trials, { label: 'probe' }, 'new')).toBeUndefined();
    expect(figure(trials, { label: 'probe' }, 'H')).toBeUndefined();
    expect(() => figure(trials, { label: 'coop' }, 'new')).toThrow('no trial of coop');
    expect(() => figure(trials, { label: 'probe' }, 'test')).toThrow('no test "test"; there are base, new');
  });
});

async function finished(settings: StudySettings, jobs = 1, signal?: AbortSignal, stopAtStep?: () => void) {
  const events = study(settings, { out: join(folder, 'runs'), jobs, signal });
  const reused: boolean[] = [];
  for (;;) {
    const { done, value } = await events.next();
    if (done) return { trials: value as StudyTrial[], reused };
    if (value.type === 'trial') reused.push(value.reused);
    if (value.type === 'train' && value.event.type === 'step') stopAtStep?.();
  }
}

describe('a study', () => {
  const settings = (): StudySettings => ({
    protocol: 'base-to-new',
    model: join(folder, 'clip'),
    methods: [
      'zero-shot',
      { method: 'linear-probe', options: { steps: 3 } },
      { method: 'coop', options: { epochs: 2 } },
    ],
    data: [join(folder, 'colours')],
    shots: [2],
    seeds: [1, 2],
  });

  test('checks all before it runs, and lets adapters hold for new classes where they can', () => {
    const coop = trialsOf(settings()).at(-1)!;
    expect([coop.label, coop.settings.options.unified]).toEqual(['coop:epochs=2', true]);
    expect(trialsOf({ ...settings(), protocol: 'few-shot' }).at(-1)!.settings.options.unified).toBe(false);
    expect(labelOf({ method: 'coop', options: { unified: true } })).toBe('coop:unified');
    expect(() => trialsOf({ ...settings(), methods: ['coop', 'coop'] })).toThrow('coop is named twice');
    expect(() => trialsOf({ ...settings(), methods: ['cop'] })).toThrow(/did you mean "coop"/);
  });

  test('runs each trial once, in this process or in several, with the same result', async () => {
    const once = await finished(settings());
    expect(once.reused).toEqual(new Array(6).fill(false));
    expect(once.trials.map((t) => [t.label, t.seed])).toEqual(
      ['zero-shot', 'linear-probe:steps=3', 'coop:epochs=2'].flatMap((m) => [1, 2].map((seed) => [m, seed])),
    );
    const [, probe, coop] = [0, 2, 4].map((i) => once.trials[i]!);
    expect(probe!.tests).toMatchObject({ base: { classes: 2 }, new: { accuracy: null, classes: 1 } });
    expect(coop!.tests).toMatchObject({ base: { accuracy: expect.any(Number) }, new: { accuracy: 1 } });
    expect(await readdir(coop!.runDir)).toEqual(
      expect.arrayContaining(['adapter_config.json', 'result.json']),
    );
    expect(await finished(settings())).toEqual({ trials: once.trials, reused: new Array(6).fill(true) });
    const more = { ...settings(), methods: [{ method: 'coop', options: { epochs: 3 } }] };
    expect((await finished(more)).reused).toEqual([false, false]);

    for (const t of once.trials) await rm(t.runDir, { recursive: true });
    const inProcesses = await finished(settings(), 2);
    expect(inProcesses.reused).toEqual(new Array(6).fill(false));
    const timeless = (t: StudyTrial) => ({ ...t, seconds: 0 });
    expect(inProcesses.trials.map(timeless)).toEqual(once.trials.map(timeless));
  }, 240_000);

  test('goes on where it was interrupted', async () => {
    const long = { ...settings(), methods: [{ method: 'coop', options: { epochs: 6 } }], seeds: [3] };
    const interrupt = new AbortController();
    await expect(finished(long, 1, interrupt.signal, () => interrupt.abort())).rejects.toThrow(
      /^interrupted/,
    );
    const { trials } = await finished(long);
    expect(trials[0]!.tests.base!.accuracy).toEqual(expect.any(Number));
  }, 240_000);

  test('a failure in a worker is the failure of the study, and ends all workers', async () => {
    const processes = () => process.getActiveResourcesInfo().filter((r) => r === 'ProcessWrap').length;
    const before = processes();
    const missing = { ...settings(), data: [join(folder, 'nowhere')] };
    await expect(finished(missing, 2)).rejects.toThrow(/no folder .*nowhere/);
    await expect.poll(processes, { timeout: 20_000 }).toBe(before);
  }, 240_000);
});

describe('features on disk', () => {
  test('are computed once for model, data and version; a damaged file is made anew', async () => {
    const model = await tinyClip();
    let decoded = 0;
    const plain = pictures(2);
    const data: Dataset = {
      ...plain,
      version: '1',
      examples: plain.examples.map((e) => ({ ...e, image: () => e.image().finally(() => decoded++) })),
    };
    const warm = async (digest: string, set: Dataset) => {
      const features = new ImageFeatures(model);
      await new FeatureCache({ model, digest, features }).warm(set);
      decoded = set === data ? decoded : 0;
      const at = decoded;
      const result = await features.of(set);
      expect(decoded).toBe(at);
      await features.release();
      return result;
    };
    const first = await warm('w', data);
    expect(decoded).toBe(10);
    expect(await warm('w', data)).toEqual(first);
    expect(decoded).toBe(10);
    await warm('other weights', data);
    expect(decoded).toBe(20);
    const cache = join(process.env.ATTUNE_CACHE!, 'features');
    for (const file of (await readdir(cache)).filter((f) => f.startsWith('pictures'))) {
      expect((await stat(join(cache, file))).size).toBeGreaterThan(10 * 10 * 4);
      await writeFile(join(cache, file), 'junk');
    }
    expect(await warm('w', data)).toEqual(first);
    expect(decoded).toBe(30);
    const unnamed = { ...plain, name: 'no version' };
    await warm('w', unnamed);
    expect((await readdir(cache)).filter((f) => f.startsWith('no'))).toEqual([]);
  });
});
