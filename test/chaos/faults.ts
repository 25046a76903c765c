import type { AppInstance } from './app-instance.js';
import type { Cluster } from './cluster.js';
import { USER } from './cluster.js';
import type { Load } from './generator.js';
import type { Random } from './random.js';

export interface Scene {
  readonly cluster: Cluster;
  readonly load: Load;
  readonly random: Random;
  /** Waits out a part of the fault's duration. */
  readonly wait: (share: number) => Promise<void>;
}

/** Something that goes wrong with the network, Redis or an instance, and is put right again. */
export interface Fault {
  readonly name: string;
  readonly breaks: 'network' | 'redis' | 'instance';
  readonly begin: (scene: Scene) => Promise<void>;
  readonly end: (scene: Scene) => Promise<void>;
  /** Redis forgets what it had acknowledged. */
  readonly losesData?: boolean;
  /** Redis may give up values; not a reason for any to come back. */
  readonly losesValues?: boolean;
}

const nothing = (): Promise<void> => Promise.resolve();

/** What it does, to which instances' network. */
type Cut = (proxy: Cluster['proxies'][number], scene: Scene) => Promise<void> | void;

function networkFault(name: string, cut: Cut, reach: 'one' | 'all'): Fault {
  let struck: readonly Cluster['proxies'][number][] = [];
  return {
    name: `${name}, ${reach}`,
    breaks: 'network',
    async begin(scene) {
      const { proxies } = scene.cluster;
      struck = reach === 'all' ? proxies : [scene.random.pick(proxies)];
      await Promise.all(struck.map((proxy) => cut(proxy, scene)));
    },
    async end() {
      await Promise.all(struck.map((proxy) => proxy.pass()));
    },
  };
}

const CUTS: Readonly<Record<string, Cut>> = {
  refused: (proxy) => proxy.refuse(),
  'cut again and again': async (proxy, { wait }) => {
    for (let times = 0; times < 3; times += 1) {
      proxy.cut();
      await wait(0.2);
    }
  },
  'silent cut, then late delivery': (proxy) => proxy.freeze(),
  'half-closed by Redis': (proxy) => proxy.halfClose('replies'),
  'half-closed towards Redis': (proxy) => proxy.halfClose('requests'),
  'slow: 60 ms each way': (proxy) => proxy.delay(60),
  'slow: 200 ms each way': (proxy) => proxy.delay(200),
  'replies lost': (proxy) => proxy.loseReplies(),
  'requests lost': (proxy) => proxy.loseRequests(),
  'narrow: 40 kB/s': (proxy) => proxy.throttle(40_000),
};

const NETWORK = Object.entries(CUTS).flatMap(([name, cut]) => [
  networkFault(name, cut, 'one'),
  networkFault(name, cut, 'all'),
]);

const REDIS: readonly Fault[] = [
  {
    name: 'Redis killed, back with its data',
    breaks: 'redis',
    begin: ({ cluster }) => cluster.redis.kill(),
    end: ({ cluster }) => cluster.redis.up(),
  },
  {
    name: 'Redis killed, back without data',
    breaks: 'redis',
    losesData: true,
    begin: ({ cluster }) => cluster.redis.kill(),
    async end({ cluster: { redis } }) {
      await redis.wipe();
      await redis.up();
    },
  },
  {
    name: 'Redis stopped and continued',
    breaks: 'redis',
    begin: async ({ cluster }) => cluster.redis.freeze(),
    end: async ({ cluster }) => cluster.redis.thaw(),
  },
  {
    name: 'FLUSHALL',
    breaks: 'redis',
    losesData: true,
    begin: async ({ cluster }) => void (await cluster.admin.flushall()),
    end: nothing,
  },
  {
    name: 'FLUSHALL twice, with a silent cut between',
    breaks: 'redis',
    losesData: true,
    async begin({ cluster, wait }) {
      await cluster.admin.flushall();
      await wait(0.4);
      cluster.proxies[1]?.freeze();
      await wait(0.2);
      await cluster.admin.flushall();
    },
    end: async ({ cluster }) => cluster.proxies[1]?.pass(),
  },
  {
    name: 'Redis evicts (allkeys-lru)',
    breaks: 'redis',
    losesData: true,
    losesValues: true,
    begin: evict,
    async end({ cluster: { admin } }) {
      await admin.config('SET', 'maxmemory', '0');
      await admin.config('SET', 'maxmemory-policy', 'noeviction');
    },
  },
  {
    name: 'Redis read-only',
    breaks: 'redis',
    begin: async ({ cluster }) => void (await cluster.admin.replicaof('127.0.0.1', 1)),
    end: async ({ cluster }) => void (await cluster.admin.replicaof('NO', 'ONE')),
  },
  {
    name: 'Redis full (noeviction)',
    breaks: 'redis',
    begin: async ({ cluster }) => void (await cluster.admin.config('SET', 'maxmemory', '1')),
    end: async ({ cluster }) => void (await cluster.admin.config('SET', 'maxmemory', '0')),
  },
  {
    name: 'wrong password',
    breaks: 'redis',
    async begin({ cluster }) {
      const { admin } = cluster;
      await admin.config('SET', 'requirepass', 'other');
      await admin.acl('SETUSER', USER.name, 'resetpass', '>other');
      await killClients(cluster);
    },
    async end({ cluster: { admin } }) {
      await admin.config('SET', 'requirepass', '');
      await admin.acl('SETUSER', USER.name, 'resetpass', `>${USER.password}`);
    },
  },
  {
    name: 'scripts flushed, clients killed',
    breaks: 'redis',
    async begin({ cluster }) {
      await cluster.admin.script('FLUSH');
      await killClients(cluster);
    },
    end: nothing,
  },
];

const APP: readonly Fault[] = [
  {
    name: 'instance with disk killed in an outage, restarted in it',
    breaks: 'instance',
    begin: (scene) => crash(scene, scene.cluster.disk),
    end: allPass,
  },
  {
    name: 'instance with memory killed in an outage, restarted in it',
    breaks: 'instance',
    begin: (scene) => crash(scene, scene.cluster.instance(0)),
    end: allPass,
  },
  {
    name: 'instance with disk killed in an outage, Redis back without data',
    breaks: 'instance',
    losesData: true,
    begin: (scene) => crash(scene, scene.cluster.disk),
    async end(scene) {
      await scene.cluster.redis.kill();
      await scene.cluster.redis.wipe();
      await scene.cluster.redis.up();
      await allPass(scene);
    },
  },
];

export const FAULTS: readonly Fault[] = [...REDIS, ...APP, ...NETWORK];

/** Only a Redis that answers can be told to break in yet another way. */
export const combine = (first: Fault, second: Fault): boolean =>
  first.breaks === 'network' ? first !== second : second.breaks === 'network';

/** Two at once: the second begins within the first, and outlives it or not. */
export function both(first: Fault, second: Fault, secondEndsFirst: boolean): Fault {
  return {
    name: `${first.name} + ${second.name}`,
    breaks: first.breaks,
    losesData: first.losesData === true || second.losesData === true,
    losesValues: first.losesValues === true || second.losesValues === true,
    async begin(scene) {
      await first.begin(scene);
      await scene.wait(0.3);
      await second.begin(scene);
    },
    async end(scene) {
      const order = secondEndsFirst ? [second, first] : [first, second];
      for (const fault of order) await fault.end(scene);
    },
  };
}

/** All instances are cut off; one dies under its load, and comes back while that lasts. */
async function crash({ cluster, wait }: Scene, instance: AppInstance): Promise<void> {
  await Promise.all(cluster.proxies.map((proxy) => proxy.refuse()));
  await wait(0.4);
  await instance.kill();
  await instance.start();
}

async function killClients({ admin }: Cluster): Promise<void> {
  await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
  await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
}

async function allPass({ cluster }: Scene): Promise<void> {
  await Promise.all(cluster.proxies.map((proxy) => proxy.pass()));
}

/**
 * Room for a part of what is then written: values of 4 kB go, and most guards, which are younger than the oldest
 * values and a fortieth of their size, stay.
 */
async function evict({ cluster, load }: Scene): Promise<void> {
  const { admin } = cluster;
  const used = /used_memory:(\d+)/.exec(await admin.info('memory'))?.[1] ?? '0';
  await admin.config('SET', 'maxmemory-policy', 'allkeys-lru');
  await admin.config('SET', 'maxmemory', String(Number(used) + 1_500_000));
  await load.fill(cluster.instance(0), 600, 4000);
}
