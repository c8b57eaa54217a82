import type { OnnxNode } from '../decode.ts';
import type { Importer } from '../reader.ts';
import { attentions } from './attention.ts';
import { controls } from './control.ts';
import { created } from './create.ts';
import { elementwise } from './elementwise.ts';
import { gathers } from './gather.ts';
import { products } from './linear.ts';
import { losses } from './loss.ts';
import { microsoft } from './microsoft.ts';
import { normalisations } from './normalise.ts';
import { quantised } from './quantise.ts';
import { recurrences } from './recurrent.ts';
import { reductions } from './reduce.ts';
import { images } from './resize.ts';
import { samples } from './sample.ts';
import { shapes } from './shape.ts';
import { convolve, windows } from './window.ts';

const plain: Record<string, Importer> = {
  ...elementwise,
  ...reductions,
  ...shapes,
  ...created,
  ...gathers,
  ...windows,
  ...images,
  ...samples,
  ...normalisations,
  ...products,
  ...quantised(convolve),
  ...recurrences,
  ...controls,
  ...losses,
  ...attentions,
};
const domains = new Map<string, ReadonlyMap<string, Importer>>([
  ['', new Map(Object.entries(plain))],
  ['com.microsoft', new Map(Object.entries(microsoft(plain)))],
]);

/** How to import a node, if that is known. */
export const importerOf = (n: OnnxNode): Importer | undefined => domains.get(n.domain)?.get(n.type);

const random = 'draws random numbers: make them outside of the model and give them as an input';
const text = 'works on text';
const reasons: Record<string, string> = {
  RandomNormal: random,
  RandomNormalLike: random,
  RandomUniform: random,
  RandomUniformLike: random,
  Bernoulli: random,
  Multinomial: random,
  StringConcat: text,
  StringNormalizer: text,
  StringSplit: text,
  RegexFullMatch: text,
  TfIdfVectorizer: text,
  ImageDecoder: 'decodes files: give it decoded images',
};
/** Why an op cannot be imported, where there is more to say than that it is not known. */
export const whyNot = (n: OnnxNode): string | undefined => (n.domain === '' ? reasons[n.type] : undefined);
