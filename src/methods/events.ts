/** Progress that work reports through callbacks, as events of a generator. */
export class EventQueue<E> {
  private readonly queue: E[] = [];
  private wake: () => void = () => {};

  readonly push = (event: E): void => {
    this.queue.push(event);
    this.wake();
  };

  /** Yields what is pushed until `work` is done, and returns its result. */
  async *during<T>(work: Promise<T>): AsyncGenerator<E, T> {
    let done = false;
    const end = () => {
      done = true;
      this.wake();
    };
    work.then(end, end);
    while (true) {
      while (this.queue.length) yield this.queue.shift()!;
      if (done) return work;
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }
}

/** The run was stopped by its signal; what it had is kept. */
export class InterruptedError extends Error {}
