import { type HostTensor, zeros } from '../../graph/index.ts';
import type { Feeds, Model, Session, SessionOptions } from '../session.ts';
import { arraysOf, buffersOf, type Call, listen, type Ran, type Reply, type Request } from './serve.ts';
import { type Remote, startWorker } from './start.ts';

/** How long a worker without programs is kept: starting one costs 0.1 to 0.3 s. */
const IDLE_MS = 1000;

let shared: Client | undefined;

/**
 * Loads an ONNX model in the worker thread that all programs of the process share; it starts with the first and ends
 * soon after the last. The model's bytes are moved there. Feeds are copied, so the caller's arrays stay whole; results are moved.
 */
export async function openWorkerSession(model: Model, options: SessionOptions): Promise<Session> {
  if (!shared || shared.ended) shared = new Client();
  const client = shared;
  client.programs++;
  const open = client.call<number>({ kind: 'open', model, options }, buffersOf([model.bytes]));
  const session = await open.catch((error) => {
    client.leave();
    throw error;
  });
  /** Copies of the last run's feeds, which have come back. */
  let carriers: Feeds = {};
  return {
    async run(feeds) {
      const copies: Record<string, HostTensor> = {};
      for (const [name, value] of Object.entries(feeds)) {
        const copy = carriers[name] ?? zeros(value.shape, value.dtype);
        (copy.data as Float32Array).set(value.data as Float32Array);
        copies[name] = copy;
      }
      const moved = buffersOf(arraysOf(copies));
      carriers = {};
      const ran = await client.call<Ran>({ kind: 'run', session, feeds: copies }, moved);
      carriers = ran.feeds;
      return ran.results;
    },
    async release() {
      if (!client.ended) await client.call({ kind: 'release', session });
      client.leave();
    },
  };
}

/** The near end of a worker. It keeps the process alive while calls are under way, and only then. */
class Client {
  programs = 0;
  ended: Error | undefined;
  private readonly pending = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  private readonly remote: Promise<Remote>;
  private calls = 0;

  constructor() {
    this.remote = startWorker((how) => this.end(how));
    this.remote.then(
      ({ port, keepAlive }) => {
        listen<Reply>(port, (reply) => this.receive(reply));
        keepAlive(this.pending.size > 0);
      },
      (error) => this.end(`cannot be started: ${error.message}`),
    );
  }

  /** Asks the worker; `moved` buffers are no longer the caller's. */
  async call<T>(call: Call, moved: ArrayBuffer[] = []): Promise<T> {
    const { port, keepAlive } = await this.remote;
    if (this.ended) throw this.ended;
    const id = this.calls++;
    const reply = new Promise((resolve, reject) => this.pending.set(id, { resolve, reject }));
    keepAlive(true);
    const request: Request = { ...call, id };
    port.postMessage(request, moved);
    try {
      return (await reply) as T;
    } finally {
      if (this.pending.size === 0) keepAlive(false);
    }
  }

  /** One program fewer; without any, the worker ends unless another comes soon. */
  leave(): void {
    if (--this.programs > 0) return;
    const timer = setTimeout(async () => {
      if (this.programs > 0 || this.ended) return;
      this.end('ended for want of programs');
      (await this.remote).stop();
    }, IDLE_MS);
    timer.unref?.();
  }

  private receive(reply: Reply): void {
    const call = this.pending.get(reply.id)!;
    this.pending.delete(reply.id);
    if ('error' in reply) call.reject(new Error(reply.error));
    else call.resolve(reply.value);
  }

  private end(how: string): void {
    this.ended ??= new Error(`the worker ${how}; compile the program anew`);
    for (const { reject } of this.pending.values()) reject(this.ended);
    this.pending.clear();
  }
}
