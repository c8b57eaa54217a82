#!/usr/bin/env node
import { text } from 'node:stream/consumers';
import { run } from './cli.ts';

const interrupt = new AbortController();
let first = 0;
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  process.on(signal, () => {
    if (!interrupt.signal.aborted) {
      first = performance.now();
      process.stderr.write('\nattune: stopping after this step (once more: at once)\n');
      interrupt.abort();
    }
    // npm and the terminal may both pass on one Ctrl-C.
    if (performance.now() - first > 500) process.exit(code);
  });
}
// A reader that has seen enough, such as `head`.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});
process.exitCode = await run(process.argv.slice(2), {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  input: () => text(process.stdin),
  tty: process.stderr.isTTY ?? false,
  signal: interrupt.signal,
});
