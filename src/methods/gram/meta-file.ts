import { createHash } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { didYouMean } from '../../graph/nearest.ts';
import { type ClipModel, readSafetensors, writeSafetensors } from '../../hub/index.ts';
import type { Values } from '../../train/index.ts';
import { weightsDigest } from '../weights-digest.ts';
import type { HostName } from './hosts.ts';
import type { RegulatorForm } from './regulator.ts';

/** What meta-training leaves: an initialisation of a host's prompts, and a regulator of their gradients. */
export interface Meta {
  readonly on: HostName;
  readonly regulator: RegulatorForm;
  /** θ*, by the host's names. */
  readonly theta: Values;
  /** φ*, by the names that `regulator` gives them. */
  readonly phi: Values;
  /** Names of the concepts that were its classes: what evaluation must be compared with. */
  readonly concepts: readonly string[];
}

const format = 'attune-gram-1';

/** The file that comes with a model. */
export const standardFile = (model: ClipModel, on: HostName): string =>
  join(model.folder, 'gram', `${on}.safetensors`);

export async function writeMeta(file: string, model: ClipModel, meta: Meta): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const named = (kind: string, values: Values) =>
    Object.entries(values).map(([name, value]) => [`${kind}/${name}`, value] as const);
  const { on, regulator, concepts } = meta;
  await writeSafetensors(
    file,
    Object.fromEntries([...named('theta', meta.theta), ...named('phi', meta.phi)]),
    { format, on, regulator, concepts: JSON.stringify(concepts), base: await weightsDigest(model) },
  );
}

/**
 * The meta file at `path`, or (`''`) the one that comes with the model.
 * @throws where it is missing, or belongs to another host or base model.
 */
export async function readMeta(path: string, model: ClipModel, on: HostName): Promise<Meta> {
  const file = path || standardFile(model, on);
  const how = `npx attune meta-train --model ${model.spec} --on ${on}`;
  const source = await readSafetensors(file).catch((error: Error) => {
    throw new Error(
      path
        ? `--meta ${path}: ${error.message}`
        : `${model.spec} comes without meta-learned prompts for ${on}: make them with "${how}" and pass --meta FILE`,
      { cause: error },
    );
  });
  const { format: found, on: host, regulator, concepts = '[]', base } = source.metadata;
  if (found !== format) throw new Error(`${file} was not written by attune meta-train`);
  if (host !== on) throw new Error(`${file} holds prompts for ${host}, not for ${on}: pass --on ${host}`);
  if (base !== (await weightsDigest(model))) {
    throw new Error(`${file} was made for other weights than those of ${model.spec}: make one with "${how}"`);
  }
  const values: Record<string, Values> = { theta: {}, phi: {} };
  for (const name of source.names()) {
    const slash = name.indexOf('/');
    const kind = values[name.slice(0, slash)];
    if (!kind) throw new Error(`${file}: unknown tensor "${name}"${didYouMean(name, ['theta/', 'phi/'])}`);
    kind[name.slice(slash + 1)] = await source.get(name)!.load();
  }
  return {
    on,
    regulator: regulator as RegulatorForm,
    theta: values.theta!,
    phi: values.phi!,
    concepts: JSON.parse(concepts),
  };
}

/** SHA-256 of a meta file; '' where there is none. */
export const metaDigest = (path: string, model: ClipModel, on: HostName): Promise<string> =>
  readFile(path || standardFile(model, on)).then(
    (bytes) => createHash('sha256').update(bytes).digest('hex'),
    () => '',
  );
