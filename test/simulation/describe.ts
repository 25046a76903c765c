import type { EntryTable } from './entry-table.js';
import { EPOCH_MS } from './machine-clock.js';

/** For a trace: what is said of a value is its number, of a version its milliseconds since the start. */
export function describe(value: unknown, entries: EntryTable): string {
  const inner = (part: unknown): string => describe(part, entries);
  if (value instanceof Uint8Array) return inner(entries.open(value));
  if (Array.isArray(value)) return `[${value.map(inner).join(', ')}]`;
  if (value instanceof Map) return inner(Object.fromEntries(value));
  if (typeof value !== 'object' || value === null) return withShortVersions(String(value));
  if ('createdAt' in value && 'value' in value) return describeEntry(value);
  const fields = Object.entries(value).filter(([, field]) => field !== undefined);
  return `{${fields.map(([name, field]) => `${name}: ${inner(field)}`).join(', ')}}`;
}

/** Milliseconds since the start, counter, and the end of the node's name. */
export function withShortVersions(text: string): string {
  return text.replaceAll(/\b[0-9a-f]{32}\b/g, (version) => {
    const counter = Number.parseInt(version.slice(12, 16), 16);
    const ms = sinceStart(Number.parseInt(version.slice(0, 12), 16));
    return `v${ms}${counter === 0 ? '' : `.${counter}`}:${version.slice(-4)}`;
  });
}

function describeEntry(entry: object): string {
  const { value, version, tags, expiresAt } = entry as {
    value: { id: number };
    version: string;
    tags: string[];
    expiresAt: number;
  };
  return `#${value.id} ${withShortVersions(version)} until ${sinceStart(expiresAt)} ${tags.join('+')}`;
}

const sinceStart = (ms: number): number => Math.round(ms - EPOCH_MS);
