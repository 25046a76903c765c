/** What a transaction does, at worst, in pages. */
export interface Work {
  /** Of values that take pages of their own. */
  readonly values: number;
  /** Leaves that it changes: LMDB writes each of them to another page. */
  readonly changed: number;
  /** Rows that it adds: each may split a leaf. */
  readonly added: number;
}

export const NO_WORK: Work = { values: 0, changed: 0, added: 0 };

/** Of the smallest page that LMDB has, what a row may take before its value gets pages of its own. */
const SMALLEST_PAGE_BYTES = 4096;
const INLINE_BYTES = 2000;
const PAGE_HEADER_BYTES = 16;
const PAGE_NUMBER_BYTES = 8;
/** The tree of trees, the tree of free pages, and what saving that one makes of it meanwhile. */
const FIXED = 16;
const META_PAGES = 2;

/** How many pages of its own a value takes. */
export function pagesOfValue(keyLength: number, length: number): number {
  return keyLength + length <= INLINE_BYTES
    ? 0
    : Math.ceil((length + PAGE_HEADER_BYTES) / SMALLEST_PAGE_BYTES);
}

export function sumOf(works: Iterable<Work>): Work {
  let { values, changed, added } = NO_WORK;
  for (const work of works) {
    values += work.values;
    changed += work.changed;
    added += work.added;
  }
  return { values, changed, added };
}

export const timesOf = ({ values, changed, added }: Work, count: number): Work => ({
  values: values * count,
  changed: changed * count,
  added: added * count,
});

/** Of lmdb-js, which does not say what its statistics are. */
interface Tree {
  getStats(): object;
}

interface TreeStats {
  readonly treeDepth: number;
  readonly treeBranchPageCount: number;
  readonly treeLeafPageCount: number;
  readonly overflowPages: number;
}

interface RootStats extends TreeStats {
  readonly pageSize: number;
  readonly lastPageNumber: number;
  readonly free: TreeStats;
}

/** The pages of an LMDB file as they are between two transactions. */
export class PageCounts {
  readonly pageSize: number;
  /** Those after them have never been written by LMDB. */
  readonly used: number;
  /** Of those used, what is free; what the last two transactions freed can't be written yet. */
  readonly free: number;
  private readonly leaves: number;
  private readonly branches: number;
  private readonly depth: number;

  constructor(root: Tree & { resetReadTxn(): void }, trees: readonly Tree[]) {
    // Of the last commit, and without a reader that would keep its pages from being used again.
    root.resetReadTxn();
    const top = root.getStats() as RootStats;
    const stats = trees.map((tree) => tree.getStats() as TreeStats);
    root.resetReadTxn();
    this.pageSize = top.pageSize;
    this.used = top.lastPageNumber + 1;
    this.leaves = sum(stats.map((tree) => tree.treeLeafPageCount));
    this.branches = sum(stats.map((tree) => tree.treeBranchPageCount));
    this.depth = Math.max(...stats.map((tree) => tree.treeDepth));
    this.free = this.used - META_PAGES - sum([top, top.free, ...stats].map(pagesIn));
  }

  /** How many pages the next transaction may write that LMDB has not written before, if no free one fits. */
  pagesOf({ values, changed, added }: Work): number {
    const leaves = Math.min(this.leaves, changed);
    const branches = Math.min(this.branches, changed * Math.max(0, this.depth - 1));
    return leaves + branches + this.pagesBeside(values, added);
  }

  /** The same for one that comes later, when the trees may have grown. */
  pagesOfLater({ values, changed, added }: Work): number {
    return changed * (this.depth + 1) + this.pagesBeside(values, added);
  }

  private pagesBeside(values: number, added: number): number {
    const splits = Math.ceil(added * 1.5) + this.depth;
    const freeList = 4 * Math.ceil((this.used * PAGE_NUMBER_BYTES) / this.pageSize);
    return values + splits + freeList + FIXED;
  }
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);

const pagesIn = (tree: TreeStats): number =>
  tree.treeBranchPageCount + tree.treeLeafPageCount + tree.overflowPages;
