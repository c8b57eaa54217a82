/** Sentences that turn a class name into a prompt; `{}` is the name. */
import { builtIn, isBuiltIn } from './built-in.ts';

/** One template a data set, as CoOp and its successors use them. */
export const templates: Readonly<Record<string, string>> = {
  imagenet: 'a photo of a {}.',
  caltech101: 'a photo of a {}.',
  stanfordcars: 'a photo of a {}.',
  sun397: 'a photo of a {}.',
  oxfordpets: 'a photo of a {}, a type of pet.',
  flowers102: 'a photo of a {}, a type of flower.',
  fgvcaircraft: 'a photo of a {}, a type of aircraft.',
  food101: 'a photo of {}, a type of food.',
  dtd: '{} texture.',
  eurosat: 'a centered satellite photo of {}.',
  ucf101: 'a photo of a person doing {}.',
};

/** Sets of templates whose text features are averaged. */
export const ensembles: Readonly<Record<string, readonly string[]>> = {
  /** The seven that CLIP's authors selected for ImageNet. */
  imagenet: [
    'itap of a {}.',
    'a bad photo of the {}.',
    'a origami {}.',
    'a photo of the large {}.',
    'a {} in a video game.',
    'art of the {}.',
    'a photo of the small {}.',
  ],
  icons: [
    'a {} icon',
    'an outline icon of a {}',
    'a solid icon of a {}',
    'a colorful icon of a {}',
    'a duotone icon of a {}',
    'a pixel icon of a {}',
    '{}',
  ],
};

const key = (dataset: string) => dataset.toLowerCase().replace(/[^a-z0-9]/g, '');

/** The template of a known data set (`OxfordPets`, `oxford_pets`) or built-in one; "a photo of a {}." for any other. */
export const templateFor = (dataset: string): string =>
  isBuiltIn(dataset) ? builtIn[dataset].template : (templates[key(dataset)] ?? templates.imagenet!);

/** The sentences to average in place of a template: of icons where it is one for drawings, else CLIP's seven. */
export const ensembleFor = (template: string): readonly string[] =>
  Object.values(builtIn).some((data) => data.package === '@iconify/json' && data.template === template)
    ? ensembles.icons!
    : ensembles.imagenet!;

/** The prompt of a class: underscores become spaces. Throws where the template has no `{}`. */
export function fillTemplate(template: string, className: string): string {
  if (!template.includes('{}')) throw new Error(`the template "${template}" has no {} for the class name`);
  return template.replaceAll('{}', className.replaceAll('_', ' '));
}
