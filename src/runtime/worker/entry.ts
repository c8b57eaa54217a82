/** What a worker thread begins with, in Node and in browsers: it is handed a port, and serves it. */
import { serve } from './serve.ts';

declare const self: { onmessage?: (event: { data: Parameters<typeof serve>[0] }) => void } | undefined;

if (typeof self === 'undefined') {
  const { workerData } = await import('node:worker_threads');
  serve(workerData.port, workerData.gate);
} else {
  self.onmessage = ({ data }) => serve(data);
}
