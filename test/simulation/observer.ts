import type { Replica } from '../../src/cache/replication/replica.js';
import type { ProcessRecord } from './history.js';
import type { Oracle, StampView } from './oracle.js';

type State = Replica['state'];

/** Tells the oracle what goes on within a replica; changes nothing there. */
export function observe(replica: Replica, process: ProcessRecord, oracle: Oracle, clock: StampView): void {
  const state = replica['state'];
  observeAttempts(state, process, oracle, clock);
  observeRestamps(state, process, oracle);
  observeOverflow(state, process, oracle, clock);
  const learn = state.learn.bind(state);
  state.learn = (key, version, value, beaten) => {
    oracle.learned(process, key, version, value === 'gone');
    return learn(key, version, value, beaten);
  };
}

function observeAttempts({ outbox }: State, process: ProcessRecord, oracle: Oracle, clock: StampView): void {
  const add = outbox.add.bind(outbox);
  outbox.add = (mutation, sinceMs) => {
    oracle.attempted(process, mutation, clock);
    return add(mutation, sinceMs);
  };
  const shrink = outbox.shrink.bind(outbox);
  outbox.shrink = (mutation) => {
    oracle.shrunk(mutation.key, mutation.version);
    shrink(mutation);
  };
}

function observeRestamps({ outbox, marks }: State, process: ProcessRecord, oracle: Oracle): void {
  const restamp = outbox.restamp.bind(outbox);
  outbox.restamp = (former, mutation) => {
    oracle.restamped(process, former, mutation);
    restamp(former, mutation);
  };
  const restampMark = marks.restamp.bind(marks);
  marks.restamp = (name, version) => {
    oracle.restampedMark(process, name, marks.record().get(name) ?? '', version);
    restampMark(name, version);
  };
}

/** A full outbox may forget what Redis has, and give up values; the clear that it folds into is a mark like any. */
function observeOverflow(state: State, process: ProcessRecord, oracle: Oracle, clock: StampView): void {
  const { outbox, marks } = state;
  const forget = outbox['forgetWhatRedisHas'].bind(outbox);
  outbox['forgetWhatRedisHas'] = () => {
    process.overflowed = true;
    return forget();
  };
  const settle = state.settleOverflow.bind(state);
  state.settleOverflow = (overflow) => {
    const folded = settle(overflow);
    if (folded) oracle.folded(process, marks.clear, clock);
    return folded;
  };
}
