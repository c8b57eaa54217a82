/**
 * Themes: classes by name across drawing sets, finer than the hundred everyday things. Test drawings come from held-out
 * families; train and val from the others. Names are matched without spaces, so that `victoryhand` is found too.
 */
import { familyOf, heldOutFamilies, roleOf } from './families.ts';
import { brandNames, fileTypeNames, flagNames } from './theme-names/excluded.ts';
import { faceNames, gestureNames } from './theme-names/people.ts';
import { animalNames, foodNames, transportNames, weatherNames } from './theme-names/things.ts';

export interface Theme {
  /** The class that a drawing of this label belongs to. */
  classOf(label: string): string | undefined;
  readonly classes: readonly string[];
  /** Sets that are read. */
  uses(prefix: string): boolean;
  /** Sets whose drawings are for test. */
  isTest(prefix: string): boolean;
  /** What tells images apart besides their class: how they are drawn, or by which family of sets. */
  readonly domains: 'style' | 'vendor';
  /** Changes with the rules above. */
  readonly definition: string;
}

interface Rules {
  /** `class: other name, other name | class`. */
  readonly names: string;
  readonly domains?: 'style' | 'vendor';
  /** Only these sets; default: all that pretraining may use or that are held out. */
  readonly sets?: string;
  /** Test families besides the held-out ones. */
  readonly testFamilies?: string;
}

/** Skin tones are variants of one gesture; a face in front view is its animal. */
const squash = (label: string): string =>
  label.replace(/ (?:medium )?(?:light|medium|dark)(?: skin tone)?$/, '').replace(/ /g, '');

const words = (list = ''): Set<string> => new Set(list.split(' ').filter(Boolean));

function themeOf({ names, domains = 'style', sets, testFamilies }: Rules): Theme {
  const byName = new Map<string, string>();
  const classes: string[] = [];
  for (const entry of names.trim().split(/\s*[|\n]\s*/)) {
    const [name, others] = entry.split(':').map((s) => s.trim());
    classes.push(name!);
    for (const other of [name!, ...(others?.split(/\s*,\s*/) ?? [])]) {
      const key = other.replace(/ /g, '');
      const taken = byName.get(key);
      if (taken !== undefined && taken !== name) throw new Error(`"${other}" names ${taken} and ${name}`);
      byName.set(key, name!);
    }
  }
  const [only, test] = [words(sets), words(testFamilies)];
  return {
    classOf: (label) => byName.get(label.replace(/ /g, '')) ?? byName.get(squash(label)),
    classes: classes.sort(),
    uses: (prefix) => (only.size ? only.has(prefix) : roleOf(prefix) !== 'excluded'),
    isTest: (prefix) => heldOutFamilies.has(familyOf(prefix)) || test.has(familyOf(prefix)),
    domains,
    definition: JSON.stringify({ names, domains, sets, testFamilies }),
  };
}

const emojiSets =
  'twemoji emojione emojione-v1 emojione-monotone fxemoji noto noto-v1 openmoji fluent-emoji fluent-emoji-flat ' +
  'fluent-emoji-high-contrast streamline-emojis';

export const themes = {
  animals: themeOf({ names: animalNames }),
  food: themeOf({ names: foodNames }),
  transport: themeOf({ names: transportNames }),
  weather: themeOf({ names: weatherNames }),
  gestures: themeOf({ names: gestureNames, domains: 'vendor', sets: emojiSets }),
  faces: themeOf({ names: faceNames, domains: 'vendor', sets: emojiSets }),
  flags: themeOf({
    names: flagNames,
    domains: 'vendor',
    sets: 'circle-flags flag flagpack cif twemoji emojione emojione-v1 emojione-monotone openmoji streamline-emojis',
  }),
  brands: themeOf({
    names: brandNames,
    sets:
      'simple-icons logos streamline-logos cib bxl fa-brands fa6-brands fa7-brands arcticons thesvg thesvg-color ' +
      'brandico entypo-social devicon devicon-plain skill-icons selfhst ant-design ion jam ri bi uil akar-icons ' +
      'lineicons teenyicons mdi tabler fa pajamas mingcute',
    testFamilies: 'devicon skill-icons arcticons streamline-logos',
  }),
  'file-types': themeOf({
    names: fileTypeNames,
    domains: 'vendor',
    sets: 'vscode-icons material-icon-theme catppuccin file-icons devicon devicon-plain skill-icons',
    testFamilies: 'catppuccin file-icons skill-icons',
  }),
} satisfies Record<string, Theme>;

export type ThemeName = keyof typeof themes;
export const themeNames = Object.keys(themes) as ThemeName[];
