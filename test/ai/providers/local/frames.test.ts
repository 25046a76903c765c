import { describe, expect, it } from '@jest/globals';
import { array, assert, integer, jsonValue, property } from 'fast-check';
import { encodeFrame, BrokenFrame, FrameReader } from '../../../../src/ai/providers/local/frames.js';

describe('FrameReader', () => {
  it('gives back what was sent, however the pipe cuts it', () => {
    const messages = array(jsonValue(), { maxLength: 8 });
    assert(
      property(messages, array(integer({ min: 1, max: 40 }), { minLength: 1 }), (sent, cuts) => {
        const bytes = Buffer.concat(sent.map(encodeFrame));
        const reader = new FrameReader(1_000_000);
        const received: unknown[] = [];
        for (let position = 0, turn = 0; position < bytes.length; turn += 1) {
          const end = position + (cuts[turn % cuts.length] ?? 1);
          received.push(...reader.push(bytes.subarray(position, end)));
          position = end;
        }
        expect(JSON.stringify(received)).toBe(JSON.stringify(sent));
      }),
    );
  });

  it('refuses a message for the length that it announces, before its bytes have come', () => {
    const reader = new FrameReader(10);
    expect(() => reader.push(Buffer.from([0, 0, 0, 11]))).toThrow(BrokenFrame);
    expect(new FrameReader(10).push(encodeFrame('12345678'))).toEqual(['12345678']);
  });

  it('refuses what is not JSON', () => {
    const reader = new FrameReader(10);
    expect(() => reader.push(Buffer.from([0, 0, 0, 1, 0x7b]))).toThrow(BrokenFrame);
  });
});
