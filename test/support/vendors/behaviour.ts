/** When the parts of an answer are sent. */
export interface Pace {
  /** Into how many pieces the text is cut. Default 4. */
  readonly chunks?: number;
  /** Before the first byte, the status included. */
  readonly delayMs?: number;
  /** Between two pieces of text. */
  readonly gapMs?: number;
  /** After so many pieces nothing is sent until the promise resolves. */
  readonly gate?: { readonly afterChunks: number; readonly opens: Promise<unknown> };
}

interface Faulty {
  /** Pieces of text, of four, that are sent before. Default 1. */
  readonly afterChunks?: number;
  /** The fault waits for it: so long the client can read what was sent before. */
  readonly gate?: Promise<unknown>;
}

/**
 * What the vendor does with one request. Where a text may be given and is not, it is the vendor's own answer. A
 * request that asked for no stream gets the same as JSON, as far as there is such a thing.
 */
export type Behaviour =
  | ({ readonly kind: 'answer'; readonly text?: string } & Pace)
  | {
      readonly kind: 'status';
      readonly status: number;
      /** Seconds, or a date. */
      readonly retryAfter?: number | Date;
      readonly headers?: Readonly<Record<string, string>>;
      /** Instead of the vendor's own shape of an error; a string as it is, all else as JSON. */
      readonly body?: unknown;
    }
  /** `filter`: not the model declines, what stands behind it cuts the answer off. */
  | { readonly kind: 'refusal'; readonly text?: string; readonly by?: 'model' | 'filter' }
  /** The limit of tokens is reached; by default after half of the answer. */
  | { readonly kind: 'length'; readonly text?: string }
  /** The connection breaks. */
  | ({ readonly kind: 'truncate' } & Faulty)
  /** HTTP ends as it should, the answer does not. */
  | ({ readonly kind: 'cleanEnd' } & Faulty)
  /** An error of this status is told by an event; where no stream was asked for, by the status. Default 500. */
  | ({ readonly kind: 'errorInStream'; readonly status?: number } & Faulty)
  | { readonly kind: 'invalidJson' }
  | { readonly kind: 'wrongSchema' }
  /** 200, and a page. */
  | { readonly kind: 'html' }
  /** Complete, but JSON, whatever was asked for. */
  | { readonly kind: 'jsonToStream' }
  /** A complete answer, so many bytes at once. */
  | { readonly kind: 'slowBytes'; readonly bytes: number; readonly gapMs: number }
  /** Silence until the connection is closed; without `afterChunks` not even a status, with 0 no more than that. */
  | { readonly kind: 'hang'; readonly afterChunks?: number }
  /** The connection is reset as soon as the request is read; not a byte is answered. */
  | { readonly kind: 'resetOnConnect' }
  /** Text of so many bytes that is no JSON; without `bytes` it never ends. */
  | { readonly kind: 'hugeAnswer'; readonly bytes?: number };
