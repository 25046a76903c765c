/** Bytes to text, or the verdict that they are not text. */

export type DecodedText =
  | { readonly kind: 'text'; readonly text: string; readonly limits: readonly string[] }
  | { readonly kind: 'binary'; readonly reason: string };

/** A text may hold stray NUL bytes, also to mislead; one with more is taken for binary data. */
const MAX_STRAY_NULS = 4;
const MAX_NUL_SHARE = 0.01;
const MAX_CONTROL_SHARE = 0.1;
/** Names binary data for the report. Alone it decides nothing: `GIF89a/*` is also how a script may begin. */
const BINARY_FORMATS: readonly (readonly [string, readonly number[]])[] = [
  ['an ELF program', [0x7f, 0x45, 0x4c, 0x46]],
  ['a Windows program', [0x4d, 0x5a]],
  ['a ZIP archive', [0x50, 0x4b, 0x03, 0x04]],
  ['a PDF document', [0x25, 0x50, 0x44, 0x46, 0x2d]],
  ['a PNG image', [0x89, 0x50, 0x4e, 0x47]],
  ['a JPEG image', [0xff, 0xd8, 0xff]],
  ['a GIF image', [0x47, 0x49, 0x46, 0x38]],
  ['gzip data', [0x1f, 0x8b]],
  ['a WebAssembly module', [0x00, 0x61, 0x73, 0x6d]],
  ['a Java class', [0xca, 0xfe, 0xba, 0xbe]],
];

export function decodeText(bytes: Uint8Array): DecodedText {
  if (startsWith(bytes, [0xff, 0xfe, 0x00, 0x00])) return binary(bytes, 'it is not UTF-8 or UTF-16');
  const utf16 = utf16Of(bytes);
  return utf16 === undefined ? decodeBytes(bytes) : decodeUtf16(bytes, utf16);
}

function binary(bytes: Uint8Array, reason: string): DecodedText {
  const format = BINARY_FORMATS.find(([, start]) => startsWith(bytes, start))?.[0];
  return {
    kind: 'binary',
    reason: format === undefined ? reason : `${reason}, and it begins like ${format}`,
  };
}

function decodeUtf16(bytes: Uint8Array, encoding: 'utf-16le' | 'utf-16be'): DecodedText {
  const text = new TextDecoder(encoding).decode(bytes);
  return { kind: 'text', text, limits: [`The bytes were read as ${encoding.toUpperCase()}.`] };
}

/** By its byte order mark, or by the NUL bytes that ASCII characters have in it on one side only. */
function utf16Of(bytes: Uint8Array): 'utf-16le' | 'utf-16be' | undefined {
  if (startsWith(bytes, [0xff, 0xfe])) return 'utf-16le';
  if (startsWith(bytes, [0xfe, 0xff])) return 'utf-16be';
  const sample = bytes.subarray(0, 4_096);
  if (sample.length < 8 || bytes.length % 2 !== 0) return undefined;
  const nuls = [0, 0];
  for (const [index, byte] of sample.entries()) if (byte === 0) nuls[index % 2] = (nuls[index % 2] ?? 0) + 1;
  const [even = 0, odd = 0] = nuls;
  const half = sample.length / 2;
  if (odd > half * 0.7 && even < half * 0.02) return 'utf-16le';
  if (even > half * 0.7 && odd < half * 0.02) return 'utf-16be';
  return undefined;
}

function decodeBytes(bytes: Uint8Array): DecodedText {
  const { nuls, controls } = countControls(bytes);
  if (nuls > Math.max(MAX_STRAY_NULS, bytes.length * MAX_NUL_SHARE))
    return binary(bytes, 'it contains NUL bytes');
  if (controls > bytes.length * MAX_CONTROL_SHARE) return binary(bytes, 'much of it is control characters');
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return { kind: 'text', text, limits: nuls > 0 ? ['The text contains NUL bytes.'] : [] };
  } catch {
    // Not UTF-8. Old scripts come in one-byte encodings, but those have no such characters at all.
    if (nuls > 0) return binary(bytes, 'it contains NUL bytes');
    if (controls > 0) return binary(bytes, 'it is not valid text in UTF-8 or UTF-16');
    const limit = 'The text is not valid UTF-8; its bytes were read as Windows-1252.';
    return { kind: 'text', text: new TextDecoder('windows-1252').decode(bytes), limits: [limit] };
  }
}

function countControls(bytes: Uint8Array): { nuls: number; controls: number } {
  let nuls = 0;
  let controls = 0;
  for (const byte of bytes) {
    if (byte === 0) nuls += 1;
    // Tab, line feed, vertical tab, form feed, carriage return and escape occur in text.
    else if (byte < 0x20 && !(byte >= 0x09 && byte <= 0x0d) && byte !== 0x1b) controls += 1;
  }
  return { nuls, controls };
}

function startsWith(bytes: Uint8Array, start: readonly number[]): boolean {
  return bytes.length >= start.length && start.every((byte, index) => bytes[index] === byte);
}
