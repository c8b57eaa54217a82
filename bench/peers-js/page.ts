/** In the page: what `browser.ts` calls. */
import { type Comparison, compare, type Library, type Row } from './compare.ts';

const libraries: Record<string, () => Promise<Library>> = {
  'TensorFlow.js': () => import(/* @vite-ignore */ new URL('./tensorflow.js', import.meta.url).href),
  'jax-js': () => import(/* @vite-ignore */ new URL('./jax.js', import.meta.url).href),
};

Object.assign(globalThis, {
  compare: async (c: Comparison): Promise<Row> => compare(c, await libraries[c.label]!()),
});
