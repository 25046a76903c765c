/**
 * Where an entry lies in Redis: `<prefix><namespace>:e:{<key>}`. `e` is the kind (entries; marks and leases get
 * letters of their own), and the braces make the key its hash tag, so that what belongs to one key shares a cluster
 * slot. Namespace and key are escaped so that the mapping is injective: namespace `a` with key `b:x` is not
 * namespace `a:b` with key `x`, and no key can break out of its braces.
 */

/** Everything but the unreserved; lone surrogates too, which UTF-8 would fold into one replacement character. */
const RESERVED_IN_NAMESPACE = /[^A-Za-z0-9_.-]/gu;
const RESERVED_IN_KEY = /[%{}]|\p{Surrogate}/gu;
const ESCAPE = /%([0-9a-f]{6})/g;

const escapeCharacter = (character: string): string =>
  `%${(character.codePointAt(0) ?? 0).toString(16).padStart(6, '0')}`;

const unescape = (text: string): string =>
  text.replace(ESCAPE, (_, hex: string) => String.fromCodePoint(Number.parseInt(hex, 16)));

/** Characters that Redis reads as a pattern in MATCH. */
const escapeGlob = (text: string): string => text.replace(/[\\*?[\]]/g, String.raw`\$&`);

export class Keyspace {
  private readonly head: string;

  constructor(prefix: string, namespace: string) {
    this.head = `${prefix}${namespace.replace(RESERVED_IN_NAMESPACE, escapeCharacter)}:e:{`;
  }

  physical(key: string): string {
    return `${this.head}${key.replace(RESERVED_IN_KEY, escapeCharacter)}}`;
  }

  logical(physical: string): string {
    return unescape(physical.slice(this.head.length, -1));
  }

  /** The MATCH pattern of every key of this namespace that begins with `keyPrefix`. */
  pattern(keyPrefix: string): string {
    return `${escapeGlob(this.head + keyPrefix.replace(RESERVED_IN_KEY, escapeCharacter))}*}`;
  }
}
