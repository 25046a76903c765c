import type { Behaviour, Pace } from './behaviour.js';
import type { Frame } from './frame.js';
import { serialize } from './frame.js';
import { piecesOf } from './pieces.js';
import type { Reply } from './reply.js';
import type { ErrorShape } from './status.js';
import { answerStatus, messageOf } from './status.js';
import type { TokenUsage } from './token-usage.js';
import { tokensOf } from './token-usage.js';
import type { Answer, Ending, Wire } from './wire.js';

const CHUNKS = 4;
const STREAM_TYPE = { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' };
const HTML_TYPE = { 'content-type': 'text/html; charset=utf-8' };
const JSON_TYPE = { 'content-type': 'application/json' };
const HUGE_PIECE = 'x'.repeat(2 ** 14);
const PAGE = '<!DOCTYPE html>\n<html><head><title>Bad gateway</title></head><body>Try again.</body></html>\n';
const REFUSAL = 'I cannot help with that.';
const NOT_JSON = 'Certainly! Here is the analysis you asked for: {';

type Of<K extends Behaviour['kind']> = Extract<Behaviour, { kind: K }>;

/** One request, and what it may be answered with. */
export interface Parts {
  readonly wire: Wire;
  readonly reply: Reply;
  /** The vendor's own. */
  readonly text: string;
  readonly shape: ErrorShape;
  /** The whole answer has been said. */
  readonly onComplete: (usage: TokenUsage) => void;
}

/** Behaves towards one request as it is told. */
export class Exchange {
  private readonly wire: Wire;
  private readonly reply: Reply;

  constructor(private readonly parts: Parts) {
    this.wire = parts.wire;
    this.reply = parts.reply;
  }

  async play(behaviour: Behaviour): Promise<void> {
    const { text } = this.parts;
    switch (behaviour.kind) {
      case 'answer':
        return this.answer(this.saying(behaviour.text ?? text), behaviour);
      case 'status':
        return answerStatus(this.reply, behaviour, this.parts.shape);
      case 'refusal': {
        const ending = behaviour.by === 'filter' ? 'filtered' : 'refused';
        return this.answer(this.saying(behaviour.text ?? REFUSAL, ending));
      }
      case 'length':
        return this.answer(this.saying(behaviour.text ?? text.slice(0, text.length / 2), 'length'));
      case 'truncate':
      case 'cleanEnd':
      case 'errorInStream':
        return this.fail(behaviour);
      case 'invalidJson':
        return this.answer(this.saying(NOT_JSON));
      case 'wrongSchema':
        return this.answer(this.saying(JSON.stringify({ unexpected: text.length })));
      case 'html':
        return this.reply.whole(200, HTML_TYPE, PAGE);
      case 'jsonToStream':
        return this.json(this.saying(text));
      case 'slowBytes':
        return this.slowly(behaviour);
      case 'hang':
        return this.hang(behaviour);
      case 'resetOnConnect':
        return this.reply.reset();
      case 'hugeAnswer':
        return this.huge(behaviour);
    }
  }

  private saying(text: string, ending: Ending = 'stop'): Answer {
    const usage = { inputTokens: tokensOf(this.wire.input), outputTokens: tokensOf(text) };
    return { text, ending, usage };
  }

  private async answer(answer: Answer, pace: Pace = {}): Promise<void> {
    await this.reply.pause(pace.delayMs ?? 0);
    if (!this.wire.streamed) {
      if (pace.gate !== undefined) await this.reply.until(pace.gate.opens);
      return this.json(answer);
    }
    await this.begin(answer);
    await this.say(answer, piecesOf(answer.text, pace.chunks ?? CHUNKS), pace);
    await this.conclude(answer, this.wire.closing(answer).map(serialize).join(''));
  }

  private async begin(answer: Answer): Promise<void> {
    this.reply.open(200, STREAM_TYPE);
    await this.send(this.wire.opening(answer));
  }

  private async say(
    answer: Answer,
    pieces: readonly string[],
    { gapMs = 0, gate }: Pace = {},
  ): Promise<void> {
    if (gate?.afterChunks === 0) await this.reply.until(gate.opens);
    for (const [said, piece] of pieces.entries()) {
      if (said > 0) await this.reply.pause(gapMs);
      await this.send([this.wire.delta(answer, piece)]);
      if (gate?.afterChunks === said + 1) await this.reply.until(gate.opens);
    }
  }

  private async send(frames: readonly Frame[]): Promise<void> {
    await this.reply.write(frames.map(serialize).join(''));
  }

  private async json(answer: Answer): Promise<void> {
    const body = JSON.stringify(this.wire.whole(answer));
    this.reply.open(200, { ...JSON_TYPE, 'content-length': String(Buffer.byteLength(body)) });
    await this.conclude(answer, body);
  }

  /** Billed before the client can have seen the end, so whoever has the answer finds it billed. */
  private async conclude({ usage }: Answer, rest: string): Promise<void> {
    this.parts.onComplete(usage);
    await this.reply.write(rest);
    this.reply.end();
  }

  private async fail(behaviour: Of<'truncate' | 'cleanEnd' | 'errorInStream'>): Promise<void> {
    const { kind, afterChunks = 1 } = behaviour;
    const answer = this.saying(this.parts.text);
    if (!this.wire.streamed && kind === 'errorInStream') {
      return answerStatus(this.reply, { status: behaviour.status ?? 500 }, this.parts.shape);
    }
    if (this.wire.streamed) {
      await this.begin(answer);
      await this.say(answer, piecesOf(answer.text, CHUNKS).slice(0, afterChunks));
    } else {
      this.reply.open(200, JSON_TYPE);
      await this.reply.write(
        piecesOf(JSON.stringify(this.wire.whole(answer)), CHUNKS)
          .slice(0, afterChunks)
          .join(''),
      );
    }
    if (behaviour.gate !== undefined) await this.reply.until(behaviour.gate);
    if (kind === 'truncate') return this.reply.break();
    if (kind === 'errorInStream') {
      const { status = 500 } = behaviour;
      await this.send([this.wire.failure(status, messageOf(status))]);
    }
    this.reply.end();
  }

  private async slowly({ bytes, gapMs }: Of<'slowBytes'>): Promise<void> {
    const { wire, reply } = this;
    const answer = this.saying(this.parts.text);
    const pieces = piecesOf(answer.text, CHUNKS);
    const whole = wire.streamed
      ? [
          ...wire.opening(answer),
          ...pieces.map((piece) => wire.delta(answer, piece)),
          ...wire.closing(answer),
        ]
          .map(serialize)
          .join('')
      : JSON.stringify(wire.whole(answer));
    const buffer = Buffer.from(whole);
    reply.open(200, wire.streamed ? STREAM_TYPE : JSON_TYPE);
    for (let start = 0; start < buffer.length; start += bytes) {
      if (start > 0) await reply.pause(gapMs);
      if (start + bytes >= buffer.length) this.parts.onComplete(answer.usage);
      await reply.write(buffer.subarray(start, start + bytes));
    }
    reply.end();
  }

  private async hang({ afterChunks }: Of<'hang'>): Promise<void> {
    if (afterChunks !== undefined) {
      const answer = this.saying(this.parts.text);
      if (this.wire.streamed && afterChunks > 0) {
        await this.begin(answer);
        await this.say(answer, piecesOf(answer.text, CHUNKS).slice(0, afterChunks));
      } else {
        this.reply.open(200, this.wire.streamed ? STREAM_TYPE : JSON_TYPE);
      }
    }
    await this.reply.silence();
  }

  private async huge({ bytes = Number.POSITIVE_INFINITY }: Of<'hugeAnswer'>): Promise<void> {
    if (!this.wire.streamed) return this.hugeJson(bytes);
    const nothing = this.saying('');
    await this.begin(nothing);
    for (let said = 0; said < bytes; said += HUGE_PIECE.length) {
      await this.send([this.wire.delta(nothing, HUGE_PIECE.slice(0, bytes - said))]);
    }
    const answer = this.saying('x'.repeat(bytes));
    await this.conclude(answer, this.wire.closing(answer).map(serialize).join(''));
  }

  private async hugeJson(bytes: number): Promise<void> {
    if (Number.isFinite(bytes)) return this.json(this.saying('x'.repeat(bytes)));
    this.reply.open(200, JSON_TYPE);
    await this.reply.write('{"text":"');
    for (;;) await this.reply.write(HUGE_PIECE);
  }
}
