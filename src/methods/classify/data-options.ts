import { z } from 'zod';

/** Which images a network is trained on from scratch. */
export const dataOptions = z.strictObject({
  data: z
    .string()
    .default('mnist')
    .describe('a built-in set, a folder with one sub-folder a class, a .csv or .jsonl'),
  size: z
    .int()
    .nonnegative()
    .default(0)
    .describe('pixels of a side that images are brought to; 0: as they are'),
});
