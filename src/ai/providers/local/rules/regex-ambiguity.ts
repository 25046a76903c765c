/**
 * Finds regular expressions that can backtrack exponentially.
 *
 * The expression becomes an automaton whose states are its characters (Glushkov's construction). It is exponential
 * when some loop of that automaton can be walked in two ways on the same text: then n rounds have 2^n ways. That
 * is found in the product of the automaton with itself: a pair of equal states, from which a pair of different
 * states can be reached, from which the pair of equal states can be reached again.
 * See Weber and Seidl, "On the degree of ambiguity of finite automata" (1991).
 */

/** Characters as ranges of code points, ordered. */
type CharSet = readonly (readonly [number, number])[];

interface Fragment {
  readonly first: readonly number[];
  readonly last: readonly number[];
  readonly nullable: boolean;
}

const MAX_POSITIONS = 160;
const MAX_COPIES = 3;
/** For one expression; a text of the attacker's may hold thousands of them. */
const MAX_STEPS = 200_000;
const MAX_CODE_POINT = 0xffff;
const DIGIT: CharSet = [[48, 57]];
const WORD: CharSet = [
  [48, 57],
  [65, 90],
  [95, 95],
  [97, 122],
];
const SPACE: CharSet = [
  [9, 13],
  [32, 32],
  [160, 160],
];
const NEWLINE: CharSet = [
  [10, 10],
  [13, 13],
];

function inverted(set: CharSet): CharSet {
  const result: [number, number][] = [];
  let from = 0;
  for (const [low, high] of [...set].sort((a, b) => a[0] - b[0])) {
    if (low > from) {
      result.push([from, low - 1]);
    }
    from = Math.max(from, high + 1);
  }
  if (from <= MAX_CODE_POINT) {
    result.push([from, MAX_CODE_POINT]);
  }
  return result;
}

function overlap(a: CharSet, b: CharSet): boolean {
  return a.some(([low, high]) => b.some(([from, to]) => low <= to && from <= high));
}

class TooComplex extends Error {}

/** Builds the automaton while parsing. Look-around, back references and the like match anything or nothing. */
class Automaton {
  readonly sets: CharSet[] = [];
  /** How many ways lead from one position to the next; more than one already is an ambiguity. */
  readonly follow: Map<number, number>[] = [];
  readonly #pattern: string;
  readonly #ignoreCase: boolean;
  #at = 0;

  constructor(pattern: string, flags: string) {
    this.#pattern = pattern;
    this.#ignoreCase = flags.includes('i');
    this.#alternatives();
    if (this.#at < pattern.length) {
      throw new TooComplex();
    }
  }

  #peek(): string {
    return this.#pattern[this.#at] ?? '';
  }

  #eat(text: string): boolean {
    if (this.#pattern.startsWith(text, this.#at)) {
      this.#at += text.length;
      return true;
    }
    return false;
  }

  #alternatives(): Fragment {
    let whole = this.#sequence();
    while (this.#eat('|')) {
      const next = this.#sequence();
      whole = {
        first: [...whole.first, ...next.first],
        last: [...whole.last, ...next.last],
        nullable: whole.nullable || next.nullable,
      };
    }
    return whole;
  }

  #sequence(): Fragment {
    let whole: Fragment = { first: [], last: [], nullable: true };
    while (this.#at < this.#pattern.length && this.#peek() !== '|' && this.#peek() !== ')') {
      whole = this.#concatenate(whole, this.#quantified());
    }
    return whole;
  }

  #concatenate(a: Fragment, b: Fragment): Fragment {
    this.#connect(a.last, b.first);
    return {
      first: a.nullable ? [...a.first, ...b.first] : a.first,
      last: b.nullable ? [...a.last, ...b.last] : b.last,
      nullable: a.nullable && b.nullable,
    };
  }

  #connect(from: readonly number[], to: readonly number[]): void {
    for (const source of from) {
      const ways = this.follow[source];
      for (const target of to) {
        ways?.set(target, (ways.get(target) ?? 0) + 1);
      }
    }
  }

  #quantified(): Fragment {
    const start = this.#at;
    const atom = this.#atom();
    const end = this.#at;
    const [min, max] = this.#bounds();
    if (min === 1 && max === 1) {
      return atom;
    }
    if (max === Infinity) {
      this.#connect(atom.last, atom.first);
      return { ...atom, nullable: atom.nullable || min === 0 };
    }
    if (max === 1) {
      return { ...atom, nullable: true };
    }
    // A bounded repetition is a few copies in a row: enough to see an overlap with what surrounds it.
    return this.#copies(atom, start, end, Math.min(max, MAX_COPIES), Math.min(min, MAX_COPIES));
  }

  #copies(atom: Fragment, start: number, end: number, max: number, min: number): Fragment {
    const after = this.#at;
    const lasts: number[] = min <= 1 ? [...atom.last] : [];
    let first = atom.first;
    let previous = atom;
    for (let copy = 2; copy <= max; copy += 1) {
      this.#at = start;
      const next = this.#atom();
      if (this.#at !== end) {
        throw new TooComplex();
      }
      // Later copies are reached through earlier ones only: skipping would make `x{0,2}` match `x` in two ways.
      this.#connect(previous.last, next.first);
      first = atom.nullable ? [...first, ...next.first] : first;
      lasts.push(...(copy >= min ? next.last : []));
      previous = next;
    }
    this.#at = after;
    return max === 0
      ? { first: [], last: [], nullable: true }
      : { first, last: lasts, nullable: atom.nullable || min === 0 };
  }

  #bounds(): [number, number] {
    const rest = this.#pattern.slice(this.#at, this.#at + 24);
    const match = /^(?:([*+?])|\{(\d+)(,)?(\d*)\})\??/.exec(rest);
    if (!match) {
      return [1, 1];
    }
    this.#at += match[0].length;
    const [, sign, low, comma, high] = match;
    if (sign !== undefined) {
      return [sign === '+' ? 1 : 0, sign === '?' ? 1 : Infinity];
    }
    const min = Number(low);
    return [min, comma === undefined ? min : high ? Number(high) : Infinity];
  }

  #atom(): Fragment {
    if (this.#eat('(')) {
      const isAssertion = /^\?(?:<?[=!])/.test(this.#pattern.slice(this.#at, this.#at + 4));
      this.#at +=
        /^\?(?::|<?[=!]|<[^>]*>)/.exec(this.#pattern.slice(this.#at, this.#at + 60))?.[0].length ?? 0;
      const inner = this.#alternatives();
      if (!this.#eat(')')) {
        throw new TooComplex();
      }
      return isAssertion ? { first: [], last: [], nullable: true } : inner;
    }
    if (this.#eat('^') || this.#eat('$') || this.#eat('\\b') || this.#eat('\\B')) {
      return { first: [], last: [], nullable: true };
    }
    return this.#position(this.#peek() === '[' ? this.#characterClass() : this.#character());
  }

  #position(set: CharSet): Fragment {
    const index = this.sets.length;
    if (index >= MAX_POSITIONS) {
      throw new TooComplex();
    }
    this.sets.push(this.#ignoreCase ? withCases(set) : set);
    this.follow.push(new Map());
    return { first: [index], last: [index], nullable: false };
  }

  #character(): CharSet {
    if (this.#eat('.')) {
      return inverted(NEWLINE);
    }
    if (this.#peek() === '\\') {
      return this.#escape();
    }
    const code = this.#pattern.charCodeAt(this.#at);
    this.#at += 1;
    return [[code, code]];
  }

  #escape(): CharSet {
    const letter = this.#pattern[this.#at + 1] ?? '';
    this.#at += 2;
    const named: Readonly<Record<string, CharSet>> = {
      d: DIGIT,
      D: inverted(DIGIT),
      w: WORD,
      W: inverted(WORD),
      s: SPACE,
      S: inverted(SPACE),
      n: [[10, 10]],
      r: [[13, 13]],
      t: [[9, 9]],
      f: [[12, 12]],
      v: [[11, 11]],
      '0': [[0, 0]],
    };
    const set = named[letter];
    if (set) {
      return set;
    }
    const hex = /^(?:u\{([\da-f]+)\}|u([\da-f]{4})|x([\da-f]{2}))/i.exec(
      this.#pattern.slice(this.#at - 1, this.#at + 12),
    );
    if (hex) {
      this.#at += hex[0].length - 1;
      const code = Math.min(Number.parseInt(hex[1] ?? hex[2] ?? hex[3] ?? '0', 16), MAX_CODE_POINT);
      return [[code, code]];
    }
    if (/[pPk1-9]/.test(letter)) {
      throw new TooComplex();
    }
    return [[letter.charCodeAt(0), letter.charCodeAt(0)]];
  }

  #characterClass(): CharSet {
    this.#at += 1;
    const isNegated = this.#eat('^');
    const ranges: (readonly [number, number])[] = [];
    while (this.#peek() !== ']') {
      if (this.#at >= this.#pattern.length) {
        throw new TooComplex();
      }
      const low = this.#peek() === '\\' ? this.#escape() : this.#classCharacter();
      if (this.#peek() === '-' && this.#pattern[this.#at + 1] !== ']' && low.length === 1) {
        this.#at += 1;
        const high = this.#peek() === '\\' ? this.#escape() : this.#classCharacter();
        ranges.push([low[0]?.[0] ?? 0, high.at(-1)?.[1] ?? 0]);
      } else {
        ranges.push(...low);
      }
    }
    this.#at += 1;
    return isNegated ? inverted(ranges) : ranges;
  }

  #classCharacter(): CharSet {
    const code = this.#pattern.charCodeAt(this.#at);
    this.#at += 1;
    return [[code, code]];
  }
}

function withCases(set: CharSet): CharSet {
  const shifted = set.flatMap(([low, high]) => [
    [Math.max(low, 65) + 32, Math.min(high, 90) + 32] as const,
    [Math.max(low, 97) - 32, Math.min(high, 122) - 32] as const,
  ]);
  return [...set, ...shifted.filter(([low, high]) => low <= high)];
}

/** Pairs of positions that are reachable from a pair on the same text. */
function successors(automaton: Automaton, pair: number): number[] {
  const size = automaton.sets.length;
  const [a, b] = [Math.floor(pair / size), pair % size];
  const found: number[] = [];
  for (const p of automaton.follow[a]?.keys() ?? []) {
    for (const q of automaton.follow[b]?.keys() ?? []) {
      if (overlap(automaton.sets[p] ?? [], automaton.sets[q] ?? [])) {
        found.push(p * size + q);
      }
    }
  }
  return found;
}

/** True when the loop through a position has two ways; walks the product from the pair (position, position). */
function loopsTwice(
  automaton: Automaton,
  position: number,
  known: Map<number, number[]>,
  budget: { steps: number },
): boolean {
  const size = automaton.sets.length;
  const start = position * size + position;
  // Each entry: a pair, and whether the two walks have differed since the start.
  const seen = new Set<number>([start * 2]);
  const queue: number[] = [start * 2];
  for (let entry = queue.pop(); entry !== undefined; entry = queue.pop()) {
    const pair = entry >> 1;
    const differs = entry & 1;
    const next = known.get(pair) ?? successors(automaton, pair);
    known.set(pair, next);
    for (const target of next) {
      const [a, b] = [Math.floor(target / size), target % size];
      const ways = automaton.follow[Math.floor(pair / size)]?.get(a) ?? 1;
      const isSplit = a !== b || (pair % size === Math.floor(pair / size) && a === b && ways > 1);
      const state = target * 2 + (differs || isSplit ? 1 : 0);
      if (target === start && state % 2 === 1) {
        return true;
      }
      budget.steps -= 1;
      if (budget.steps < 0) {
        throw new TooComplex();
      }
      if (!seen.has(state)) {
        seen.add(state);
        queue.push(state);
      }
    }
  }
  return false;
}

/** Whether a pattern can backtrack exponentially; undefined when it is too complex to tell. */
export function isAmbiguous(pattern: string, flags = ''): boolean | undefined {
  if (pattern.length > 1_000 || !/[*+{]/.test(pattern)) {
    return pattern.length > 1_000 ? undefined : false;
  }
  try {
    const automaton = new Automaton(pattern, flags);
    const known = new Map<number, number[]>();
    const budget = { steps: MAX_STEPS };
    return automaton.sets.some((_, position) => loopsTwice(automaton, position, known, budget));
  } catch (error) {
    if (error instanceof TooComplex || error instanceof RangeError) {
      return undefined;
    }
    throw error;
  }
}
