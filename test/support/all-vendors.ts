import type { VendorName } from '../../src/ai/analysis.js';
import { VENDOR_NAMES } from '../../src/ai/analysis.js';
import { analysisAnswer } from './analysis-answer.js';
import { Athena } from './athena.js';
import { LoopbackVendor } from './vendors/loopback-vendor.js';

export type Vendors = Readonly<Record<VendorName, LoopbackVendor>>;

export async function startVendors(): Promise<Vendors> {
  const start = async (kind: VendorName): Promise<readonly [VendorName, LoopbackVendor]> => [
    kind,
    await LoopbackVendor.start({ kind, answer: analysisAnswer }),
  ];
  return Object.fromEntries(await Promise.all(VENDOR_NAMES.map(start))) as unknown as Vendors;
}

/** Variables of an instance that uses these. */
export const variablesOf = (vendors: Partial<Vendors>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(vendors).flatMap(([name, { url }]) => [
      [`${name.toUpperCase()}_BASE_URL`, url],
      [`${name.toUpperCase()}_API_KEY`, `sk-${name}-0123456789`],
    ]),
  );

export const startWith = (
  vendors: Partial<Vendors>,
  variables: Record<string, string> = {},
): Promise<Athena> => Athena.start({ ...variablesOf(vendors), ...variables });
