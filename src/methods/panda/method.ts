import { z } from 'zod';
import type { Tensor } from '../../graph/index.ts';
import { mse, type Tree } from '../../nn/index.ts';
import { attach } from '../lm/adapter.ts';
import { defineLanguageMethod } from '../lm/method.ts';
import { tuningOptions } from '../lm/options.ts';
import { loadLanguageAdapter } from '../lm/saved.ts';
import { scoreOf } from '../lm/score.ts';
import { plainPrefix } from '../lm-baselines/prefix-tuning.ts';

/** A prefix from scratch, taught by a model with another task's prefix that was already adapted to this task. */
export const panda = defineLanguageMethod({
  name: 'panda',
  summary: 'trains a prefix from scratch beside a frozen teacher that carries another task’s prefix',
  paper: 'Zhong et al., IEEE TKDE 2024, arXiv 2208.10160',
  options: z.strictObject({
    length: z.int().positive().default(20).describe('positions of the prefix'),
    teacher: z
      .string()
      .default('')
      .describe(
        'run folder of the teacher: prefix-tuning on this task from another task’s prefix (--source). Without one it is prefix tuning',
      ),
    beta: z
      .number()
      .nonnegative()
      .default(0.1)
      .describe('β, how much the teacher counts; the paper ties it to the predicted transferability'),
    distillation: z
      .enum(['code', 'mean'])
      .default('code')
      .describe(
        'mean squared error of the logits, once more divided by the batch as in the released code, or not',
      ),
    ...tuningOptions({ rate: 7e-3 }),
  }),
  inject: (subject, o) => ({ prefix: plainPrefix(subject, o.length) }),
  async objective({ model, task }, o) {
    const teacher = o.teacher
      ? await attach(model, await loadLanguageAdapter(o.teacher, model, { task }))
      : undefined;
    return (s, { loss, logits, batch }): { loss: Tensor } & Tree => {
      if (!teacher) return { loss };
      const taught = scoreOf(teacher.adapt(s), teacher, model.heads, task, batch).logits;
      const distilled = distillation(logits, taught, o);
      return { loss: loss.add(distilled), distillation: distilled };
    };
  },
});

/** 0.1 · β · MSE(z_S, z_T), in the released code divided by the batch once more. */
export function distillation(
  student: Tensor,
  teacher: Tensor,
  { beta, distillation: mode }: { beta: number; distillation: 'code' | 'mean' },
): Tensor {
  const error = mse(student, teacher);
  return error.mul((0.1 * beta) / (mode === 'code' ? student.dim(0) : 1));
}
