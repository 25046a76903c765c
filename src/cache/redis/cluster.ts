import { setTimeout as sleep } from 'node:timers/promises';
import { StorageClosedError, StorageUnavailableError } from '../cache.errors.js';
import type { RedisAddress, RedisSettings } from './client.js';
import { addressOf, retryDelayMs } from './client.js';
import type { Piece } from './cluster-call.js';
import { ClusterCall } from './cluster-call.js';
import { RedisConnection } from './connection.js';
import type { Budget, RedisEvent, RedisInspection, RedisLink, RedisLinkOptions, RedisState } from './link.js';
import { valueOf } from './pipeline.js';
import { describeError, reactionTo } from './redis-errors.js';
import type { Reply, Request } from './requests.js';
import type { SlotMap } from './slots.js';
import { readSlotMap, slotOf } from './slots.js';

/** Where a key is can change under a call so often; then it is served locally, and what it wrote waits. */
const MAX_ROUNDS = 5;
/** A slot that is on its way answers TRYAGAIN to what has one of its keys here and one there. */
const AGAIN_AFTER_MS = 15;
/** A map that nobody contradicts is looked at again so often: for replicas that became masters unnoticed. */
const MAP_AGAIN_MS = 5000;
const LONGEST_SEARCH_PAUSE_MS = 500;

interface Server extends RedisAddress {
  readonly connection: RedisConnection;
}

/**
 * A cluster as one Redis: a connection to each master, and the map of the slots. It is available while all masters that
 * have slots are: a cluster does not serve without one of them either, by its default (`cluster-require-full-coverage`),
 * and the merge needs to know all of them. So a master that stops costs each caller at most one time-out, and until its
 * replica has taken over every instance serves from its own storage.
 */
export class RedisCluster implements RedisLink {
  masters: readonly RedisConnection[] = [];
  private readonly onEvent: (event: RedisEvent) => void;
  private readonly random: () => number;
  private readonly now: () => number;
  private readonly watchers: ((available: boolean) => void)[] = [];
  private readonly servers = new Map<string, Server>();
  private map: SlotMap = { masters: [], replicas: [], owners: [] };
  private current: RedisState = 'connecting';
  /** What the last node that was asked said of the cluster as a whole. */
  private served = false;
  private awaySince: number;
  private attempts = -1;
  private announced = new Set<string>();
  /** Why a node could not be connected to, since all was well. */
  private readonly faults = new Map<string, string>();
  private search: Promise<void> | undefined;
  private searchTimer: NodeJS.Timeout | undefined;
  private readonly firstAttempt: Promise<void>;

  constructor(
    readonly settings: RedisSettings,
    { onEvent = () => {}, random = Math.random, now = Date.now }: RedisLinkOptions = {},
  ) {
    this.onEvent = onEvent;
    this.random = random;
    this.now = now;
    this.awaySince = now();
    this.firstAttempt = this.look().then(() => this.reachable());
  }

  get state(): RedisState {
    return this.current;
  }

  get available(): boolean {
    return this.current === 'ready';
  }

  /** Of all masters. */
  get address(): string {
    const known = this.map.masters.length > 0 ? this.map.masters : (this.settings.nodes ?? []);
    return known.map(addressOf).sort().join(',');
  }

  watch(listener: (available: boolean) => void): void {
    this.watchers.push(listener);
  }

  async settled(maxMs: number): Promise<void> {
    const patience = new AbortController();
    const limit = sleep(maxMs, undefined, { signal: patience.signal }).catch(() => {});
    await Promise.race([this.firstAttempt, limit]);
    patience.abort();
  }

  masterOf(key: string): RedisConnection {
    return this.owner(slotOf(key)).connection;
  }

  async send(requests: readonly Request[], budget?: Budget): Promise<readonly Reply[]> {
    if (this.current === 'closed') throw new StorageClosedError('redis');
    if (this.current !== 'ready')
      throw new StorageUnavailableError('redis', `the cluster is ${this.current}`);
    const time = new CallTime(budget, this.settings.commandTimeoutMs);
    const call = new ClusterCall(requests);
    try {
      await this.settle(call.pieces, time);
    } catch (error) {
      this.lookSoon();
      throw error;
    }
    return call.replies;
  }

  async inspect(): Promise<RedisInspection> {
    if (!this.available) throw new StorageUnavailableError('redis', `the cluster is ${this.current}`);
    const all = await Promise.all(this.masters.map((master) => master.inspect()));
    const joined = (values: readonly string[]): string => [...new Set(values)].join(', ');
    const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
    const limits = all.map(({ maxMemoryBytes }) => maxMemoryBytes);
    return {
      latencyMs: Math.max(...all.map(({ latencyMs }) => latencyMs)),
      version: joined(all.map(({ version }) => version)),
      usedMemoryBytes: sum(all.map(({ usedMemoryBytes }) => usedMemoryBytes)),
      maxMemoryBytes: limits.includes(0) ? 0 : sum(limits),
      evictionPolicy: joined(all.map(({ evictionPolicy }) => evictionPolicy)),
    };
  }

  async close(): Promise<void> {
    if (this.current === 'closed') return;
    this.become('closed');
    clearTimeout(this.searchTimer);
    await Promise.all([...this.servers.values()].map(({ connection }) => connection.close()));
    this.onEvent({ type: 'end', address: this.address });
  }

  /** What comes last waits for the others, unless one server executes all of it in its order. */
  private async settle(pieces: readonly Piece[], time: CallTime): Promise<void> {
    const isLast = ({ request }: Piece): boolean => request.last === true;
    const late = pieces.filter(isLast);
    const early = late.length === 0 ? pieces : pieces.filter((piece) => !isLast(piece));
    const places = new Set(pieces.map(({ slot }) => this.owner(slot)));
    if (late.length === 0 || early.length === 0 || places.size === 1) {
      const moved = await this.round(pieces, time);
      if (moved.length === 0) return;
      await this.settleAll(moved, time);
    } else {
      await this.settleAll(early, time);
    }
    if (late.length > 0 && early.length > 0) await this.settleAll(late, time);
  }

  private async settleAll(pieces: readonly Piece[], time: CallTime): Promise<void> {
    let open = pieces;
    for (let round = 0; open.length > 0 && round < MAX_ROUNDS; round += 1) {
      if (open.some(({ reply }) => reply?.[0]?.message.startsWith('TRYAGAIN'))) {
        await sleep(Math.min(AGAIN_AFTER_MS * (0.5 + this.random()), time.leftMs));
      }
      open = await this.round(open, time);
    }
  }

  /** Sends all at once, one pipeline for each server; returns what has to be sent again, and knows where. */
  private async round(pieces: readonly Piece[], time: CallTime): Promise<Piece[]> {
    const groups = Map.groupBy(pieces, ({ slot, target }) =>
      target === undefined ? this.owner(slot) : this.open(target),
    );
    const open = await Promise.all(
      [...groups].map(async ([{ connection }, group]) => {
        if (!connection.available) await connection.settled(time.leftMs);
        const requests = group.map(({ request, asking }) =>
          asking === true ? { ...request, asking } : request,
        );
        const replies = await connection.send(requests, time.budget());
        for (const [index, piece] of group.entries()) {
          const reply = replies[index];
          if (reply !== undefined) piece.reply = reply;
        }
        return group.filter((piece) => this.mustGoOn(piece));
      }),
    );
    return open.flat();
  }

  /** By the answer, see the specification, "Redirection and resharding". */
  private mustGoOn(piece: Piece): boolean {
    const error = piece.reply?.[0];
    if (error == null) return false;
    const reaction = reactionTo(error);
    if (reaction?.call === 'again') return true;
    if (reaction?.call !== 'elsewhere') return false;
    const [kind, , address = ''] = error.message.split(' ');
    piece.asking = kind === 'ASK';
    // A node that does not know its own name means the one that was asked.
    piece.target = address.startsWith(':')
      ? addressOf({ ...this.owner(piece.slot), port: Number(address.slice(1)) })
      : address;
    if (kind === 'MOVED') this.lookSoon();
    return true;
  }

  private owner(slot: number): Server {
    const address = this.map.owners[slot] ?? this.map.masters[0];
    if (address === undefined) throw new StorageUnavailableError('redis', 'the cluster is not known');
    return this.open(addressOf(address), address);
  }

  private open(name: string, address = parseAddress(name)): Server {
    const known = this.servers.get(name);
    if (known !== undefined) return known;
    const { nodes: _, ...shared } = this.settings;
    const connection: RedisConnection = new RedisConnection(
      { ...shared, ...address, mode: 'standalone', db: 0 },
      { random: this.random, now: this.now, onEvent: (event) => this.hear(name, event) },
    );
    connection.watch(() => this.evaluate());
    const server = { ...address, connection };
    this.servers.set(name, server);
    return server;
  }

  /** Of single servers what an operator has to look at; that all is well is said once, for all of them. */
  private hear(name: string, event: RedisEvent): void {
    if (event.type === 'error') this.faults.set(name, event.message);
    if (this.current === 'closed' || !this.isMaster(name)) return;
    if (event.type === 'unresponsive' || event.type === 'close') this.onEvent(event);
    if (event.type === 'error') this.announce(`${name} ${event.message}`, event);
  }

  private isMaster(name: string): boolean {
    return this.map.masters.some((address) => addressOf(address) === name);
  }

  private announce(kind: string, event: RedisEvent): void {
    if (this.announced.has(kind)) return;
    this.announced.add(kind);
    this.onEvent(event);
  }

  /** Available or not, by what is known now; `anew`: a master is another one, so what it has may be older. */
  private evaluate(anew = false): void {
    if (this.current === 'closed') return;
    const states = this.masters.map(({ state }) => state);
    const ready = this.served && states.length > 0 && states.every((state) => state === 'ready');
    if (anew && this.current === 'ready') this.leave('connecting');
    if (ready && this.current !== 'ready') this.arrive();
    if (!ready) this.leave(states.includes('unresponsive') ? 'unresponsive' : 'connecting');
  }

  private arrive(): void {
    this.become('ready');
    const awayMs = this.now() - this.awaySince;
    this.onEvent({ type: 'ready', address: this.address, awayMs, attempts: this.attempts });
    this.attempts = 0;
    this.announced = new Set();
    this.faults.clear();
  }

  private leave(state: RedisState): void {
    if (this.current === 'ready') {
      this.awaySince = this.now();
      this.lookSoon();
    }
    this.become(state);
  }

  private become(state: RedisState): void {
    const before = this.available;
    this.current = state;
    if (this.available !== before) for (const tell of this.watchers) tell(this.available);
  }

  /** Asks who has which slots, and again after a while, for ever: soon while something is wrong. */
  private look(): Promise<void> {
    clearTimeout(this.searchTimer);
    this.searchTimer = undefined;
    this.search ??= this.ask().finally(() => {
      this.search = undefined;
      this.attempts = this.available ? 0 : this.attempts + 1;
      const searchMs = Math.min(LONGEST_SEARCH_PAUSE_MS, retryDelayMs(this.attempts, this.random));
      this.lookAfter(this.available ? MAP_AGAIN_MS * (0.5 + this.random()) : searchMs);
    });
    return this.search;
  }

  /** Instances that were contradicted together do not ask together. */
  private lookSoon(): void {
    if (this.search === undefined) this.lookAfter(this.random() * 50);
  }

  private lookAfter(ms: number): void {
    clearTimeout(this.searchTimer);
    if (this.current === 'closed') return;
    this.searchTimer = setTimeout(() => void this.look(), ms).unref();
  }

  private async ask(): Promise<void> {
    let reason = 'no node is configured';
    let unserved: SlotMap | undefined;
    for (const [name, address] of this.informants()) {
      try {
        const { map, served } = await this.mapBy(this.open(name, address));
        if (this.current === 'closed') return;
        if (served) return this.adopt(map, true);
        if (map.masters.length > 0) unserved ??= map;
      } catch (error) {
        const said = error instanceof StorageUnavailableError ? error.reason : describeError(error);
        reason = this.faults.get(name) ?? said;
      }
    }
    if (this.current === 'closed') return;
    if (unserved !== undefined) {
      this.adopt(unserved, false);
      reason = 'CLUSTERDOWN The cluster is down';
    }
    const { address } = this;
    this.announce(reason, { type: 'error', address, message: reason });
  }

  /** Those that answer first; then whoever else was ever named. */
  private informants(): [name: string, address: RedisAddress][] {
    const named = [...this.map.masters, ...this.map.replicas, ...(this.settings.nodes ?? [])];
    const answers = (name: string): boolean => this.servers.get(name)?.connection.available === true;
    return [...new Map(named.map((address) => [addressOf(address), address]))]
      .map((informant) => ({ informant, rank: this.random() + (answers(informant[0]) ? 0 : 1) }))
      .sort((a, b) => a.rank - b.rank)
      .map(({ informant }) => informant);
  }

  private async mapBy({ connection, host, port }: Server): Promise<{ map: SlotMap; served: boolean }> {
    const timeoutMs = Math.min(this.settings.connectTimeoutMs, 2 * this.settings.commandTimeoutMs);
    if (!connection.available) await connection.settled(timeoutMs);
    const [slots, info] = await connection.send(
      [
        { run: 'CLUSTER', args: ['SLOTS'] },
        { run: 'CLUSTER', args: ['INFO'] },
      ],
      { timeoutMs, blamesServer: true },
    );
    const map = readSlotMap(valueOf(slots), { host, port });
    return { map, served: map.masters.length > 0 && /cluster_state:ok/.test(String(valueOf(info))) };
  }

  private adopt(map: SlotMap, served: boolean): void {
    const former = new Set(this.masters);
    this.map = map;
    this.served = served;
    const masters = map.masters.map((address) => this.open(addressOf(address), address).connection);
    const anew = former.size > 0 && masters.some((master) => !former.has(master));
    const isSame = !anew && masters.length === former.size;
    if (!isSame) this.masters = masters;
    for (const [name, { connection }] of this.servers) {
      if (masters.includes(connection)) continue;
      this.servers.delete(name);
      void connection.close();
    }
    this.evaluate(!isSame);
  }

  /** After the first map: until each master was tried. */
  private async reachable(): Promise<void> {
    await Promise.all(this.masters.map((master) => master.settled(this.settings.connectTimeoutMs)));
  }
}

/** What is left to a call, however many rounds it takes. */
class CallTime {
  private readonly until: number;

  constructor(
    private readonly given: Budget | undefined,
    private readonly commandTimeoutMs: number,
  ) {
    this.until = performance.now() + (given?.timeoutMs ?? commandTimeoutMs);
  }

  get leftMs(): number {
    return Math.max(0, this.until - performance.now());
  }

  /** Of a server that had less than half of the time nothing is concluded. */
  budget(): Budget {
    const timeoutMs = this.leftMs;
    if (timeoutMs === 0) throw new StorageUnavailableError('redis', 'the time of this call is over');
    const isCallers = this.given === undefined || this.given.blamesServer === true;
    return { timeoutMs, blamesServer: isCallers && timeoutMs >= this.commandTimeoutMs / 2 };
  }
}

function parseAddress(name: string): RedisAddress {
  const colon = name.lastIndexOf(':');
  return { host: name.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(name.slice(colon + 1)) };
}
