import type { Frame } from './frame.js';
import type { TokenUsage } from './token-usage.js';

/** How an answer ends. */
export type Ending = 'stop' | 'length' | 'refused' | 'filtered';

export interface Answer {
  readonly text: string;
  readonly ending: Ending;
  readonly usage: TokenUsage;
}

/** What ids and times in an answer are made of. */
export interface Stamp {
  /** 0-based number of the request. */
  readonly index: number;
  /** Seconds since 1970. */
  readonly created: number;
}

/** How a vendor's API is spoken, for one request. */
export interface Wire {
  readonly streamed: boolean;
  /** The last text of the user. */
  readonly prompt: string;
  /** All text that is read, so that of the system too. */
  readonly input: string;
  /** What is sent before the text. */
  opening(answer: Answer): readonly Frame[];
  delta(answer: Answer, text: string): Frame;
  /** What is sent after the text. */
  closing(answer: Answer): readonly Frame[];
  /** The answer where no stream was asked for. */
  whole(answer: Answer): unknown;
  /** An error that is told within a stream. */
  failure(status: number, message: string): Frame;
}
