/**
 * ONNX Runtime's binding aborts the whole process if its thread is ended while it computes (results can no longer be made
 * JavaScript objects). So a process that exits waits here for the call under way, and no other begins.
 */
export type Gate = Int32Array;

const FREE = 0;
const BUSY = 1;
const CLOSED = 2;

export const newGate = (): Gate => new Int32Array(new SharedArrayBuffer(4));

/** In the worker: does `work` unless the gate is closed; then it never settles. */
export async function pass<T>(gate: Gate, work: () => Promise<T>): Promise<T> {
  if (Atomics.compareExchange(gate, 0, FREE, BUSY) === CLOSED) return new Promise(() => {});
  try {
    return await work();
  } finally {
    Atomics.store(gate, 0, FREE);
    Atomics.notify(gate, 0);
  }
}

/** Outside: closes the gate, once the work under way is done. */
export function close(gate: Gate): void {
  while (Atomics.compareExchange(gate, 0, FREE, CLOSED) === BUSY) Atomics.wait(gate, 0, BUSY);
}
