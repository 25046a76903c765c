/** What a value can do harm to; a sanitiser makes it harmless for some of them. */
export const DANGERS = [
  'sql',
  'command',
  'code',
  'path',
  'markup',
  'request',
  'redirect',
  'nosql',
  'regex',
  'header',
  'template',
  'ldap',
  'xpath',
  'key',
  'object',
] as const;
export type Danger = (typeof DANGERS)[number];

/** Who chooses the value. */
export type Channel =
  | 'request'
  | 'browser'
  | 'message'
  | 'archive'
  | 'input'
  | 'terminal'
  | 'response'
  | 'parameter'
  | 'environment';

/** `remote`: anyone on the network; `local`: who sits at the machine; `dynamic`: not known here. */
export type Level = 'remote' | 'local' | 'dynamic' | 'private';

/** One way in which an outside value reaches an expression. */
export interface Trace {
  readonly level: Level;
  readonly channel: Channel;
  /** As written in the source, e.g. `req.query.host`. */
  readonly origin: string;
  /** 1-based line of the source. */
  readonly line: number;
  /** Went through a concatenation or template. */
  readonly composed: boolean;
  readonly safeFor: ReadonlySet<Danger>;
}

export type Taint = readonly Trace[];
export const CLEAN: Taint = [];

const MAX_TRACES = 8;
const RANK: Readonly<Record<Level, number>> = { remote: 3, local: 2, dynamic: 1, private: 0 };

const CHANNEL_LEVEL: Readonly<Record<Channel, Level>> = {
  request: 'remote',
  browser: 'remote',
  message: 'remote',
  archive: 'remote',
  input: 'local',
  terminal: 'local',
  response: 'dynamic',
  parameter: 'dynamic',
  environment: 'private',
};

export function trace(channel: Channel, origin: string, safeFor: readonly Danger[] = [], line = 0): Trace {
  return {
    level: CHANNEL_LEVEL[channel],
    channel,
    origin: origin.slice(0, 120),
    line,
    composed: false,
    safeFor: new Set(safeFor),
  };
}

/** All traces of several taints, without repetitions, strongest first, bounded. */
export function join(...taints: Taint[]): Taint {
  const present = taints.filter((taint) => taint.length > 0);
  if (present.length <= 1) {
    return present[0] ?? CLEAN;
  }
  const unique = new Map<string, Trace>();
  for (const each of present.flat()) {
    const key = `${each.level} ${each.origin} ${each.composed} ${[...each.safeFor].join()}`;
    unique.set(key, each);
  }
  return [...unique.values()].sort((a, b) => RANK[b.level] - RANK[a.level]).slice(0, MAX_TRACES);
}

export function composed(taint: Taint): Taint {
  return taint.map((each) => ({
    ...each,
    composed: true,
    safeFor: new Set<Danger>([...each.safeFor, 'nosql', 'object']),
  }));
}

export function safeFor(taint: Taint, dangers: readonly Danger[] | 'everything'): Taint {
  if (dangers === 'everything' || taint.length === 0) {
    return CLEAN;
  }
  return dangers.length === 0
    ? taint
    : taint.map((each) => ({ ...each, safeFor: new Set([...each.safeFor, ...dangers]) }));
}

/** Parts of an address are chosen freely even where the address as a whole begins with a path. */
export function asUrlParts(taint: Taint): Taint {
  return taint.map((each) => ({
    ...each,
    safeFor: new Set([...each.safeFor].filter((danger) => danger !== 'request' && danger !== 'redirect')),
  }));
}

/** The strongest trace that can do this harm. */
export function threat(taint: Taint, danger: Danger): Trace | undefined {
  return taint.find((each) => each.level !== 'private' && !each.safeFor.has(danger));
}
