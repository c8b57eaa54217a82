/** From captioned images to a tuned classifier. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, expect, test } from 'vitest';
import { readSafetensors, writeSafetensors } from '../../hub/index.ts';
import { Random } from '../../runtime/index.ts';
import { pictures, resultOf, tinyClip, tinyTask } from '../testing/tiny-clip.ts';
import { scoreFeatures } from '../vlm/classify.ts';
import { hostNames, shapeOf } from './hosts.ts';
import { metaDigest, readMeta } from './meta-file.ts';
import { metaOptions, metaTrain } from './meta-train.ts';
import { gram } from './method.ts';
import { nameClusters } from './names.ts';
import { openPairs } from './pairs.ts';
import { inStyle, styles } from './styles.ts';

const dir = await mkdtemp(join(tmpdir(), 'attune-gram-'));
afterAll(() => rm(dir, { recursive: true }));

const words = ['cat', 'dog', 'oak tree', 'light bulb', 'photo frame', 'car'];
await mkdir(join(dir, 'pairs'));
const lines = await Promise.all(
  words.flatMap((word, w) =>
    Array.from({ length: 14 }, async (_, i) => {
      const random = new Random('gram test', w, i);
      const base = [40 * w, i % 2 ? 200 : 20, 120];
      const data = Uint8Array.from({ length: 3 * 256 }, (_v, at) => base[at % 3]! + random.int(40));
      const image = `${w}-${i}.png`;
      await sharp(data, { raw: { width: 16, height: 16, channels: 3 } }).toFile(join(dir, 'pairs', image));
      return JSON.stringify(
        i % 3 ? { image, caption: `a photo of a ${word}.` } : { file_name: image, text: `the ${word}` },
      );
    }),
  ),
);
await writeFile(join(dir, 'pairs', 'metadata.jsonl'), lines.join('\n'));

const model = await tinyClip();
const given = {
  pairs: join(dir, 'pairs'),
  topics: 1,
  concepts: 6,
  domains: 2,
  ways: 2,
  shots: 1,
  queries: 2,
  tasks: 2,
  steps: 6,
  innerRate: 0.5,
};
const trained = async (out: string, more: object = {}, signal?: AbortSignal) => {
  const options = metaOptions.parse({ ...given, ...more });
  return resultOf(
    metaTrain({ model, options, dir: join(dir, out), resume: true, ...(signal && { signal }) }),
  );
};

test.each(hostNames)('%s: meta-trained from a folder, tuned, saved, restored', async (on) => {
  const { file, concepts } = (await trained(on, { on, depth: 2 }))!;
  for (const name of concepts) expect(words.join(' ')).toContain(name);
  const meta = await readMeta(file, model, on);
  expect(meta.concepts).toEqual(concepts);
  // The tiny model has two layers of text and one of vision.
  const shape = { coop: [4, 0], vpt: [2, 1], ivlp: [2, 2], maple: [2, 1] }[on];
  expect(Object.values(shapeOf(meta.theta))).toEqual(shape);
  // Meta-training moved both.
  expect(Object.keys(meta.phi).filter((name) => name.endsWith('out.weight')).length).toBe(
    Object.keys(meta.theta).length,
  );
  expect(
    Object.entries(meta.phi).some(
      ([n, v]) => n.endsWith('out.weight') && v.data.some((x) => Number(x) !== 0),
    ),
  ).toBe(true);

  const options = gram.options.parse({ on, meta: file, epochs: 2, batch: 10, learningRate: 0.1 });
  const task = tinyTask(model);
  const { adapter } = await resultOf(gram.fit(task, options));
  expect(Object.keys(adapter.tensors).sort()).toEqual(Object.keys(meta.theta).sort());
  const restored = gram.restore({ options: gram.options.parse({ on }), tensors: adapter.tensors });
  const logits = await Promise.all(
    [adapter, restored].map(async (a) => {
      const classifier = await a.classifier(model, ['cat', 'other'], task.template);
      return (await scoreFeatures(model, classifier, await task.features.of(task.train))).data;
    }),
  );
  expect(logits[0]).toEqual(logits[1]);

  const without = await resultOf(gram.fit(task, { ...options, regulate: false }));
  const first = Object.keys(meta.theta)[0]!;
  expect(without.adapter.tensors[first]!.data).not.toEqual(adapter.tensors[first]!.data);
});

test('an interrupted meta-training goes on to the same bits', async () => {
  const whole = (await trained('whole'))!;
  const stop = new AbortController();
  const options = metaOptions.parse(given);
  const events = metaTrain({ model, options, dir: join(dir, 'parts'), signal: stop.signal });
  for (let next = await events.next(); !next.done; next = await events.next()) {
    if (next.value.type === 'step' && next.value.step === 3) stop.abort();
  }
  const resumed = (await trained('parts'))!;
  expect((await readFile(resumed.file)).equals(await readFile(whole.file))).toBe(true);
  await expect(trained('parts', { innerRate: 0.4 })).rejects.toThrow('innerRate');
});

test('without learnInit the prompts stay as the host begins', async () => {
  const { file } = (await trained('phi alone', { learnInit: false }))!;
  const { theta, phi } = await readMeta(file, model, 'coop');
  const fixed = (await trained('one step', { learnInit: false, steps: 1, regulator: 'none' }))!;
  expect((await readMeta(fixed.file, model, 'coop')).theta.context!.data).toEqual(theta.context!.data);
  expect(phi['context.out.weight']!.data.some((v) => Number(v) !== 0)).toBe(true);
});

test('a wrong meta file is refused with the way out, and is part of what names a run', async () => {
  const { file } = (await trained('coop', { on: 'coop', depth: 2 }))!;
  await expect(readMeta(file, model, 'maple')).rejects.toThrow('pass --on coop');
  const moved = join(dir, 'moved.safetensors');
  const { metadata } = await readSafetensors(file);
  await writeSafetensors(moved, {}, { ...metadata, base: 'other' });
  await expect(readMeta(moved, model, 'coop')).rejects.toThrow('other weights');
  await expect(readMeta('', model, 'coop')).rejects.toThrow('npx attune meta-train --model tiny --on coop');
  const other = (await trained('other', { seed: 2 }))!;
  const [a, b] = [await metaDigest(file, model, 'coop'), await metaDigest(other.file, model, 'coop')];
  expect(a).not.toBe(b);
  expect((await readSafetensors(file)).names().filter((n) => n.startsWith('theta/'))).toEqual([
    'theta/context',
  ]);
});

test('pairs: errors name file, line and key', async () => {
  const file = join(dir, 'bad.jsonl');
  await writeFile(file, '{"image": "a.png", "caption": "x"}\n{"image": "b.png"}\n');
  await expect(openPairs(file)).rejects.toThrow('bad.jsonl, line 2 has no "caption" or "text"');
  await writeFile(file, 'nothing');
  await expect(openPairs(file)).rejects.toThrow('line 1 is not JSON');
  await expect(openPairs(join(dir, 'none'))).rejects.toThrow('metadata.jsonl');
  await expect(trained('few', { ways: 7 })).rejects.toThrow('no topic has 7 concepts');
});

test('names are phrases where a phrase is as typical as its word, and no words of all captions', () => {
  const captions = (name: string) => [`a photo of a ${name}.`, `an icon of ${name}`, `small icon: ${name}`];
  const names = ['light bulb', 'light', 'traffic light', 'cat', 'dog', 'car', 'oak tree'];
  expect(nameClusters(names.map(captions), names)).toEqual(names);
  expect(nameClusters([['the 7'], ['of a', 'the']], ['the 7', 'of a'])).toEqual(['the 7', 'of a']);
});

test('styles: tiny shows the drawing at half its size on white, noise is drawn', async () => {
  const { examples } = pictures(1, ['cat']);
  const image = await examples[0]!.image();
  expect(styles).toContain('plain');
  expect(inStyle(image, 'plain', new Random(1))).toEqual(image);
  const tiny = inStyle(image, 'tiny', new Random(1)).data;
  expect([tiny[0], tiny.at(-1)]).toEqual([255, 255]);
  expect(tiny[(4 * 16 + 4) * 3]).toBe(image.data[0]);
  expect(inStyle(image, 'noisy', new Random(1)).data).not.toEqual(
    inStyle(image, 'noisy', new Random(2)).data,
  );
});
