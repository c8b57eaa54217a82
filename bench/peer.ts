import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** A process that runs one side of a benchmark, a command a line. */
export interface Peer {
  /** From the weights' file to a step that is ready to run, in milliseconds. */
  readonly buildMs: number;
  readonly version?: string;
  step(): Promise<{ ms: number; loss: number }>;
  /** Writes what both sides must agree on after the first step. */
  results(): Promise<unknown>;
  /** Forgets the peak of memory so far. */
  reset(): Promise<unknown>;
  /** Peak of resident memory beyond what the process took before the model was loaded. */
  memory(): Promise<{ bytes: number }>;
  close(): Promise<void>;
}

/** Starts Attune's side. */
export async function startAttune(settings: object): Promise<Peer> {
  const peer = await start(process.execPath, [
    '--import',
    'tsx',
    here('attune.ts'),
    JSON.stringify(settings),
  ]);
  if (typeof peer === 'string') throw new Error(peer);
  return peer;
}

/** Starts PyTorch's side; where Python (`$PYTHON`, else python3) lacks something, returns what it said. */
export const startTorch = (settings: object): Promise<Peer | string> =>
  start(process.env.PYTHON ?? 'python3', [here('torch/peer.py'), JSON.stringify(settings)]);

async function start(command: string, args: string[]): Promise<Peer | string> {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  let complaints = '';
  child.stderr.on('data', (text) => {
    complaints += text;
  });
  const ended = once(child, 'close').catch((error) => {
    complaints += error;
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const read = async () => {
    const { value, done } = await Promise.race([lines.next(), ended.then(() => ({ value: '', done: true }))]);
    return done ? undefined : JSON.parse(value);
  };
  const first = await read();
  if (!first) {
    await ended;
    return complaints.trim().split('\n').at(-1) || `${command} did not start`;
  }
  const ask = async (line: string) => {
    child.stdin.write(`${line}\n`);
    const answer = await read();
    if (!answer) throw new Error(`${command} ${args[0]} ended: ${complaints}`);
    return answer;
  };
  return {
    ...first,
    step: () => ask('step'),
    results: () => ask('results'),
    reset: () => ask('reset'),
    memory: () => ask('memory'),
    async close() {
      child.stdin.end();
      await ended;
      process.stderr.write(complaints);
    },
  };
}
