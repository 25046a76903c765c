import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Application } from './application.js';
import { newDirectory } from './cleanup.js';
import { freePort, RedisServer } from './redis-server.js';

const STARTS_AT_ONCE = 2;
let starting = 0;
const waiting = [];

/** A start takes a core for itself: more at once would run into the time-outs of those who start. */
async function inTheStartingGate(start) {
  if (starting === STARTS_AT_ONCE) await new Promise((resolve) => waiting.push(resolve));
  else starting += 1;
  try {
    return await start();
  } finally {
    const next = waiting.shift();
    if (next === undefined) starting -= 1;
    else next();
  }
}

/** One configuration in one measure, with a Redis and processes of its own. */
class Lane {
  #applications = [];
  result = {};
  failure;

  constructor(configuration, turn, redisOptions) {
    this.configuration = configuration;
    this.turn = turn;
    this.redisOptions = redisOptions;
    this.directory = newDirectory(configuration.name);
  }

  async startRedis() {
    this.redis = new RedisServer(await freePort(), join(this.directory, 'redis'), this.redisOptions);
    await this.redis.start();
  }

  /** A process that has read its code and not opened its cache. The same label has the same directory again. */
  fork(label) {
    return inTheStartingGate(() => this.#fork(label));
  }

  /** A process whose cache has had time to connect. A start that a busy machine failed is tried again. */
  async open(label, { waitMs, attempts = 3 } = {}) {
    try {
      const application = await inTheStartingGate(async () => {
        const forked = await this.#fork(label);
        await forked.call('open');
        return forked;
      });
      await application.call('connect', { waitMs });
      return application;
    } catch (error) {
      if (attempts === 1) throw error;
      return this.open(label, { waitMs, attempts: attempts - 1 });
    }
  }

  async #fork(label) {
    const application = new Application(this.configuration, this.redis.port, join(this.directory, label));
    this.#applications.push(application);
    await application.started;
    return application;
  }

  /** A lane that failed rests: how is its result. */
  async run(step) {
    if (this.failure !== undefined) return;
    try {
      await step(this);
    } catch (error) {
      this.failure = error.message;
    }
  }

  async close() {
    await Promise.all(this.#applications.map((application) => application.kill()));
    await this.redis?.kill();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Makes a step of which one lane at a time is in; one that takes longer than `limitMs` lets the next begin. */
export function inTurn(step, limitMs) {
  let previous = Promise.resolve();
  return (lane) => {
    const before = previous;
    const done = before.then(() => step(lane));
    previous = Promise.race([
      done.catch(() => {}),
      before.then(() => sleep(limitMs, undefined, { ref: false })),
    ]);
    return done;
  };
}

/**
 * Takes a lane for each configuration through the steps, all of them together, so that nobody's start disturbs
 * another's measurement. Returns what the lanes found, in their order.
 */
export async function inStep(configurations, steps, redisOptions) {
  const lanes = configurations.map(
    (configuration, index) => new Lane(configuration, index / configurations.length, redisOptions),
  );
  try {
    for (const step of steps) await Promise.all(lanes.map((lane) => lane.run(step)));
    return lanes.map(({ configuration: { name }, result, failure }) => ({ name, ...result, failure }));
  } finally {
    await Promise.all(lanes.map((lane) => lane.close()));
  }
}
