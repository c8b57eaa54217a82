import { type HostTensor, type Shape, toFloat32 } from '../../graph/index.ts';
import { loadAdapter } from '../../hub/index.ts';
import type { Initializer } from '../../nn/index.ts';
import { promptName } from './prompts.ts';

/** The prompt or prefix of that shape which another task's run left in its folder. Throws where there is none, or one of another size. */
export async function sourcePrompt(folder: string, shape: Shape): Promise<HostTensor> {
  const { tensors } = await loadAdapter(folder);
  const prompt = tensors[promptName];
  if (String(prompt?.shape) === String(shape)) return prompt!;
  const there = prompt ? `one of [${prompt.shape}]` : `no ${promptName}`;
  throw new Error(`${folder}: a prompt of [${shape}] is to begin from it, but it has ${there}`);
}

/** Begins as that prompt. The folder is read when training begins: what was trained from it is opened without it. */
export const sourceInit =
  (folder: string): Initializer =>
  async (shape) =>
    toFloat32(await sourcePrompt(folder, shape)).data.slice();
