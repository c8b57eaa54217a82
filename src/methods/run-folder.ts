import { mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type JsonObject, readJson, writeAtomic } from '../hub/index.ts';
import type { TrainEvent } from '../train/index.ts';
import { version } from './version.ts';

/** What decides the result of a run; options are compared one by one. */
export type Settings = { readonly options: JsonObject };

/** Runs of the same settings, one for each seed. */
export interface Runs<S extends { readonly seed: number }> {
  readonly settings: Omit<S, 'seed'>;
  readonly seeds: readonly number[];
  /** The run folder (of several seeds: their parent). Default: a folder in `runs` that is named by the settings. */
  readonly out?: string | undefined;
  /** Continue a run of the same settings, or report it where it is finished. */
  readonly resume?: boolean;
  readonly signal?: AbortSignal;
}

/** What happens in runs of any kind. */
export type RunProgress =
  | { readonly type: 'stage'; readonly text: string }
  | { readonly type: 'progress'; readonly text: string; readonly done: number; readonly total: number }
  | { readonly type: 'warning'; readonly text: string }
  /** A run begins or goes on in `dir`. */
  | { readonly type: 'run'; readonly dir: string; readonly seed: number }
  | { readonly type: 'train'; readonly event: TrainEvent };

const runFile = 'run.json';
const resultFile = 'result.json';
const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

export const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

/** The settings of the run in `dir`. Throws where there is none. */
export async function readSettings<S extends Settings>(dir: string): Promise<S> {
  const stored = await readJson(join(dir, runFile));
  if (!stored) throw new Error(`${dir}: no run to resume here, ${runFile} is missing`);
  const { attune: _version, ...settings } = stored;
  return settings as unknown as S;
}

/** What a finished run wrote last, with the folder it lies in. */
export async function finishedRun<R>(dir: string): Promise<R | undefined> {
  const result = await readJson(join(dir, resultFile));
  return result && ({ ...result, runDir: dir } as R);
}

/** Makes a run a finished one. */
export const writeResult = (dir: string, result: unknown): Promise<void> =>
  writeAtomic(join(dir, resultFile), [json(result)]);

const numbered = (name: string, n: number): string => join('runs', name) + (n === 1 ? '' : `-${n}`);

/**
 * The folder of a run to go on with: `out`, else one of `runs/NAME`, `runs/NAME-2`, …; undefined where a new one is to be made.
 * Throws where `out` holds something else, or a run is there that nobody wants to resume.
 */
export async function findRun(
  s: Settings,
  name: string,
  out: string | undefined,
  resume: boolean,
): Promise<string | undefined> {
  if (out !== undefined) {
    const files = await readdir(out).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [] as string[];
      throw new Error(`${out}: cannot be the run folder (${error.message})`);
    });
    if (files.length === 0) return undefined;
    if (!files.includes(runFile))
      throw new Error(`${out} is not empty and holds no run; choose another --out`);
    const other = difference(await readSettings(out), s);
    if (other) throw new Error(`${out} holds a run of other settings (${other})`);
    if (resume) return out;
    throw new Error(`${out} already holds this run: continue it with --resume, or choose another --out`);
  }
  if (!resume) return undefined;
  const found: string[] = [];
  for (let n = 1; await exists(numbered(name, n)); n++) {
    const stored = await readSettings(numbered(name, n)).catch(() => undefined);
    if (stored && !difference(stored, s)) found.push(numbered(name, n));
  }
  for (const dir of found) if (!(await finishedRun(dir))) return dir;
  return found[0];
}

/** Makes the folder of a run: `out`, else the first free one of `runs/NAME`, `runs/NAME-2`, … */
export async function createRun(s: Settings, name: string, out: string | undefined): Promise<string> {
  let dir = out ?? numbered(name, 1);
  if (out !== undefined) await mkdir(out, { recursive: true });
  else {
    await mkdir('runs', { recursive: true });
    // Making the folder is what reserves its name.
    for (let n = 1; ; n++) {
      dir = numbered(name, n);
      const taken = await mkdir(dir).then(
        () => false,
        (error: NodeJS.ErrnoException) => {
          if (error.code === 'EEXIST') return true;
          throw error;
        },
      );
      if (!taken) break;
    }
  }
  await writeAtomic(join(dir, runFile), [json({ attune: version, ...s })]);
  return dir;
}

/** The first setting that differs, in words. */
function difference(there: Settings, here: Settings): string | undefined {
  const flat = ({ options, ...rest }: Settings): Record<string, unknown> => ({ ...rest, ...options });
  const [a, b] = [flat(there), flat(here)];
  const text = (value: unknown) => JSON.stringify(value) ?? 'not set';
  const key = [...new Set([...Object.keys(a), ...Object.keys(b)])].find((k) => text(a[k]) !== text(b[k]));
  return key && `${key}: ${text(a[key])} there, ${text(b[key])} here`;
}
