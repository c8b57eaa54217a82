import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readCases, runCase } from './testing/cases.ts';

/** Cases of ONNX's own suite that are refused, and why. All others must pass. */
const refused: [cases: RegExp, why: RegExp][] = [
  [/^bernoulli/, /draws random numbers/],
  [/^training_dropout(?!_zero)/, /is in training mode: draw its random numbers outside/],
  [/^bitshift_(left|right)_int/, /shifts signed integers, which is not supported/],
  [/^reduce_max_empty_set_bool/, /an empty axis has no extremum/],
  [/^scan_sum$/, /has the form of opset 8/],
];

test('the node cases of the ONNX project', { timeout: 240_000 }, async () => {
  const cases = readCases(join(import.meta.dirname, 'testdata/node-cases.gz'));
  const counts = { pass: 0, unsupported: 0 };
  const failures: string[] = [];
  const met = new Set<RegExp>();
  for (const c of cases) {
    const outcome = await runCase(c);
    const expected = refused.find(([name]) => name.test(c.name));
    if (expected) met.add(expected[0]);
    if (outcome.kind === 'pass' && !expected) counts.pass++;
    else if (outcome.kind === 'unsupported' && expected?.[1].test(outcome.why)) counts.unsupported++;
    else failures.push(`${c.name} ${outcome.kind}${'why' in outcome ? `: ${outcome.why}` : ''}`);
  }
  console.log(
    `ONNX node cases: ${counts.pass} of ${cases.length} pass, ${counts.unsupported} are refused by name`,
  );
  expect(failures).toEqual([]);
  expect([...met].length).toBe(refused.length);
  expect(counts.pass).toBeGreaterThan(1400);
});

test("com.microsoft's ops, against ONNX Runtime", { timeout: 120_000 }, async () => {
  const cases = readCases(join(import.meta.dirname, 'testdata/contrib-cases.gz'));
  const outcomes: [string, unknown][] = [];
  for (const c of cases) outcomes.push([c.name, await runCase(c)]);
  expect(outcomes.filter(([, o]) => JSON.stringify(o) !== '{"kind":"pass"}')).toEqual([]);
  expect(cases.length).toBeGreaterThan(40);
});
