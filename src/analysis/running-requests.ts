import type { FastifyReply } from 'fastify';

/** Requests whose answers are not out yet. */
export class RunningRequests {
  private readonly controllers = new Set<AbortController>();

  /** Aborted when the client goes away before its answer is out, or by `abort`. */
  signalOf({ raw }: FastifyReply): AbortSignal {
    const controller = new AbortController();
    this.controllers.add(controller);
    raw.once('close', () => {
      this.controllers.delete(controller);
      if (!raw.writableFinished) controller.abort();
    });
    return controller.signal;
  }

  abort(reason: Error): void {
    for (const controller of this.controllers) controller.abort(reason);
  }
}
