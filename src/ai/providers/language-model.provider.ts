import type {
  LanguageModelV4,
  LanguageModelV4StreamPart,
  LanguageModelV4Usage,
  SharedV4ProviderOptions,
} from '@ai-sdk/provider';
import {
  AnswerRefusedError,
  AnswerTruncatedError,
  InvalidAnswerError,
  ProviderFailedError,
} from '../ai.errors.js';
import type { AnalysisType, ProviderName } from '../analysis.js';
import { promptFor } from '../prompts.js';
import type {
  AiProvider,
  ProviderAnswer,
  ProviderContext,
  ProviderHealth,
  ProviderRequest,
  ProviderUsage,
} from './ai-provider.js';
import { answerJsonSchema, resultOf } from './model-answer.js';
import { printable, vendorError } from './vendor-errors.js';

/** US dollars for a million tokens. */
export interface TokenPrice {
  readonly input: number;
  readonly output: number;
  /** Of input that the vendor had in its own prompt cache. Default: as other input. */
  readonly cachedInput?: number | undefined;
}

/** What every vendor's file takes. */
export interface VendorOptions {
  /** Never shown. */
  readonly apiKey?: string | undefined;
  readonly model?: string | undefined;
  /** Default: the vendor's own. */
  readonly baseUrl?: string | undefined;
  readonly price?: TokenPrice | undefined;
  /** Default: as much as the model can. */
  readonly maxOutputTokens?: number | undefined;
}

export interface LanguageModelOptions extends Pick<VendorOptions, 'price' | 'maxOutputTokens'> {
  readonly name: ProviderName;
  readonly model: LanguageModelV4;
  /** Not to appear in any error, whatever the vendor echoes. */
  readonly secret?: string | undefined;
  /** Options of the SDK for this vendor alone. */
  readonly vendorOptions?: SharedV4ProviderOptions;
}

/** Longer answers are cut off and are no answers. */
const MAX_ANSWER_CHARS = 4 * 1024 * 1024;
/** More than this is not believed of one call. */
const MAX_TOKENS = 1_000_000_000;

/**
 * An analysis by a language model, through the model port of the AI SDK (ADR 9). The answer is always streamed: who wants
 * the pieces gets them, and a connection that broke off can be told from an answer that is complete.
 */
export class LanguageModelProvider implements AiProvider {
  readonly name: ProviderName;
  readonly model: string;

  constructor(private readonly options: LanguageModelOptions) {
    this.name = options.name;
    this.model = options.model.modelId;
  }

  async analyze<T extends AnalysisType>(
    { type, content, language }: ProviderRequest<T>,
    context: ProviderContext,
  ): Promise<ProviderAnswer<T>> {
    const { model, maxOutputTokens, vendorOptions } = this.options;
    const { signal } = context;
    const { system, user } = promptFor(type, content, language);
    const answer = new StreamedAnswer(
      this.name,
      (text) => context.onText(text),
      (text) => printable(text, this.options.secret),
    );
    try {
      const { stream } = await model.doStream({
        prompt: [
          { role: 'system', content: system },
          { role: 'user', content: [{ type: 'text', text: user }] },
        ],
        responseFormat: { type: 'json', name: type, schema: answerJsonSchema(type) },
        abortSignal: signal,
        ...(maxOutputTokens === undefined ? {} : { maxOutputTokens }),
        ...(vendorOptions === undefined ? {} : { providerOptions: vendorOptions }),
      });
      // Leaving the loop, for whatever reason, cancels the stream, and with it the connection.
      for await (const part of stream) answer.take(part);
      answer.tell();
    } catch (error) {
      signal.throwIfAborted();
      throw vendorError(this.name, error, this.options.secret);
    } finally {
      if (answer.hasToldUsage) context.onUsage(this.priced(answer.usage));
    }
    answer.checkEnd();
    return {
      result: this.read(type, answer.text),
      usage: this.priced(answer.usage),
      transcript: answer.text,
      ...(answer.model === undefined || answer.model === this.model ? {} : { model: answer.model }),
    };
  }

  health(): ProviderHealth {
    return { state: 'up', details: {} };
  }

  async close(): Promise<void> {}

  private read<T extends AnalysisType>(type: T, text: string): ProviderAnswer<T>['result'] {
    try {
      return resultOf(type, text);
    } catch (error) {
      const reason = error instanceof SyntaxError ? 'not JSON' : 'JSON of another form than was asked for';
      throw new InvalidAnswerError(this.name, reason, { cause: error });
    }
  }

  private priced(usage: LanguageModelV4Usage | undefined): ProviderUsage {
    const inputTokens = believed(usage?.inputTokens.total);
    const outputTokens = believed(usage?.outputTokens.total);
    const { price } = this.options;
    if (price === undefined) return { inputTokens, outputTokens };
    const fromCache = Math.min(believed(usage?.inputTokens.cacheRead), inputTokens);
    const cached = price.cachedInput === undefined ? 0 : fromCache;
    const dollars =
      (inputTokens - cached) * price.input + cached * (price.cachedInput ?? 0) + outputTokens * price.output;
    return { inputTokens, outputTokens, costUsd: dollars / 1_000_000 };
  }
}

/** Tokens as a vendor counts them; what cannot be a count is none. */
const believed = (tokens = 0): number =>
  Number.isInteger(tokens) && tokens >= 0 && tokens <= MAX_TOKENS ? tokens : 0;

/** What has come of an answer, and whether it is one. */
class StreamedAnswer {
  text = '';
  usage: LanguageModelV4Usage | undefined;
  model: string | undefined;
  private untold = '';
  private end: Extract<LanguageModelV4StreamPart, { type: 'finish' }>['finishReason'] | undefined;

  constructor(
    private readonly provider: string,
    private readonly onText: (text: string) => void,
    /** Makes what the vendor says fit to be shown. */
    private readonly shown: (text: string) => string,
  ) {}

  /** The SDK has a usage without numbers for a vendor that told none. */
  get hasToldUsage(): boolean {
    return this.usage?.inputTokens.total !== undefined || this.usage?.outputTokens.total !== undefined;
  }

  /** @throws what the vendor sends as an error */
  take(part: LanguageModelV4StreamPart): void {
    switch (part.type) {
      case 'text-delta':
        this.text += part.delta;
        if (this.text.length > MAX_ANSWER_CHARS)
          throw new InvalidAnswerError(this.provider, `longer than ${MAX_ANSWER_CHARS} characters`);
        this.tellSoon(part.delta);
        return;
      case 'response-metadata':
        if (part.modelId) this.model = this.shown(part.modelId);
        return;
      case 'finish':
        this.end = part.finishReason;
        this.usage = part.usage;
        return;
      case 'error':
        throw part.error;
    }
  }

  /** What came since the last time. */
  tell(): void {
    const text = this.untold;
    this.untold = '';
    if (text !== '') this.onText(text);
  }

  /** Some vendors send single letters: what comes in one piece over the wire is told in one. */
  private tellSoon(delta: string): void {
    if (this.untold === '') setImmediate(() => this.tell());
    this.untold += delta;
  }

  /** Only what ended for the right reason is whole. */
  checkEnd(): void {
    switch (this.end?.unified) {
      case 'stop':
        return;
      case 'length':
        throw new AnswerTruncatedError(this.provider);
      case 'content-filter':
        throw new AnswerRefusedError(this.provider);
      default:
        throw new ProviderFailedError(
          this.provider,
          this.end?.raw === undefined
            ? 'its answer broke off'
            : `its answer ended with "${this.shown(this.end.raw).slice(0, 100)}"`,
        );
    }
  }
}
