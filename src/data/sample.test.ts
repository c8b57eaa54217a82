import { describe, expect, it } from 'vitest';
import { byClass, type Dataset, filterExamples, subsetClasses } from './dataset.ts';
import {
  baseAndNew,
  domainsOf,
  fewShot,
  fewShotVal,
  harmonicMean,
  inDomains,
  leaveDomainOut,
} from './sample.ts';
import { ensembleFor, ensembles, fillTemplate, templateFor, templates } from './templates.ts';

function toy(sizes: number[]): Dataset {
  return {
    name: 'toy',
    classes: sizes.map((_, c) => `class ${c}`),
    sourceClasses: sizes.map((_, c) => `class_${c}`),
    examples: sizes.flatMap((n, label) =>
      Array.from({ length: n }, (_, i) => ({
        id: `${label}/${i}`,
        label,
        domain: ['line', 'solid', 'color'][i % 3]!,
        image: async () => ({ data: new Uint8Array(3), width: 1, height: 1 }),
      })),
    ),
  };
}
const ids = (d: Dataset) => d.examples.map((e) => e.id);

describe('fewShot', () => {
  const data = toy([20, 30, 17]);
  it('draws K of each class without replacement, by seed', () => {
    for (const shots of [1, 2, 4, 8, 16]) {
      const draw = fewShot(data, shots, { seed: 1 });
      expect(byClass(draw).map((g) => g.length)).toEqual([shots, shots, shots]);
      expect(new Set(ids(draw)).size).toBe(3 * shots);
      expect(ids(fewShot(data, shots, { seed: 1 }))).toEqual(ids(draw));
      expect(ids(fewShot(data, shots, { seed: 2 }))).not.toEqual(ids(draw));
    }
  });
  it('nests: fewer shots are among more', () => {
    const sixteen = new Set(ids(fewShot(data, 16, { seed: 3 })));
    for (const id of ids(fewShot(data, 4, { seed: 3 }))) expect(sixteen.has(id)).toBe(true);
  });
  it('does not depend on the order of the files, nor on other classes', () => {
    const reversed = { ...data, examples: data.examples.toReversed() };
    expect(ids(fewShot(reversed, 8, { seed: 1 }))).toEqual(ids(fewShot(data, 8, { seed: 1 })));
    const grown = toy([20, 90, 17]);
    const first = (d: Dataset) => ids(d).filter((id) => id.startsWith('0/'));
    expect(first(fewShot(grown, 8, { seed: 1 }))).toEqual(first(fewShot(data, 8, { seed: 1 })));
  });
  it('says which class is short and what to do', () => {
    expect(() => fewShot(toy([20, 3, 5]), 16, { seed: 1 })).toThrow(
      'class "class 1" of toy has 3 images for 16 shots, and 1 more classes have too few: lower --shots to 3, add images, or pass --allow-fewer',
    );
    const fewer = fewShot(toy([20, 3, 5]), 16, { seed: 1, allowFewer: true });
    expect(byClass(fewer).map((g) => g.length)).toEqual([16, 3, 5]);
    expect(() => fewShot(data, 0, { seed: 1 })).toThrow(/whole number from 1/);
    expect(() => fewShot(data, 1.5, { seed: 1 })).toThrow(/whole number from 1/);
  });
  it('validates on min(K, 4)', () => {
    const val = toy([9, 2, 5]);
    expect(byClass(fewShotVal(val, 16, 1)).map((g) => g.length)).toEqual([4, 2, 4]);
    expect(byClass(fewShotVal(val, 1, 1)).map((g) => g.length)).toEqual([1, 1, 1]);
  });
});

describe('splits of classes and domains', () => {
  it('cuts classes into ceil(C/2) base and the rest, relabelled from 0, with the draw of the whole', () => {
    const whole = fewShot(toy([9, 9, 9, 9, 9]), 2, { seed: 1 });
    const { base, new: fresh } = baseAndNew(whole);
    expect(base.classes).toEqual(['class 0', 'class 1', 'class 2']);
    expect(fresh.classes).toEqual(['class 3', 'class 4']);
    expect(fresh.sourceClasses).toEqual(['class_3', 'class_4']);
    expect(fresh.examples.map((e) => e.label)).toEqual([0, 0, 1, 1]);
    expect([...ids(base), ...ids(fresh)]).toEqual(ids(whole));
    for (const [classes, first] of [
      [37, 19],
      [47, 24],
    ] as const) {
      expect(baseAndNew(toy(new Array(classes).fill(1))).base.classes.length).toBe(first);
    }
    // The order of labels counts, not that of names: some published data number their classes otherwise.
    const odd = { ...toy([1, 1, 1]), classes: ['c', 'a', 'b'] };
    expect(baseAndNew(odd).base.classes).toEqual(['c', 'a']);
  });
  it('refuses a class that is not there', () => {
    expect(() => subsetClasses(toy([1, 1]), [0, 2])).toThrow(/class 2 is not one of 2/);
  });
  it('takes the harmonic mean of base and new', () => {
    expect(harmonicMean(69.34, 74.22)).toBeCloseTo(71.7, 2);
    expect(harmonicMean(0, 0)).toBe(0);
  });
  it('leaves one domain out', () => {
    const data = toy([6, 6]);
    expect(domainsOf(data)).toEqual(['color', 'line', 'solid']);
    const { source, target } = leaveDomainOut(data, 'solid');
    expect(domainsOf(source)).toEqual(['color', 'line']);
    expect(target.examples.length + source.examples.length).toBe(12);
    expect(() => inDomains(data, ['lines'])).toThrow(/no domain "lines" \(did you mean "line"\?\)/);
    expect(() =>
      inDomains(
        filterExamples(data, () => false),
        ['x'],
      ),
    ).toThrow(/has none/);
  });
});

describe('templates', () => {
  it('finds the template of a data set however it is written', () => {
    expect(templateFor('OxfordPets')).toBe('a photo of a {}, a type of pet.');
    expect(templateFor('oxford_pets')).toBe(templateFor('OxfordPets'));
    expect(templateFor('icons')).toBe('a {} icon');
    expect(templateFor('icons-unseen')).toBe('a {} icon');
    expect(templateFor('my holiday')).toBe('a photo of a {}.');
    expect(ensembleFor(templateFor('icons'))[0]).toBe('a {} icon');
    expect(ensembleFor(templateFor('other'))[0]).toBe('itap of a {}.');
    for (const t of [...Object.values(templates), ...Object.values(ensembles).flat()])
      expect(t.split('{}')).toHaveLength(2);
  });
  it('fills in names with spaces', () => {
    expect(fillTemplate('a {} icon', 'bar_chart')).toBe('a bar chart icon');
    expect(() => fillTemplate('a photo', 'x')).toThrow(/has no \{\}/);
  });
});
