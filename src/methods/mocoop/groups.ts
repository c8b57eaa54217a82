import { builtIn, isBuiltIn } from '../../data/index.ts';
import { didYouMean } from '../../graph/nearest.ts';

/** Hand-written templates by what they say: one expert a group, which starts from the group's first template. */
export type Groups = readonly (readonly string[])[];

const low = [
  'a low resolution photo of the {}.',
  'a low resolution photo of a {}.',
  'a pixelated photo of the {}.',
  'a pixelated photo of a {}.',
];
const good = ['a good photo of the {}.', 'a good photo of a {}.'];
const large = ['a photo of the large {}.', 'a photo of a large {}.'];
const small = ['a photo of the small {}.', 'a photo of a small {}.'];
const photo = ['a photo of a {}.'];
const many = ['a photo of many {}.'];
const tail: Groups = [photo, many, low, good];
const texture = ['{} texture.'];
const flower = ['a photo of a {}, a type of flower.'];
const aircraft = ['a photo of a {}, a type of aircraft.'];
const satellite = ['a centered satellite photo of {}.'];
const action = ['a photo of a person doing {}.'];
const videoGame = ['a {} in a video game.'];
/** Drawings by style, in words that the captions of the zoo's models use. */
const icon = (style: string) => [`a ${style} icon of a {}`, `a ${style} drawing of the {} symbol`];

/** The groups of the released code by data set, and those for the drawings that Attune brings along. */
const sets = {
  tail,
  caltech101: [texture, ...tail],
  dtd: [texture, ...tail],
  fgvcaircraft: [aircraft, ...tail],
  flowers102: [flower, ...tail],
  oxfordflowers: [flower, ...tail],
  stanfordcars: [
    ['A photo of the high-performance {}.', 'A photo of the modern {}.', 'A photo of the fast {}.'],
    ...tail,
  ],
  sun397: tail,
  food101: [
    photo,
    ['a photo of the delicious {}.', 'a photo of the tasty {}.', 'A dish of the {}.'],
    low,
    good,
  ],
  oxfordpets: [['a photo of the small {}.'], large, ...tail],
  ucf101: [action, videoGame, ...tail],
  eurosat: [satellite, photo, large, small, low, good],
  imagenet: [
    flower,
    action,
    satellite,
    aircraft,
    ['itap of a {}.', 'itap of the {}.'],
    large,
    ['art of the {}.', 'a rendering of a {}.', 'a rendering of the {}.'],
    ['a photo of the small {}.'],
    photo,
    many,
    [...low, 'a jpeg corrupted photo of the {}.', 'a blurry photo of a {}.', 'a bad photo of the {}.'],
    ['a cropped photo of the {}.', 'a cropped photo of a {}.'],
    ['a bright photo of the {}.'],
    good,
    ['a close-up photo of the {}.'],
    ['a photo of the clean {}.'],
    videoGame,
    ['a photo of the hard to see {}.'],
    ['a origami {}.'],
    texture,
  ],
  icons: [['a {} icon'], ...['outline', 'solid', 'colourful', 'duotone', 'pixel'].map(icon)],
} satisfies Record<string, Groups>;

export const groupSets: Readonly<Record<string, Groups>> = sets;

/**
 * Groups as text: `auto`, a name of the table, or templates, `|` between those of a group and `;` or a new line
 * between groups. Throws, naming the template, where one lacks its `{}` or an expert would start from no words.
 */
export function parseGroups(text: string): Groups | 'auto' {
  if (text === 'auto') return text;
  if (!text.includes('{}')) {
    const names = Object.keys(groupSets);
    if (Object.hasOwn(groupSets, text)) return groupSets[text]!;
    throw new Error(
      `there are no template groups "${text}"${didYouMean(text, names)}; give auto, ${names.join(', ')}, or ` +
        'templates: "a photo of a {} | a picture of a {}; a drawing of a {}" is two groups',
    );
  }
  const split = (part: string, by: RegExp) =>
    part.split(by).flatMap((piece) => (piece.trim() ? [piece.trim()] : []));
  const groups = split(text, /[;\n]/).map((group) => split(group, /\|/));
  groups.forEach((group, g) => {
    for (const template of group) {
      if (template.split('{}').length !== 2) {
        throw new Error(`"${template}" in template group ${g + 1} needs one {} for the class name`);
      }
    }
    if (/^\W*\{\}\W*$/.test(group[0]!)) {
      throw new Error(
        `template group ${g + 1} starts with "${group[0]}": its expert needs words to start from; put another template first`,
      );
    }
  });
  return groups;
}

/**
 * The groups of a data set: those of its name (`OxfordPets`, `oxford_pets`), those for drawings where it is one of the
 * built-in sets of them, else its own `template` and the common tail.
 */
export function groupsFor(data: string, template: string): Groups {
  const known = groupSets[data.toLowerCase().replace(/[^a-z0-9]/g, '')];
  if (isBuiltIn(data) && builtIn[data].package === '@iconify/json') return sets.icons;
  if (known) return known;
  return tail.flat().includes(template) ? tail : [[template], ...tail];
}
