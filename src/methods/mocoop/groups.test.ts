import { describe, expect, test } from 'vitest';
import { groupSets, groupsFor, parseGroups } from './groups.ts';
import { mocoop } from './method.ts';

describe('template groups', () => {
  test('of the data set, of the template, of the user', () => {
    expect(groupsFor('OxfordPets', 'a photo of a {}.')).toBe(groupSets.oxfordpets);
    expect(groupsFor('weather', 'a {} icon')).toBe(groupSets.icons);
    expect(groupsFor('mine', 'a photo of a {}.')).toBe(groupSets.tail);
    expect(groupsFor('digits', 'the digit {}')).toEqual([['the digit {}'], ...groupSets.tail!]);
    expect(parseGroups('a photo of a {}. | a {}; {} texture.')).toEqual([
      ['a photo of a {}.', 'a {}'],
      ['{} texture.'],
    ]);
    expect(parseGroups('dtd')).toBe(groupSets.dtd);
    expect(groupSets.imagenet!.map((g) => g.length)).toEqual([
      1, 1, 1, 1, 2, 2, 3, 1, 1, 1, 7, 2, 1, 2, 1, 1, 1, 1, 1, 1,
    ]);
    const counts = [
      'caltech101',
      'flowers102',
      'stanfordcars',
      'sun397',
      'food101',
      'oxfordpets',
      'ucf101',
      'eurosat',
    ];
    expect(counts.map((name) => groupSets[name]!.length)).toEqual([5, 5, 5, 4, 4, 6, 6, 6]);
  });

  test.each([
    ['oxfordpet', 'there are no template groups "oxfordpet" (did you mean "oxfordpets"'],
    ['a photo of a {}; a photo | the {}', '"a photo" in template group 2 needs one {} for the class name'],
    ['a {} and a {}', '"a {} and a {}" in template group 1 needs one {}'],
    ['a photo of a {}; {}. | a {}', 'template group 2 starts with "{}."'],
  ])('%j is refused', (text, message) => {
    const { error } = mocoop.options.safeParse({ groups: text });
    expect(error!.issues[0]).toMatchObject({ path: ['groups'], message: expect.stringContaining(message) });
  });
});
