import type { Random } from '../../runtime/index.ts';

/** Captions of several lengths, so that every text position is trained. `{}` is the name, `{style}` how it is drawn. */
export const captionTemplates = [
  '{}',
  '{}.',
  'a {} icon',
  'an icon of a {}',
  'a photo of a {}.',
  'a drawing of a {}',
  'the {} symbol',
  'a {style} icon of a {}',
  'a {style} drawing of the {} symbol',
  'a simple {style} pictogram that shows a {} on a white background',
  'this is a small and clean {style} icon for a user interface, and what it shows is a {}',
  'one of many icons in a set that was drawn in the {style} style; the name of this icon is {}',
] as const;

/** A caption for `name`, drawn from the templates. */
export function caption(name: string, style: string, random: Random): string {
  const template = captionTemplates[random.int(captionTemplates.length)]!;
  return template.replace('{style}', style).replace('{}', name);
}
