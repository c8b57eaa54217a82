import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** A Python process that runs one step for each line it is sent. */
export interface Peer {
  readonly version: string;
  /** Milliseconds of one step. */
  step(): Promise<number>;
  close(): void;
}

/** Starts `bench/torch/NAME.py`; undefined where Python (`$PYTHON`, else python3) has no torch and transformers. */
export async function startTorch(name: string, settings: object): Promise<Peer | undefined> {
  const script = fileURLToPath(new URL(`./torch/${name}.py`, import.meta.url));
  const child = spawn(process.env.PYTHON ?? 'python3', [script, JSON.stringify(settings)], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let complaints = '';
  child.stderr.on('data', (text) => {
    complaints += text;
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const failed = once(child, 'error').then(() => ({ done: true as const, value: undefined }));
  const first = await Promise.race([lines.next(), failed]);
  if (first.done) {
    const reason = complaints.trim().split('\n').at(-1) ?? 'it did not start';
    process.stderr.write(`PyTorch is left out: ${reason}\n`);
    return undefined;
  }
  return {
    version: JSON.parse(first.value).version,
    async step() {
      child.stdin.write('\n');
      const { value, done } = await lines.next();
      if (done) throw new Error(`${name}.py ended: ${complaints}`);
      return Number(value);
    },
    close: () => child.stdin.end(),
  };
}
