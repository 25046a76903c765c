import { Redis } from 'ioredis';
import { freePort } from './free-port.js';
import { RedisServer } from './redis-server.js';

const SLOTS = 16_384;
const POLL_MS = 20;

/** A node of the cluster, to be killed, stopped and brought back. */
export class ClusterNode {
  id = '';

  private constructor(
    readonly server: RedisServer,
    readonly busPort: number,
    /** Of the test itself. */
    readonly admin: Redis,
  ) {}

  static async start(nodeTimeoutMs: number): Promise<ClusterNode> {
    const busPort = await freePort();
    const bus = ['--cluster-enabled', 'yes', '--cluster-port', String(busPort)];
    const patience = [
      '--cluster-node-timeout',
      String(nodeTimeoutMs),
      '--cluster-replica-validity-factor',
      '0',
    ];
    const replication = ['--repl-diskless-sync-delay', '0', '--appendonly', 'no'];
    // Else a master becomes a replica as soon as it hears that its last slot is gone, and refuses SETSLOT.
    const roles = ['--cluster-allow-replica-migration', 'no'];
    const server = await RedisServer.start([...bus, ...patience, ...replication, ...roles]);
    const admin = new Redis({
      port: server.port,
      retryStrategy: () => POLL_MS,
      disconnectTimeout: 50,
      maxRetriesPerRequest: null,
    });
    admin.on('error', () => {});
    const node = new ClusterNode(server, busPort, admin);
    node.id = (await admin.call('CLUSTER', 'MYID')) as string;
    return node;
  }

  get port(): number {
    return this.server.port;
  }

  cluster(...args: (string | number)[]): Promise<unknown> {
    return this.admin.call('CLUSTER', ...args);
  }

  async info(): Promise<string> {
    return String(await this.cluster('INFO'));
  }

  async close(): Promise<void> {
    this.admin.disconnect();
    await this.server.close();
  }
}

/** A real Redis Cluster of a test's own: by default three masters, each with one replica, on free ports. */
export class RedisClusterServers {
  private constructor(
    readonly nodes: ClusterNode[],
    private readonly nodeTimeoutMs: number,
  ) {}

  static async start({ masters = 3, replicas = 1, nodeTimeoutMs = 1500 } = {}): Promise<RedisClusterServers> {
    const all = masters * (1 + replicas);
    const nodes = await Promise.all(Array.from({ length: all }, () => ClusterNode.start(nodeTimeoutMs)));
    const cluster = new RedisClusterServers(nodes, nodeTimeoutMs);
    try {
      await cluster.assemble(nodes.slice(0, masters), nodes.slice(masters));
    } catch (error) {
      await cluster.close();
      throw error;
    }
    return cluster;
  }

  /** What a client is told. */
  get addresses(): { host: string; port: number }[] {
    return this.nodes.map(({ port }) => ({ host: '127.0.0.1', port }));
  }

  node(port: number): ClusterNode {
    const found = this.nodes.find((node) => node.port === port);
    if (found === undefined) throw new RangeError(`No node listens at ${port}.`);
    return found;
  }

  /** The masters that have slots, as a node sees them that is alive. */
  async masters(): Promise<ClusterNode[]> {
    const slots = (await this.alive().cluster('SLOTS')) as [number, number, [string, number]][];
    return [...new Set(slots.map(([, , [, port]]) => port))].map((port) => this.node(port));
  }

  async replicasOf(master: ClusterNode): Promise<RedisServer[]> {
    const lines = (await master.cluster('REPLICAS', master.id)) as string[];
    const ids = new Set(lines.map((line) => line.split(' ')[0]));
    return this.nodes.filter(({ id }) => ids.has(id)).map(({ server }) => server);
  }

  async masterOf(key: string): Promise<ClusterNode> {
    const slot = Number(await this.alive().cluster('KEYSLOT', key));
    const slots = (await this.alive().cluster('SLOTS')) as [number, number, [string, number]][];
    const range = slots.find(([from, to]) => from <= slot && slot <= to);
    return this.node(range?.[2][1] ?? 0);
  }

  /** Until this node is no master any more, and the others serve again; how long that took. */
  async failedOver(from: ClusterNode): Promise<number> {
    const begun = performance.now();
    await this.until(async () => {
      const [info, masters] = await Promise.all([this.alive(from).info(), this.mastersBut(from)]);
      return info.includes('cluster_state:ok') && !masters.includes(from.port);
    });
    return performance.now() - begun;
  }

  /** Until a node that was a master follows the new one. */
  async follows(node: ClusterNode): Promise<void> {
    await this.until(async () => (await node.admin.info('replication')).includes('master_link_status:up'));
  }

  /** Until every node says that all slots are served. */
  async serves(): Promise<void> {
    await this.until(async () => {
      const infos = await Promise.all(this.nodes.map((node) => node.info()));
      return infos.every((info) => info.includes('cluster_state:ok'));
    });
  }

  /** An empty master without slots. */
  async add(): Promise<ClusterNode> {
    const node = await ClusterNode.start(this.nodeTimeoutMs);
    const first = this.alive();
    this.nodes.push(node);
    await node.cluster('MEET', '127.0.0.1', first.port, first.busPort);
    await this.until(async () =>
      (await Promise.all(this.nodes.map((each) => this.knows(each, node)))).every(Boolean),
    );
    return node;
  }

  /**
   * Moves slots with all their keys while the cluster serves, as `redis-cli --cluster reshard` does; each stays
   * `halfwayMs` with its old keys at the new node and the rest still here.
   */
  async move(slots: Iterable<number>, from: ClusterNode, to: ClusterNode, halfwayMs = 0): Promise<void> {
    const masters = await this.masters();
    for (const slot of slots) {
      await to.cluster('SETSLOT', slot, 'IMPORTING', from.id);
      await from.cluster('SETSLOT', slot, 'MIGRATING', to.id);
      for (let first = true; ; first = false) {
        const keys = (await from.cluster('GETKEYSINSLOT', slot, first ? 1 : 100)) as string[];
        if (keys.length === 0) break;
        await from.admin.call('MIGRATE', '127.0.0.1', to.port, '', 0, 5000, 'REPLACE', 'KEYS', ...keys);
        if (first && halfwayMs > 0) await new Promise((resolve) => setTimeout(resolve, halfwayMs));
      }
      await to.cluster('SETSLOT', slot, 'NODE', to.id);
      await from.cluster('SETSLOT', slot, 'NODE', to.id);
      // The others would hear of it in time.
      for (const node of masters) await node.cluster('SETSLOT', slot, 'NODE', to.id).catch(() => {});
    }
  }

  async slotsOf(node: ClusterNode): Promise<number[]> {
    const slots = (await node.cluster('SLOTS')) as [number, number, [string, number]][];
    return slots
      .filter(([, , [, port]]) => port === node.port)
      .flatMap(([from, to]) => Array.from({ length: to - from + 1 }, (_, n) => from + n));
  }

  /** Of a node without slots. */
  async remove(node: ClusterNode): Promise<void> {
    this.nodes.splice(this.nodes.indexOf(node), 1);
    await node.close();
    await Promise.all(this.nodes.map((each) => each.cluster('FORGET', node.id)));
  }

  async close(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.close()));
  }

  private async assemble(masters: readonly ClusterNode[], replicas: readonly ClusterNode[]): Promise<void> {
    const [first, ...others] = this.nodes;
    if (first === undefined) throw new RangeError('A cluster has nodes.');
    const share = SLOTS / masters.length;
    await Promise.all(
      this.nodes.map(async (node, index) => {
        await node.cluster('SET-CONFIG-EPOCH', index + 1);
        if (!masters.includes(node)) return;
        const [from, to] = [Math.round(index * share), Math.round((index + 1) * share) - 1];
        await node.cluster('ADDSLOTSRANGE', from, to);
      }),
    );
    await Promise.all(others.map((node) => node.cluster('MEET', '127.0.0.1', first.port, first.busPort)));
    await this.until(async () => {
      const infos = await Promise.all(this.nodes.map((node) => node.info()));
      return infos.every((info) => info.includes(`cluster_known_nodes:${this.nodes.length}`));
    });
    await Promise.all(
      replicas.map((node, index) => node.cluster('REPLICATE', masters[index % masters.length]?.id ?? '')),
    );
    await this.until(async () => {
      const states = await Promise.all(this.nodes.map((node) => node.info()));
      const links = await Promise.all(replicas.map(({ admin }) => admin.info('replication')));
      return (
        states.every((info) => info.includes('cluster_state:ok')) &&
        links.every((info) => info.includes('master_link_status:up'))
      );
    });
  }

  /** Any that answers, but this one. */
  private alive(but?: ClusterNode): ClusterNode {
    const node = this.nodes.find((each) => each !== but && each.server.running);
    if (node === undefined) throw new Error('No node is alive.');
    return node;
  }

  private async mastersBut(gone: ClusterNode): Promise<number[]> {
    const slots = (await this.alive(gone).cluster('SLOTS')) as [number, number, [string, number]][];
    return slots.map(([, , [, port]]) => port);
  }

  private async knows(node: ClusterNode, other: ClusterNode): Promise<boolean> {
    return !node.server.running || String(await node.cluster('NODES')).includes(other.id);
  }

  private async until(condition: () => Promise<boolean>): Promise<void> {
    const limit = performance.now() + 20_000;
    while (!(await condition())) {
      if (performance.now() > limit) throw new Error('The cluster did not come to that state within 20 s.');
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }
}
