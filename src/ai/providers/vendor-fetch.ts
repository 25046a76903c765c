import { InvalidAnswerError } from '../ai.errors.js';

/** Of a whole answer, with all that stands around its text. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
/** Of an error; what is beyond is not read. */
const MAX_ERROR_BYTES = 64 * 1024;

/**
 * `fetch` for one vendor's client. It reads no more than an answer can be, unpacked, and follows no redirect: where that
 * leads nobody has configured, and the sample, and a key that is in no `Authorization`, would go there.
 */
export function vendorFetch(provider: string): typeof fetch {
  return async (input, init) => {
    const response = await fetch(input, { ...init, redirect: 'error' });
    const { body, ok, status, statusText, headers } = response;
    if (body === null) return response;
    const bounded = body.pipeThrough(
      ok
        ? upTo(MAX_ANSWER_BYTES, (controller) =>
            controller.error(new InvalidAnswerError(provider, `longer than ${MAX_ANSWER_BYTES} bytes`)),
          )
        : upTo(MAX_ERROR_BYTES, (controller) => controller.terminate()),
    );
    return new Response(bounded, { status, statusText, headers: unpacked(headers) });
  };
}

type Controller = TransformStreamDefaultController<Uint8Array>;

function upTo(
  maxBytes: number,
  whenMore: (controller: Controller) => void,
): TransformStream<Uint8Array, Uint8Array> {
  let bytes = 0;
  return new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      bytes += chunk.byteLength;
      if (bytes > maxBytes) whenMore(controller);
      else controller.enqueue(chunk);
    },
  });
}

/** Without the length on the wire, which the body no longer has. */
function unpacked(headers: Headers): Headers {
  const copy = new Headers(headers);
  copy.delete('content-length');
  copy.delete('content-encoding');
  return copy;
}
