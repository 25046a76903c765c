import { describe, expect, it } from '@jest/globals';
import { array, assert, constant, nat, oneof, property, record, string } from 'fast-check';
import { PartLog } from '../../src/cache/part-log.js';

/** What one listener is told. */
function listener() {
  const told: [part: string, run: number][] = [];
  return { told, onPart: (part: string, run: number) => void told.push([part, run]) };
}

describe('PartLog', () => {
  it('tells who comes late everything, at once and in order, and then what comes', () => {
    const log = new PartLog();
    log.append('a');
    log.append('b');
    const { told, onPart } = listener();
    log.follow(onPart);
    expect(told).toEqual([
      ['a', 0],
      ['b', 0],
    ]);
    log.append('');
    expect(told[2]).toEqual(['', 0]);
  });

  it('tells of another run from its own first part on', () => {
    const log = new PartLog();
    const early = listener();
    log.follow(early.onPart);
    log.append('void');
    log.beginAnew();
    log.append('a');
    const late = listener();
    log.follow(late.onPart);
    log.append('b');
    const ofSecond = [
      ['a', 1],
      ['b', 1],
    ];
    expect(early.told).toEqual([['void', 0], ...ofSecond]);
    expect(late.told).toEqual(ofSecond);
  });

  it('does not count a run that has told nothing', () => {
    const log = new PartLog();
    log.beginAnew();
    log.append('a');
    const { told, onPart } = listener();
    log.follow(onPart);
    expect(told).toEqual([['a', 0]]);
  });

  it('tells one that throws no more, and the others all', () => {
    const log = new PartLog();
    let calls = 0;
    log.follow(() => {
      calls += 1;
      throw new Error('broken');
    });
    const { told, onPart } = listener();
    log.follow(onPart);
    log.append('a');
    log.append('b');
    expect(calls).toBe(1);
    expect(told.length).toBe(2);
  });

  it('tells nobody who has left, or after the end', () => {
    const log = new PartLog();
    const [left, stayed] = [listener(), listener()];
    const leave = log.follow(left.onPart);
    log.follow(stayed.onPart);
    log.append('a');
    leave();
    log.append('b');
    log.end();
    log.append('c');
    expect([left.told.length, stayed.told.length]).toEqual([1, 2]);
    expect(log.isHeard).toBe(false);
  });

  it('keeps the order where a listener brings about the next part, another run, or its own leaving', () => {
    const log = new PartLog();
    const { told, onPart } = listener();
    log.follow((part) => {
      if (part === 'a') log.append('b');
    });
    log.follow(onPart);
    const leave = log.follow((part) => {
      if (part === 'b') log.beginAnew();
      if (part === 'c') leave();
    });
    log.append('a');
    log.append('c');
    expect(told).toEqual([
      ['a', 0],
      ['b', 0],
      ['c', 1],
    ]);
  });

  it('is told of the first who listens, each time', () => {
    const log = new PartLog();
    let times = 0;
    log.onHeard(() => (times += 1));
    const leave = [log.follow(() => {}), log.follow(() => {})];
    for (const each of leave) each();
    log.follow(() => {});
    expect(times).toBe(2);
  });

  it('is bounded', () => {
    const log = new PartLog();
    const { told, onPart } = listener();
    log.follow(onPart);
    for (let n = 0; n < 10; n += 1) log.append('x'.repeat(2 ** 20));
    log.append('small');
    expect(told.length).toBe(3);
    log.beginAnew();
    log.append('small');
    expect(told[3]).toEqual(['small', 1]);
  });

  it('tells everyone who follows the same, whenever he came', () => {
    const step = oneof(
      record({ kind: constant('append'), part: string({ maxLength: 3 }) }),
      record({ kind: constant('anew'), part: constant('') }),
      record({ kind: constant('follow'), part: constant('') }),
      record({ kind: constant('leave'), part: constant(''), who: nat(9) }),
    );
    assert(
      property(array(step, { maxLength: 60 }), (steps) => {
        const log = new PartLog();
        const followers: { told: [string, number][]; leave: () => void }[] = [];
        for (const next of steps) {
          if (next.kind === 'append') log.append(next.part);
          else if (next.kind === 'anew') log.beginAnew();
          else if (next.kind === 'follow') {
            const { told, onPart } = listener();
            followers.push({ told, leave: log.follow(onPart) });
          } else {
            const [gone] = followers.splice(('who' in next ? next.who : 0) % (followers.length || 1), 1);
            gone?.leave();
          }
          for (const { told } of followers) {
            const run = told.at(-1)?.[1];
            const ofRun = told.filter((each) => each[1] === run).map(([part]) => part);
            if (log.all.length > 0) expect(ofRun).toEqual(log.all);
          }
        }
      }),
    );
  });
});
