import type { MessagePort } from 'node:worker_threads';
import { close, newGate } from './gate.ts';

/** A worker thread, seen from outside. */
export interface Remote {
  readonly port: MessagePort;
  /** Whether the process must wait for the worker; only in Node can it be told not to. */
  keepAlive(yes: boolean): void;
  /** Ends the thread, after the call under way. */
  stop(): void;
}

interface WebWorker {
  postMessage(message: unknown, transfer: unknown[]): void;
  terminate(): void;
  onerror: ((event: { message?: string }) => void) | null;
}
declare const Worker: undefined | (new (url: URL, options: { type: 'module'; name: string }) => WebWorker);

/** Starts a thread that serves sessions; `ended` is told why, should it end by itself. */
export async function startWorker(ended: (how: string) => void): Promise<Remote> {
  const { port1: port, port2 } = new MessageChannel();
  if (typeof Worker === 'function') {
    // Bundlers know this form.
    const worker = new Worker(new URL('./entry.js', import.meta.url), { type: 'module', name: 'attune' });
    worker.onerror = ({ message }) => ended(`failed: ${message ?? 'its script cannot be loaded'}`);
    worker.postMessage(port2, [port2]);
    return { port, keepAlive() {}, stop: () => worker.terminate() };
  }
  const threads = await import('node:worker_threads');
  const gate = newGate();
  const options = { name: 'attune', workerData: { port: port2, gate }, transferList: [port2] };
  const worker = import.meta.url.endsWith('.ts')
    ? new threads.Worker(fromSource(new URL('./entry.ts', import.meta.url)), { ...options, eval: true })
    : // The flags of the process are about its own script: one such as --input-type is refused beside a file.
      new threads.Worker(new URL('./entry.js', import.meta.url), { ...options, execArgv: [] });
  worker.on('error', (error) => ended(`failed: ${error.message}`));
  const leaving = () => close(gate);
  process.once('exit', leaving);
  worker.on('exit', (code) => {
    process.off('exit', leaving);
    ended(`exited with code ${code}`);
  });
  worker.unref();
  port.unref();
  return {
    port,
    keepAlive: (yes) => (yes ? port.ref() : port.unref()),
    stop() {
      close(gate);
      worker.terminate();
    },
  };
}

/** A script that imports TypeScript, where Attune runs from its source: a thread has none of its parent's loaders. */
const fromSource = (entry: URL): string =>
  `import('${import.meta.resolve('tsx/esm/api')}').then(({ register }) => { register(); return import('${entry}'); })`;
