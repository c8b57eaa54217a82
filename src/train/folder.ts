import { mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { readSafetensors, writeAtomic, writeSafetensors } from '../hub/index.ts';
import type { Best } from './loop.ts';
import type { TrainState, Values } from './step.ts';

const FORMAT = 'attune-checkpoint-1';

interface Checkpoint {
  readonly state: TrainState;
  readonly step: number;
  readonly best: Best | undefined;
}

/** The files of a run: `checkpoint.safetensors`, replaced atomically, and `metrics.jsonl`, one object a line. */
export class RunFolder {
  readonly checkpointPath: string;
  private readonly metricsPath: string;

  private constructor(
    dir: string,
    private readonly fingerprint: string,
  ) {
    this.checkpointPath = join(dir, 'checkpoint.safetensors');
    this.metricsPath = join(dir, 'metrics.jsonl');
  }

  static async open(dir: string, fingerprint: string): Promise<RunFolder> {
    await mkdir(dir, { recursive: true });
    return new RunFolder(dir, fingerprint);
  }

  async save({ state, step, best }: Checkpoint): Promise<void> {
    const tensors: Values = {};
    const put = (kind: string, values: Values) => {
      for (const [name, value] of Object.entries(values)) tensors[`${kind}/${name}`] = value;
    };
    put('param', state.params);
    put('optimizer', state.optimizer);
    if (best) put('best', best.params);
    await writeSafetensors(this.checkpointPath, tensors, {
      format: FORMAT,
      fingerprint: this.fingerprint,
      step: String(step),
      ...(best && { best: JSON.stringify({ value: best.value, step: best.step, stale: best.stale }) }),
    });
  }

  async load(): Promise<Checkpoint | undefined> {
    const path = this.checkpointPath;
    const there = await stat(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
    if (!there) return undefined;
    const file = await readSafetensors(path).catch((error: Error) => {
      throw new Error(`The checkpoint cannot be resumed: ${error.message}. Remove it to start again`, {
        cause: error,
      });
    });
    const { format, fingerprint = '', step, best } = file.metadata;
    if (format !== FORMAT) throw new Error(`${path} is not a checkpoint of this program`);
    if (fingerprint !== this.fingerprint) {
      const [stored, own] = whereTheyDiffer(fingerprint, this.fingerprint);
      throw new Error(
        `${path} belongs to a run with other settings: ${stored} there, ${own} here. Resume with the same ` +
          'settings, or choose another folder',
      );
    }
    const values: Record<string, Values> = { param: {}, optimizer: {}, best: {} };
    for (const key of file.names()) {
      const slash = key.indexOf('/');
      values[key.slice(0, slash)]![key.slice(slash + 1)] = await file.get(key)!.load();
    }
    return {
      state: { params: values.param!, optimizer: values.optimizer! },
      step: Number(step),
      best: best === undefined ? undefined : { params: values.best!, ...JSON.parse(best) },
    };
  }

  /** The metric lines up to `step`: those behind the checkpoint will be written again. */
  async keepMetrics(step: number): Promise<string[]> {
    if (step === 0) return [];
    const text = await readFile(this.metricsPath, 'utf8').catch(() => '');
    return text.split('\n').filter((line) => line !== '' && JSON.parse(line).step <= step);
  }

  writeMetrics(lines: readonly string[]): Promise<void> {
    return writeAtomic(this.metricsPath, [`${lines.join('\n')}\n`]);
  }
}

/** The surroundings of the first character in which two texts differ. */
function whereTheyDiffer(...texts: [string, string]): string[] {
  let at = 0;
  while (texts[0][at] === texts[1][at]) at++;
  const from = Math.max(0, at - 30);
  return texts.map(
    (text) => `"${from > 0 ? '…' : ''}${text.slice(from, at + 30)}${text.length > at + 30 ? '…' : ''}"`,
  );
}
