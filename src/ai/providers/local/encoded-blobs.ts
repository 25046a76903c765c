/** Literal base64 and hexadecimal runs that hold readable text, for languages that nothing here can evaluate. */

export interface DecodedBlob {
  readonly encoding: 'base64' | 'base64 of UTF-16' | 'hexadecimal';
  /** 0-based offset of the run in the text. */
  readonly offset: number;
  readonly text: string;
}

const MAX_BLOBS = 25;
/** Runs that are tried; a hostile file may hold a hundred thousand that decode to nothing. */
const MAX_ATTEMPTS = 500;
const MAX_ENCODED_CHARS = 65_536;
const READABLE_SHARE = 0.9;

const HEX = /\b(?:0x)?([0-9a-f]{16,})\b/gi;
const BASE64 = /[A-Za-z0-9+/_-]{16,}={0,2}/g;

export function decodeBlobs(text: string): DecodedBlob[] {
  const blobs: DecodedBlob[] = [];
  const taken = new Set<number>();
  let attempts = 0;
  for (const match of text.matchAll(HEX)) {
    if (blobs.length >= MAX_BLOBS || (attempts += 1) > MAX_ATTEMPTS) break;
    const digits = (match[1] ?? '').slice(0, MAX_ENCODED_CHARS);
    const decoded = readable(Buffer.from(digits, 'hex'));
    if (decoded === undefined || digits.length % 2 !== 0) continue;
    taken.add(match.index);
    blobs.push({ encoding: 'hexadecimal', offset: match.index, text: decoded });
  }
  attempts = 0;
  for (const match of text.matchAll(BASE64)) {
    if (blobs.length >= MAX_BLOBS || (attempts += 1) > MAX_ATTEMPTS) break;
    if (taken.has(match.index)) continue;
    const bytes = Buffer.from(match[0].slice(0, MAX_ENCODED_CHARS), 'base64');
    const utf16 = readableUtf16(bytes);
    const decoded = utf16 ?? readable(bytes);
    if (decoded === undefined) continue;
    const encoding = utf16 === undefined ? 'base64' : 'base64 of UTF-16';
    blobs.push({ encoding, offset: match.index, text: decoded });
  }
  return blobs.sort((a, b) => a.offset - b.offset);
}

function readable(bytes: Buffer): string | undefined {
  if (bytes.length < 8) return undefined;
  try {
    return isReadable(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
}

/** As PowerShell takes its encoded commands. */
function readableUtf16(bytes: Buffer): string | undefined {
  if (bytes.length < 16 || bytes.length % 2 !== 0 || bytes[1] !== 0 || bytes[3] !== 0) return undefined;
  return isReadable(bytes.toString('utf16le'));
}

function isReadable(text: string): string | undefined {
  const readable = text.match(/[\x20-\x7e\n\r\t]/g)?.length ?? 0;
  return readable >= text.length * READABLE_SHARE ? text : undefined;
}
