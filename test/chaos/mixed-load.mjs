/**
 * Readers and writers inside an instance: calls by messages would be too slow to find in its memory what was replaced
 * a moment ago.
 */
import { setTimeout as pause } from 'node:timers/promises';

const READERS = 2;
const WRITERS = 2;
const READS_AT_ONCE = 8;
const READ_PAUSE_MS = 16;
const WRITE_PAUSE_MS = 30;
const DELETE_SHARE = 0.1;
const TTL_MS = 3_600_000;
/** A few keys at a time are written by all, and then by nobody for so long that nothing mends what was missed. */
const BUSY_KEYS = 20;
const BUSY_MS = 600;

/** CLOCK_MONOTONIC: the same for all processes of a machine. */
const nowMs = () => Number(process.hrtime.bigint()) / 1e6;

export class MixedLoad {
  reads = 0;
  /** Reads that were answered without asking Redis. */
  hits = 0;
  /** Reads while Redis did not answer, or had just come back: they may be as old as they like. */
  cutOff = 0;
  writes = [];
  /** Of each value: its key, and when the last read of it began. No read of that value was staler. */
  lastReads = new Map();
  stopped = false;
  breaks = 0;

  /** `valueOf` makes a value of an id, `idOf` finds it again. */
  constructor({ cache, connection, valueOf, idOf, name, keys }) {
    Object.assign(this, { cache, connection, valueOf, idOf, name, keys });
    connection.watch(() => (this.breaks += 1));
    this.workers = [
      ...Array.from({ length: READERS }, () => this.keepReading()),
      ...Array.from({ length: WRITERS }, () => this.keepWriting()),
    ];
  }

  async stop() {
    this.stopped = true;
    await Promise.all(this.workers);
    const { reads, hits, cutOff, writes } = this;
    const lastReads = [...this.lastReads].map(([value, { key, begunAt }]) => ({ key, value, begunAt }));
    return { reads, hits, cutOff, writes, lastReads };
  }

  async keepReading() {
    while (!this.stopped) {
      await Promise.all(Array.from({ length: READS_AT_ONCE }, () => this.read(this.readKey())));
      await pause(Math.random() * READ_PAUSE_MS);
    }
  }

  async keepWriting() {
    while (!this.stopped) {
      await this.write(this.busyKey());
      await pause(Math.random() * WRITE_PAUSE_MS);
    }
  }

  async read(key) {
    const before = this.trouble();
    const begunAt = nowMs();
    const peeked = this.idOf(this.cache.peek(key));
    const value = peeked ?? this.idOf(await this.cache.get(key));
    this.reads += 1;
    if (peeked !== null) this.hits += 1;
    if (before === undefined || this.trouble() !== before) this.cutOff += 1;
    else if (value !== null) this.note(key, value, begunAt);
  }

  note(key, value, begunAt) {
    const former = this.lastReads.get(value);
    if (former === undefined || former.begunAt < begunAt) this.lastReads.set(value, { key, begunAt });
  }

  async write(key) {
    const isDelete = Math.random() < DELETE_SHARE;
    const value = isDelete ? undefined : `${this.name}.${this.writes.length}`;
    const write = { key, value, begunAt: nowMs(), endedAt: undefined, landed: undefined };
    this.writes.push(write);
    write.landed = isDelete
      ? (await this.cache.delete(key)).landed
      : await this.cache.set(key, this.valueOf(value, 0), { ttlMs: TTL_MS });
    write.endedAt = nowMs();
  }

  readKey() {
    return Math.random() < 0.5 ? this.busyKey() : this.keyAt(Math.random() * this.keys.length);
  }

  busyKey() {
    return this.keyAt((Math.floor(nowMs() / BUSY_MS) + Math.random()) * BUSY_KEYS);
  }

  keyAt(place) {
    return this.keys[Math.floor(place) % this.keys.length];
  }

  /** The number of troubles with Redis so far; undefined while there is one. */
  trouble() {
    const { online, remoteFaults } = this.cache.stats().storage.replication;
    return online && this.connection.state === 'ready' ? this.breaks + remoteFaults : undefined;
  }
}
