import { describe, expect, it } from '@jest/globals';
import type { AnalysisProgress } from '../../src/ai/analysis-stream.js';
import { attemptPart, failedPart, textPart, Transcript } from '../../src/ai/analysis-stream.js';

const RESULT = { deobfuscatedCode: 'a', analysisReport: 'b' };
const WHOLE = JSON.stringify(RESULT);
const attempt = attemptPart({ provider: 'claude', model: 'm', attempt: 1 });

/** What a client has who does as the page says. */
const textOf = (events: readonly AnalysisProgress[]): string =>
  events.reduce(
    (text, event) => (event.type === 'chunk' ? text.slice(0, event.offset) + event.text : text),
    '',
  );
const take = (transcript: Transcript, ...parts: string[]): AnalysisProgress[] =>
  parts.map((part) => transcript.take(part, 0));

describe('Transcript', () => {
  it('hands on what came, and adds what is missing', () => {
    const transcript = new Transcript();
    const told = take(transcript, attempt, textPart(WHOLE.slice(0, 3)), textPart(WHOLE.slice(3, 9)));
    const rest = [...transcript.rest({ result: RESULT })];
    expect(rest).toEqual([{ type: 'chunk', offset: 9, text: WHOLE.slice(9) }]);
    expect(textOf([...told, ...rest])).toBe(WHOLE);
  });

  it('adds nothing to what is whole, and all to nothing', () => {
    const transcript = new Transcript();
    take(transcript, textPart(WHOLE));
    expect([...transcript.rest({ result: RESULT })]).toEqual([]);
    expect(textOf([...new Transcript().rest({ result: RESULT })])).toBe(WHOLE);
  });

  it('begins anew with an attempt, a run, and where a piece got lost', () => {
    const lost = new Transcript();
    const told = take(lost, textPart(WHOLE.slice(0, 3)), textPart(WHOLE.slice(5)));
    expect(textOf([...told, ...lost.rest({ result: RESULT })])).toBe(WHOLE);

    const again = new Transcript();
    const events = [
      ...take(
        again,
        attempt,
        textPart('half'),
        failedPart({ provider: 'p', model: 'm', code: 'c', reason: 'r', durationMs: 1 }),
      ),
      ...take(again, attempt, textPart('{"')),
      again.take(textPart('{'), 1),
    ];
    expect(events.map((event) => (event.type === 'chunk' ? event.offset : event.stage))).toEqual([
      'attempt',
      0,
      'failed',
      'attempt',
      0,
      0,
    ]);
  });

  it('begins anew where more was told than there is', () => {
    const transcript = new Transcript();
    const told = take(transcript, textPart(`${WHOLE} and more`));
    expect(textOf([...told, ...transcript.rest({ result: RESULT })])).toBe(WHOLE);
  });

  it('tells what the model wrote, to the letter, in pieces', () => {
    const transcript = `${' '.repeat(40_000)}${WHOLE}`;
    const rest = [...new Transcript().rest({ transcript, result: RESULT })];
    expect(rest.length).toBe(3);
    expect(textOf(rest)).toBe(transcript);
  });
});
