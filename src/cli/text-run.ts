import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { majorityRate, type TextExample, textScores } from '../data/index.ts';
import {
  exportLanguage,
  type LanguageSettings,
  openLanguageRun,
  openTexts,
  readSettings,
  saveFolded,
  TextPredictor,
} from '../methods/index.ts';
import { type Io, percent, table, UsageError } from './io.ts';
import { Progress } from './progress.ts';
import { loadOptions } from './source.ts';

interface Flags {
  readonly run: string;
  readonly model?: string;
  readonly json?: boolean;
  readonly allowUnusedWeights?: boolean;
}

async function openPredictor(flags: Flags, io: Io, progress: Progress) {
  const load = loadOptions(flags, io, progress);
  const run = await openLanguageRun(flags.run, {
    ...load,
    onWarning: (text) => progress.say(`warning: ${text}`),
    ...(flags.model && { model: flags.model }),
  });
  return { ...run, predictor: await TextPredictor.open(run.model, run.adapter) };
}

/** Between the parts of a text on the command line. */
const separator = '|||';

function partsOf(text: string, names: readonly string[]): TextExample['parts'] {
  const parts = names.length > 1 ? text.split(separator) : [text];
  if (parts.length !== names.length) {
    const wanted = names.join(` ${separator} `);
    throw new UsageError(
      `"${text}" has ${parts.length} parts, but the run was trained on ${names.length}: "${wanted}"`,
    );
  }
  return Object.fromEntries(names.map((name, i) => [name, parts[i]!.trim()]));
}

/** `attune predict` of a run on texts. */
export async function predictTexts(
  texts: readonly string[],
  { top, ...flags }: Flags & { readonly top: number },
  io: Io,
): Promise<void> {
  const progress = new Progress(io);
  const { adapter, model, predictor } = await openPredictor(flags, io, progress);
  const { classes, parts } = adapter.task;
  try {
    const examples = texts.map((text) => ({ id: text, parts: partsOf(text, parts) }));
    const predictions = await predictor.predict(examples, { signal: io.signal });
    progress.clear();
    const answers = predictions.map(({ text, probabilities }, i) => ({
      input: texts[i]!,
      text,
      ...(probabilities && {
        predictions: probabilities
          .map((probability, c) => ({ label: classes[c]!, probability }))
          .sort((a, b) => b.probability - a.probability)
          .slice(0, top),
      }),
    }));
    if (flags.json) {
      return io.out(
        `${JSON.stringify({ run: flags.run, model: model.spec, method: adapter.method, texts: answers })}\n`,
      );
    }
    for (const { input, text, predictions: ranked } of answers) {
      const lines = ranked?.map((p) => `${percent(p.probability).padStart(9)}  ${p.label}`) ?? [`  ${text}`];
      io.out(`${input}\n${lines.join('\n')}\n`);
    }
  } finally {
    await predictor.release();
  }
}

/** `attune export` of a run on texts: its model with the adapter, for transformers.js, or for `transformers`. */
export async function exportTexts(
  flags: Flags,
  { out, format }: { readonly out: string | undefined; readonly format: 'onnx' | 'safetensors' },
  io: Io,
): Promise<void> {
  const progress = new Progress(io);
  const load = loadOptions(flags, io, progress);
  const run = await openLanguageRun(flags.run, { ...load, ...(flags.model && { model: flags.model }) });
  progress.clear();
  const dir = out ?? join(flags.run, format === 'onnx' ? 'exported' : 'merged');
  if ((await readdir(dir).catch(() => [])).length)
    throw new UsageError(`${dir} is not empty: choose another --out`);
  const save = format === 'onnx' ? exportLanguage : saveFolded;
  await save(dir, run.model, run.adapter);
  io.out(flags.json ? `${JSON.stringify({ run: flags.run, format, model: dir })}\n` : `${dir}\n`);
}

/** `attune eval` of a run on texts: its own test texts, or those of other data. */
export async function evaluateTexts(
  {
    data,
    split,
    ...flags
  }: Flags & { readonly data?: string; readonly split: 'train' | 'val' | 'test' | 'all' },
  io: Io,
): Promise<void> {
  const progress = new Progress(io);
  const settings = await readSettings<LanguageSettings>(flags.run).catch(() => undefined);
  const spec = data ?? settings?.data;
  if (spec === undefined) throw new UsageError('say on which data: --data SOURCE');
  // Columns are those of the run's own data.
  const splits = await openTexts(data === undefined && settings ? settings : { data: spec }, io.signal);
  for (const warning of splits.warnings) progress.say(`warning: ${warning}`);
  const chosen = split === 'all' ? (['train', 'val', 'test'] as const) : [split];
  const set = { ...splits.test, examples: chosen.flatMap((part) => splits[part].examples) };
  const { adapter, model, predictor } = await openPredictor(flags, io, progress);
  try {
    if (String(set.classes) !== String(adapter.task.classes)) {
      const [there, here] = [adapter.task.classes, set.classes].map((c) => c.join(', ') || 'none');
      throw new UsageError(`${flags.run} was trained on the classes ${there}; those of ${spec} are ${here}`);
    }
    const predictions = await predictor.predict(set.examples, {
      signal: io.signal,
      onProgress: (done, total) => progress.update('texts', done, total),
    });
    progress.clear();
    const scores = textScores(
      set,
      predictions.map((p) => p.text),
    );
    const majority = set.kind === 'classification' ? { majority: majorityRate(set) } : {};
    const result = {
      ...{ run: flags.run, model: model.spec, method: adapter.method, data: spec, split },
      ...{ texts: set.examples.length, scores, ...majority },
    };
    if (flags.json) return io.out(`${JSON.stringify(result)}\n`);
    const rows = Object.entries(scores).map(([name, value]) => [name, percent(value)]);
    const always = Object.entries(majority).map(([name, value]) => [name, percent(value)]);
    io.out(`${table([...rows, ...always, ['texts', String(set.examples.length)]])}\n`);
  } finally {
    await predictor.release();
  }
}
