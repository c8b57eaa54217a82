import { beforeAll, describe, expect, test } from 'vitest';
import { constant, f32, type HostTensor, input } from '../../graph/index.ts';
import type { ClipModel } from '../../hub/index.ts';
import { visionTower } from '../../models/clip/index.ts';
import { trace } from '../../nn/index.ts';
import { runOnce } from '../../runtime/index.ts';
import { classNames, pictures, tinyClip } from '../testing/tiny-clip.ts';
import { probabilities, score, scoreFeatures, textClassifier } from './classify.ts';
import { evaluate, ontoClasses, predict } from './evaluate.ts';
import { ImageFeatures } from './features.ts';
import { Batches, rowsOf } from './loop.ts';
import { layoutPrompts, templateFeatures, wordEmbeddings } from './prompts.ts';
import type { Classifier } from './task.ts';

let model: ClipModel;
let text: HostTensor<'float32'>;
beforeAll(async () => {
  model = await tinyClip();
  text = await templateFeatures(model, classNames, ['a {} icon']);
});
const data = pictures(3);

describe('image features', () => {
  test('are those of the vision tower, whatever the batch, and each image is read once', async () => {
    const pixels = model.images.batch(await Promise.all(data.examples.map((e) => e.image())));
    const { result } = trace(model.weights, (s) =>
      visionTower(s, input('pixels', pixels.shape), model.config),
    );
    const { features: want } = await runOnce({ features: result.features }, { pixels });
    const reads = new Map<string, number>();
    const counted = {
      ...data,
      examples: data.examples.map((e) => ({
        ...e,
        image: () => {
          reads.set(e.id, (reads.get(e.id) ?? 0) + 1);
          return e.image();
        },
      })),
    };
    const progress: number[] = [];
    const features = new ImageFeatures(model, { batch: 4, onProgress: (done) => progress.push(done) });
    const some = { ...counted, examples: counted.examples.slice(5, 7) };
    expect((await features.of(some)).data).toEqual((want.data as Float32Array).slice(50, 70));
    expect(await features.of(counted)).toEqual(want);
    await features.release();
    expect(await features.of(counted)).toEqual(want);
    expect(progress).toEqual([2, 4, 8, 12, 13]);
    expect([...reads.values()]).toEqual(new Array(15).fill(1));
    // The same id in another data set is another image.
    const others = pictures(1, ['cat'], 'others');
    expect((await features.of(others)).data).not.toEqual((want.data as Float32Array).slice(0, 10));
    await features.release();
  });

  test('stop when they are told to; no images have no features', async () => {
    const stop = new AbortController();
    const options = { batch: 4, signal: stop.signal, onProgress: () => stop.abort() };
    await expect(new ImageFeatures(model, options).of(data)).rejects.toThrow('aborted');
    expect((await new ImageFeatures(model).of({ ...data, examples: [] })).shape).toEqual([0, 10]);
  });
});

describe('classification', () => {
  test('predict, evaluate and the exported graph agree', async () => {
    const features = new ImageFeatures(model);
    const classifier = textClassifier(model, text);
    const logits = await scoreFeatures(model, classifier, await features.of(data));
    const rows = await predict(
      model,
      classifier,
      data.examples.map((e) => e.image),
      { batch: 4 },
    );
    expect(rows).toHaveLength(15);
    for (const [i, row] of rows.entries()) {
      const own = logits.data.subarray(i * 5, i * 5 + 5);
      const top = Math.max(...own);
      const total = own.reduce((sum, v) => sum + Math.exp(v - top), 0);
      own.forEach((v, c) => {
        expect(row[c]).toBeCloseTo(Math.exp(v - top) / total, 5);
      });
    }
    const labels = data.examples.map((e) => e.label);
    const found = await evaluate(model, classifier, data, features);
    expect(found).toEqual(score(logits, labels));
    const hits = rows.filter((row, i) => row.indexOf(Math.max(...row)) === labels[i]).length;
    expect(found.accuracy).toBe(hits / 15);
    await features.release();
  });

  test("a method's own vision tower takes the place of the frozen features", async () => {
    const constantFeatures: Classifier = {
      imageFeatures: (s, pixels) =>
        pixels
          .mean([1, 2, 3])
          .reshape([-1, 1])
          .mul(s.weight('vision_model.embeddings.class_embedding', [16]).slice(0, 0, 10)),
      // Logits that prefer the second class.
      head: (_s, x) =>
        x
          .slice(1, 0, 5)
          .mul(0)
          .add(constant(f32([0, 1, 0, 0, 0]))),
    };
    const features = new ImageFeatures(model);
    const { accuracy } = await evaluate(model, constantFeatures, data, features);
    expect(accuracy).toBe(1 / 5);
    const pixels = input('pixels', [2, 3, 16, 16]);
    const { result, weights } = trace(model.weights, (s) =>
      probabilities(model, constantFeatures, s, pixels),
    );
    expect([...weights]).toEqual(['vision_model.embeddings.class_embedding']);
    expect(result.shape).toEqual([2, 5]);
  });
  test('score: all classes, none left out, nothing to score, and no numbers', () => {
    const logits = f32([2, 1, 0, 0, 3, 1, 5, 4, 3], [3, 3]);
    expect(score(logits, [0, 1, 1])).toEqual({
      accuracy: 2 / 3,
      images: 3,
      perClass: [1, 0.5, Number.NaN],
    });
    expect(() => score(f32([], [0, 3]), [])).toThrow('no images to evaluate on');
    expect(() => score(f32([1, Number.NaN], [1, 2]), [0])).toThrow('logits of image 0 are not finite');
  });

  test('data of other class orders is put onto the classes of a run', () => {
    const moved = ontoClasses(pictures(1, ['light bulb', 'cat']), classNames);
    expect(moved.classes).toEqual(classNames);
    expect(moved.examples.map((e) => [e.id, e.label])).toEqual([
      ['light bulb/0', 1],
      ['cat/0', 0],
    ]);
  });
});

describe('prompts', () => {
  test('that do not fit the context are refused, with the class', async () => {
    const long = 'a very long name of a class that nobody would ever give to anything';
    expect(() => layoutPrompts(model, ['cat', long], 16)).toThrow(
      /16 soft tokens and the class "a very long.*" make \d+ tokens; the model has room for 32/,
    );
    await expect(templateFeatures(model, ['cat', long], ['a photo of a {}.'])).rejects.toThrow(
      /^"a photo of a a very long.*" is \d+ tokens; the model has room for 32/,
    );
  });

  test('word embeddings are rows of the table, without start and end', async () => {
    const ids = model.tokenizer.encode('a photo').slice(1, -1);
    const table = await model.weights.get('text_model.embeddings.token_embedding.weight')!.load();
    const rows = ids.flatMap((id) => [...(table.data as Float32Array).subarray(id * 12, id * 12 + 12)]);
    expect(await wordEmbeddings(model, 'a photo')).toEqual(f32(rows, [ids.length, 12]));
  });
});

test('batches draw one of the views for each image, by the step alone', async () => {
  const views = [0, 100].map((v) => f32([v, v + 1, v + 2], [3, 1]));
  const options = { batch: 3, seed: 1, views: 2 };
  const batches = () => new Batches([7, 8, 9], { features: rowsOf(views) }, options);
  const at = (step: number, from = batches()) =>
    from.at({ step, epoch: step, stepsPerEpoch: 1, totalSteps: 20 });
  const drawn = new Set<number>();
  const walk = batches();
  for (let step = 0; step < 20; step++) {
    const { features, labels } = await at(step, walk);
    expect(await at(step)).toEqual({ features, labels });
    const values = Array.from(features!.data, Number);
    expect(values.map((v) => (v % 100) + 7)).toEqual(Array.from(labels!.data, Number));
    for (const v of values) drawn.add(v);
  }
  expect(drawn.size).toBe(6);
  expect(() => new Batches([], {}, options)).toThrow('There are no training images');
});
