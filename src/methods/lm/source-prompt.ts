import type { HostTensor } from '../../graph/index.ts';
import { loadAdapter } from '../../hub/index.ts';
import type { Subject } from './method.ts';
import { promptName } from './prompts.ts';

/**
 * The prompt [length, width] that another task's run left in its folder. Throws where there is none, or one of another size.
 */
export async function sourcePrompt(folder: string, { model }: Subject, length: number): Promise<HostTensor> {
  const { tensors } = await loadAdapter(folder);
  const prompt = tensors[promptName];
  const wanted = [length, model.model.width];
  if (String(prompt?.shape) === String(wanted)) return prompt!;
  const there = prompt ? `a prompt of [${prompt.shape}]` : `no ${promptName}`;
  throw new Error(`${folder}: it has ${there}, but a prompt of [${wanted}] is to begin from it`);
}
