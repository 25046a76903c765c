/** Signs that code hides what it does, for code that could not be decoded. Each is a sentence's subject. */

interface Marker {
  readonly sign: string;
  readonly pattern: RegExp;
  /** Matches from which the sign counts. */
  readonly least: number;
  /** What a match has to contain as well. */
  readonly containing?: readonly string[];
}

const MARKERS: readonly Marker[] = [
  { sign: 'identifiers like "_0x3f2a"', pattern: /\b_0x[0-9a-f]{3,8}\b/g, least: 6 },
  { sign: 'long runs of encoded text', pattern: /["'`][A-Za-z0-9+/=%_-]{600}/g, least: 1 },
  { sign: 'text written in escapes', pattern: /(?:\\x[0-9a-f]{2}|\\u[0-9a-f]{4}){6}/gi, least: 8 },
  {
    sign: 'code written in brackets and signs only (JSFuck)',
    pattern: /[[\]()!+]{400}/g,
    least: 1,
    containing: ['[', '!', '+'],
  },
  { sign: 'a packer ("p,a,c,k,e,d")', pattern: /function\s?\(p,\s?a,\s?c,\s?k,\s?e,\s?[dr]\)/g, least: 1 },
  { sign: 'tables of character codes', pattern: /(?:\b(?:0x[0-9a-f]{1,6}|\d{1,6})\s?,\s?){60}/gi, least: 1 },
];

export function obfuscationSigns(code: string): string[] {
  return MARKERS.filter((marker) => isIn(code, marker)).map(({ sign }) => sign);
}

function isIn(code: string, { pattern, least, containing = [] }: Marker): boolean {
  let found = 0;
  for (const [match] of code.matchAll(pattern)) {
    if (containing.every((part) => match.includes(part))) found += 1;
    if (found >= least) return true;
  }
  return false;
}
