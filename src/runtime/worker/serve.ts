import type { MessagePort } from 'node:worker_threads';
import type { TypedArray } from '../../graph/host.ts';
import { type Feeds, type Model, openSession, type Session, type SessionOptions } from '../session.ts';
import { type Gate, pass } from './gate.ts';

/** What a worker can be asked for: a new session's number, the results of a run, the end of a session. */
export type Call =
  | { readonly kind: 'open'; readonly model: Model; readonly options: SessionOptions }
  | { readonly kind: 'run'; readonly session: number; readonly feeds: Feeds }
  | { readonly kind: 'release'; readonly session: number };
/** What a run gives. */
export interface Ran {
  readonly results: Record<string, TypedArray>;
  readonly feeds: Feeds;
}
export type Request = Call & { readonly id: number };
/** What a call gave, or the message of its error. */
export type Reply = { readonly id: number } & ({ readonly value: unknown } | { readonly error: string });

/** Answers requests with sessions of this thread, one by one. The arrays of results are moved, not copied. */
export function serve(port: MessagePort, gate?: Gate): void {
  let last: Promise<unknown> = Promise.resolve();
  const sessions = new Map<number, Session>();
  const answer = async (request: Request): Promise<[value: unknown, moved?: ArrayBuffer[]]> => {
    if (request.kind === 'open') {
      sessions.set(request.id, await openSession(request.model, request.options));
      return [request.id];
    }
    const session = sessions.get(request.session)!;
    if (request.kind === 'release') {
      sessions.delete(request.session);
      return [await session.release()];
    }
    const { feeds } = request;
    const results = await session.run(feeds, {});
    // The feeds go back, to carry those of the next run.
    return [{ results, feeds } satisfies Ran, buffersOf([...Object.values(results), ...arraysOf(feeds)])];
  };
  listen<Request>(port, (request) => {
    const work = () => answer(request);
    last = last
      .then(() => (gate ? pass(gate, work) : work()))
      .then(
        ([value, moved]) => port.postMessage({ id: request.id, value }, moved),
        (error) =>
          port.postMessage({ id: request.id, error: error instanceof Error ? error.message : `${error}` }),
      );
  });
}

/** Receives messages, in the way that Node and browsers share. */
export function listen<T>(port: MessagePort, listener: (message: T) => void): void {
  port.addEventListener('message', (event) => listener((event as Event & { data: T }).data));
  port.start();
}

export const arraysOf = (values: Feeds): TypedArray[] => Object.values(values).map(({ data }) => data);

/** The buffers of arrays that own them, each once: what a message may move. */
export const buffersOf = (arrays: readonly TypedArray[]): ArrayBuffer[] => [
  ...new Set(arrays.map((a) => a.buffer as ArrayBuffer)),
];
