/**
 * What an analyst looks for first in decoded code: where it connects to, what it touches, which doors it uses.
 * By text search, so a mention in a comment counts too; nothing here is a verdict.
 */

export interface IndicatorGroup {
  readonly title: string;
  /** Distinct, in order of appearance, at most `MAX_LISTED`. */
  readonly values: readonly string[];
  /** How many more there are. */
  readonly more: number;
}

const MAX_LISTED = 20;
/** Distinct values that are remembered; beyond it only "more" is known. */
const MAX_DISTINCT = 1_000;
const MAX_SCANNED_CHARS = 2_000_000;

const URL_PATTERN = /\b(?:https?|wss?|ftp):\/\/[^\s"'`<>\\(){}|^]{3,400}/gi;
const IPV4_PATTERN = /(?<![\w.])\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?![\w.])/g;
const HOST_PATTERN = /(?<=["'`/@])(?:[a-z0-9-]{1,63}\.){1,5}[a-z]{2,24}(?=["'`:/])/gi;
const PATH_PATTERN =
  /(?<=["'`=\s(])(?:\/(?:etc|tmp|var|usr|home|root|proc|dev|bin|sbin|opt|Users|Library|Applications)\/[\w./@%+~-]{1,200}|~\/[\w./-]{1,200}|[A-Za-z]:\\{1,2}[\w\\ .()-]{2,200}|%[A-Z]{3,20}%[\w\\.-]{0,200})/g;
const COMMAND_PATTERN =
  /(?<=["'`])(?:(?:sudo |cmd(?:\.exe)? \/c )?(?:curl|wget|powershell(?:\.exe)?|pwsh|bash|sh|nc|ncat|chmod|chown|rm|certutil|mshta|rundll32|regsvr32|schtasks|crontab|bitsadmin|taskkill|reg|netsh|whoami|ssh|scp|python3?|node|npm|net) |cmd(?:\.exe)? \/c )[^"'`\n]{1,200}/g;
const ENVIRONMENT_PATTERN = /\bprocess\.env(?:\.([A-Za-z_$][\w$]{0,80})|\[\s?["']([^"'\n]{1,80})["']\s?\])/g;
const MODULE_PATTERN =
  /\b(?:require|import)\s?\(\s?["'`]([^"'`\n]{1,120})["'`]\s?\)|\bfrom\s?["']([^"'\n]{1,120})["']|\bimport\s?["']([^"'\n]{1,120})["']/g;

/** Quoted text of some length: what the program says, asks for, or sends. */
const TEXT_PATTERN = /(["'`])([^"'`\n\\<>{}]{12,160})\1/g;

/** Endings that a quoted name with dots needs to be taken for a host: `user.name` and `index.js` are not. */
const HOST_ENDINGS = new Set(
  (
    'com net org io ru cn info biz xyz top dev app site online club su tk ml ga cf gq pw cc me co uk de fr nl eu ' +
    'us br in jp kr ir ua pl it es se ch at be tv ws link live shop store tech cloud example test local onion'
  ).split(' '),
);

/** The doors of a platform, by what opens them. */
const APIS: readonly (readonly [title: string, pattern: RegExp])[] = [
  [
    'Network',
    /\b(?:fetch|XMLHttpRequest|WebSocket|EventSource|sendBeacon|importScripts|axios|RTCPeerConnection)\b|\bhttps?\.(?:get|request)\b|\bnet\.(?:connect|createConnection|createServer)\b|\bdns\.(?:lookup|resolve)\w{0,8}|\bMSXML2\.(?:Server)?XMLHTTP\b/g,
  ],
  [
    'Processes',
    /\bchild_process\b|\b(?:exec|spawn|execFile)Sync\b|\bspawn\b|\bWScript\.Shell\b|\bShell\.Application\b|\bprocess\.(?:kill|dlopen|binding)\b|\bcluster\.fork\b/g,
  ],
  [
    'Files',
    /\b(?:readFile|writeFile|appendFile|unlink|rmdir|readdir|createReadStream|createWriteStream|chmod|copyFile)(?:Sync)?\b|\bScripting\.FileSystemObject\b|\bADODB\.Stream\b/g,
  ],
  [
    'Code made from text',
    /\beval\b|\bnew Function\b|\bFunction\((?=["'`])|\bvm\.(?:run\w{1,20}|Script)\b|\bexecScript\b|\bdocument\.write(?:ln)?\b|\bset(?:Timeout|Interval)\(\s?(?=["'`])/g,
  ],
  [
    'Page and browser data',
    /\bdocument\.cookie\b|\b(?:local|session)Storage\b|\bindexedDB\b|\binnerHTML\b|\bnavigator\.(?:clipboard|userAgent|credentials)\b|\bonkey(?:down|press|up)\b|["'`]key(?:down|press|up)["'`]|\bpostMessage\b|\b(?:location\.(?:href|replace|assign))\b|\bgetUserMedia\b|\bwindow\.ethereum\b/g,
  ],
  [
    'Encoding and cryptography',
    /\batob\b|\bbtoa\b|\bfromCharCode\b|\bunescape\b|\bcreate(?:Cipher|Decipher)(?:iv)?\b|\bcrypto\.subtle\b|\bcreateHash\b|\bBuffer\.from\b/g,
  ],
];

export function findIndicators(text: string): IndicatorGroup[] {
  const scanned = text.slice(0, MAX_SCANNED_CHARS);
  const urls = [...scanned.matchAll(URL_PATTERN)].map((match) => match[0].replace(/[.,;:]{1,3}$/, ''));
  const ips = [...scanned.matchAll(IPV4_PATTERN)].map((match) => match[0]).filter(isAddress);
  const hosts = [
    ...urls.map(hostOf),
    ...[...scanned.matchAll(HOST_PATTERN)].map((match) => match[0]).filter(isHost),
  ];
  const groups = [
    group('Addresses (URL)', urls),
    group(
      'Hosts',
      hosts.map((host) => host.toLowerCase()).filter((host) => host !== '' && !isAddress(host)),
    ),
    group('IP addresses', ips),
    group('File paths', captures(scanned, PATH_PATTERN)),
    group('Commands', captures(scanned, COMMAND_PATTERN)),
    group('Environment variables', captures(scanned, ENVIRONMENT_PATTERN)),
    group('Modules', captures(scanned, MODULE_PATTERN)),
    ...APIS.map(([title, pattern]) => group(`Interfaces: ${title}`, captures(scanned, pattern))),
    group(
      'Texts',
      [...scanned.matchAll(TEXT_PATTERN)].map((match) => match[2] ?? ''),
    ),
  ];
  return groups.filter(({ values }) => values.length > 0);
}

/** The first group that took part in a match, else the whole match. */
function captures(text: string, pattern: RegExp): string[] {
  const found: string[] = [];
  for (const match of text.matchAll(pattern)) {
    found.push((match.slice(1).find((part) => part !== undefined) ?? match[0]).trim());
  }
  return found;
}

function group(title: string, found: readonly string[]): IndicatorGroup {
  const distinct = new Set<string>();
  for (const value of found) {
    if (distinct.size >= MAX_DISTINCT) break;
    distinct.add(value);
  }
  return { title, values: [...distinct].slice(0, MAX_LISTED), more: Math.max(0, distinct.size - MAX_LISTED) };
}

function hostOf(url: string): string {
  return /^[a-z]{2,5}:\/\/(?:[^/@]{0,200}@)?([^/:?#]{1,255})/i.exec(url)?.[1] ?? '';
}

function isHost(name: string): boolean {
  return HOST_ENDINGS.has(name.slice(name.lastIndexOf('.') + 1).toLowerCase());
}

function isAddress(text: string): boolean {
  const parts = text.split('.');
  return parts.length === 4 && parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) <= 255);
}
