/** The order of the house (docs/architecture.md): imports point downwards, and only `runtime` knows ONNX Runtime. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve, sep } from 'node:path';
import { expect, test } from 'vitest';

/** From the bottom up; folders of one tier may import each other, but not in a circle. */
const tiers = [['graph'], ['runtime'], ['nn'], ['models'], ['hub', 'data'], ['train'], ['methods'], ['cli']];
const tierOf = (room: string) => tiers.findIndex((tier) => tier.includes(room));

const src = import.meta.dirname;
/** What is shipped: tests and their helpers may look upwards, as finite differences need `runtime`. */
const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter(
  (f) => f.endsWith('.ts') && !f.endsWith('.test.ts') && !f.split(sep).includes('testing'),
);
const roomOf = (file: string) => file.split(sep)[0]!;

const imports = files.flatMap((file) => {
  const text = readFileSync(join(src, file), 'utf8');
  const specifiers = text.matchAll(
    /^(?:import|export)\b[^;]*?\bfrom '([^']+)'|\bimport\('([^']+)'\)|^import '([^']+)'/gm,
  );
  return Array.from(specifiers, ([, a, b, c]) => ({ file, specifier: (a ?? b ?? c)! }));
});
const ours = imports
  .filter(({ specifier }) => specifier.startsWith('.'))
  .map(({ file, specifier }) => ({ file, target: relative(src, resolve(src, file, '..', specifier)) }));
const between = ours.filter(({ file, target }) => roomOf(file) !== roomOf(target));

test('every folder of src has its tier, and every import leads to a file', () => {
  expect([...new Set(files.map(roomOf))].sort()).toEqual(tiers.flat().sort());
  expect(ours.filter(({ target }) => !files.includes(target))).toEqual([]);
  expect(between.length).toBeGreaterThan(100);
});

test('imports point downwards', () => {
  const wrong = between.filter(({ file, target }) => tierOf(roomOf(target)) > tierOf(roomOf(file)));
  expect(wrong.map(({ file, target }) => `${file} imports ${target}`)).toEqual([]);
});

test('no two folders import each other', () => {
  const edges = new Set(between.map(({ file, target }) => `${roomOf(file)} → ${roomOf(target)}`));
  const circles = [...edges].filter((edge) => edges.has(edge.split(' → ').reverse().join(' → ')));
  expect(circles).toEqual([]);
});

test('only runtime imports ONNX Runtime', () => {
  const users = imports.filter(({ specifier }) => /^#?onnxruntime/.test(specifier));
  expect(new Set(users.map(({ file }) => roomOf(file)))).toEqual(new Set(['runtime']));
});
