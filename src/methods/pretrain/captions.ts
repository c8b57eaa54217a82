import type { Random } from '../../runtime/index.ts';

/** Short captions, in which the name is most of the sentence. `{}` is the name. */
const short = ['{}', '{}.', 'a {} icon', 'an icon of a {}', 'a photo of a {}.'];
/** Longer ones, so that later text positions are trained too. `{style}` says how the set draws. */
const long = [
  'a drawing of a {}',
  'a {style} icon of a {}',
  'a {style} drawing of the {} symbol',
  'a simple {style} pictogram that shows a {}',
  'a small {style} icon for a user interface: {}',
];
export const captionTemplates: readonly string[] = [...short, ...long];

/**
 * The template of a step, short ones two times in three. All captions of a step share it, so that nothing but names
 * (and styles) tells them apart.
 */
export function drawTemplate(random: Random): string {
  const from = random.next() < 2 / 3 ? short : long;
  return from[random.int(from.length)]!;
}

/** How the drawings of a domain are called. */
export const styleWords: Readonly<Record<string, string>> = {
  outline: 'outline',
  solid: 'solid',
  duotone: 'duotone',
  color: 'colourful',
  pixel: 'pixel',
};

export const caption = (template: string, name: string, style = 'plain'): string =>
  template.replace('{style}', style).replace('{}', name);
