import type { AnalysisType } from './analysis.js';
import type { ProviderUsage } from './providers/ai-provider.js';

/** Of whom, and for what. */
export interface CostAccount {
  readonly provider: string;
  readonly model: string;
  readonly type: AnalysisType;
}

export interface CostCounts {
  /** Calls of the provider that were billed, or answers that were had without one. */
  readonly answers: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** US dollars, of those with a price. */
  readonly costUsd: number;
}

export interface CostStats {
  readonly spent: CostCounts;
  /** What the answers that came from the cache, or from a computation of somebody else, would have cost. */
  readonly saved: CostCounts;
  readonly accounts: readonly (CostAccount & { readonly spent: CostCounts; readonly saved: CostCounts })[];
}

type Side = 'spent' | 'saved';
type Account = CostAccount & Record<Side, Record<keyof CostCounts, number>>;

/**
 * What was paid and what was not. `spent` has every call that told its usage, also those that failed; `saved` has the usage
 * of every answer that was given without a call. Where nothing fails, both together are what the same requests would have
 * cost without a cache.
 */
export class CostLedger {
  private readonly accounts = new Map<string, Account>();

  add(side: Side, { provider, model, type }: CostAccount, usage: ProviderUsage): void {
    const name = JSON.stringify([provider, model, type]);
    const account = this.accounts.get(name) ?? {
      provider,
      model,
      type,
      spent: noCounts(),
      saved: noCounts(),
    };
    this.accounts.set(name, account);
    const counts = account[side];
    counts.answers += 1;
    counts.inputTokens += usage.inputTokens;
    counts.outputTokens += usage.outputTokens;
    counts.costUsd += usage.costUsd ?? 0;
  }

  stats(): CostStats {
    const accounts = [...this.accounts.values()];
    return {
      spent: sumOf(accounts, 'spent'),
      saved: sumOf(accounts, 'saved'),
      accounts: structuredClone(accounts),
    };
  }
}

function noCounts(): Record<keyof CostCounts, number> {
  return { answers: 0, inputTokens: 0, outputTokens: 0, costUsd: 0 };
}

function sumOf(accounts: readonly Account[], side: Side): CostCounts {
  const sum = noCounts();
  for (const account of accounts) {
    for (const name of Object.keys(sum) as (keyof CostCounts)[]) sum[name] += account[side][name];
  }
  return sum;
}
