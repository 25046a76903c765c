/**
 * Where an entry lies in Redis: `<prefix><namespace>:e:{<key>}`. `e` is the kind (the value; `g` is its guard, `l` the
 * fence of a running factory, `o` its lease, `p` what it has told so far and `f` that others follow it; `<prefix><namespace>:m` are the namespace's marks, and
 * `i` the beacons of a cluster), and the braces make the key its
 * hash tag, so that what belongs to one key shares a cluster slot. Namespace and key are escaped so that the mapping is
 * injective: namespace `a` with key `b:x` is not namespace `a:b` with key `x`, and no key can break out of its braces.
 */

/** Everything but the unreserved; lone surrogates too, which UTF-8 would fold into one replacement character. */
const RESERVED_IN_NAMESPACE = /[^A-Za-z0-9_.-]/gu;
const RESERVED_IN_KEY = /[%{}]|\p{Surrogate}/gu;
const RESERVED_IN_MARK = /%|\p{Surrogate}/gu;
const ESCAPE = /%([0-9a-f]{6})/g;

const escapeCharacter = (character: string): string =>
  `%${(character.codePointAt(0) ?? 0).toString(16).padStart(6, '0')}`;

const unescape = (text: string): string =>
  text.replace(ESCAPE, (_, hex: string) => String.fromCodePoint(Number.parseInt(hex, 16)));

/** The field of a mark in the record, and back. */
export const markField = (name: string): string => name.replace(RESERVED_IN_MARK, escapeCharacter);
export const markName = unescape;

const taggedTail = (key: string): string => `${key.replace(RESERVED_IN_KEY, escapeCharacter)}}`;

/** Characters that Redis reads as a pattern in MATCH. */
const escapeGlob = (text: string): string => text.replace(/[\\*?[\]]/g, String.raw`\$&`);

export class Keyspace {
  /** The record of the namespace's marks. */
  readonly marks: string;
  private readonly head: string;
  private readonly guardHead: string;
  private readonly fenceHead: string;
  private readonly leaseHead: string;
  private readonly interestHead: string;
  private readonly partsHead: string;
  private readonly beaconHead: string;

  constructor(prefix: string, namespace: string) {
    const space = prefix + namespace.replace(RESERVED_IN_NAMESPACE, escapeCharacter);
    this.marks = `${space}:m`;
    this.head = `${space}:e:{`;
    this.guardHead = `${space}:g:{`;
    this.fenceHead = `${space}:l:{`;
    this.leaseHead = `${space}:o:{`;
    this.interestHead = `${space}:f:{`;
    this.partsHead = `${space}:p:{`;
    this.beaconHead = `${space}:i:{`;
  }

  physical(key: string): string {
    return this.head + taggedTail(key);
  }

  /** Value, guard and fence of a key, in one cluster slot. */
  all(key: string): [value: string, guard: string, fence: string] {
    const tail = taggedTail(key);
    return [this.head + tail, this.guardHead + tail, this.fenceHead + tail];
  }

  /** Whose the computation of a key is; in the same slot. */
  lease(key: string): string {
    return this.leaseHead + taggedTail(key);
  }

  /** Whether others follow the computation of a key, and what it has told so far; in the same slot. */
  relay(key: string): [interest: string, parts: string] {
    const tail = taggedTail(key);
    return [this.interestHead + tail, this.partsHead + tail];
  }

  /** See `beacons.ts`. */
  beacon(tag: string): string {
    return `${this.beaconHead}${tag}}`;
  }

  logical(physical: string): string {
    return unescape(physical.slice(this.head.length, -1));
  }

  /** The MATCH pattern of every key of this namespace that begins with `keyPrefix`. */
  pattern(keyPrefix: string): string {
    return `${escapeGlob(this.head + keyPrefix.replace(RESERVED_IN_KEY, escapeCharacter))}*}`;
  }
}

const PLACE = /^([^:]*):(?:m|([egofp]):\{(.*)\})$/s;

/** Whose name this is: of which namespace, and which key; or for undefined of its marks. */
export interface Place {
  readonly namespace: string;
  readonly key: string | undefined;
  /** The lease of the key, and not what is stored. */
  readonly isLease: boolean;
  /** Neither: what concerns the parts of its running computation. */
  readonly relay?: RelayNews;
}

/** What has changed: whether others follow a computation, or what it has told. */
export type RelayNews = 'interest' | 'parts';

const RELAY_NEWS: Readonly<Record<string, RelayNews>> = { f: 'interest', p: 'parts' };

/** Undefined: none of these. */
export function placeOf(prefix: string, physical: string): Place | undefined {
  if (!physical.startsWith(prefix)) return undefined;
  const [whole, namespace = '', kind = '', key] = PLACE.exec(physical.slice(prefix.length)) ?? [];
  if (whole === undefined) return undefined;
  const name = key === undefined ? undefined : unescape(key);
  const place = { namespace: unescape(namespace), key: name, isLease: kind === 'o' };
  const relay = RELAY_NEWS[kind];
  return relay === undefined ? place : { ...place, relay };
}
