import type { Severity } from '../../analysis.js';

/**
 * The table of `patterns.ts`: for each language, which flaw a text pattern hints at.
 *
 * The input may be made to slow a pattern down, so every repetition has an upper bound, which keeps the search
 * linear. A severity above medium needs more than a pattern.
 */

export interface Flaw {
  readonly name: string;
  readonly cweId: `CWE-${number}`;
  readonly severity: Extract<Severity, 'low' | 'medium'>;
  readonly description: string;
}

export type PatternRule = readonly [flaw: Flaw, pattern: RegExp];

const INJECTION = 'If that text can come from outside, whoever sends it decides what is run.';
const QUERY = 'A query is put together from text; if part of it comes from outside, it can change the query.';
const CERTIFICATES =
  'The certificate of the other side is not checked, so anybody on the way can read and change it.';
const DROPPER =
  'What was fetched or hidden is run without a look at it; typical of droppers and of careless installers.';
const SECRET = 'A secret in the source is known to everybody who can read the source.';

const SHELL_COMMAND = flaw('Shell command', 'CWE-78', 'medium', INJECTION);
const SUBPROCESS_SHELL = flaw('Subprocess through a shell', 'CWE-78', 'medium', INJECTION);
const EVALUATION = flaw('Evaluation of text as code', 'CWE-95', 'medium', INJECTION);
const DESERIALISATION = flaw(
  'Unsafe deserialisation',
  'CWE-502',
  'medium',
  'Deserialising data from outside can run code of the sender’s choice.',
);
const SQL_FROM_TEXT = flaw('SQL built from text', 'CWE-89', 'medium', QUERY);
const NO_CERTIFICATE_CHECK = flaw('Certificate check turned off', 'CWE-295', 'medium', CERTIFICATES);
const WEAK_HASH = flaw(
  'Weak hash',
  'CWE-328',
  'low',
  'The hash is broken for signatures and far too fast for passwords.',
);
const DEBUG_MODE = flaw(
  'Debug mode',
  'CWE-489',
  'low',
  'A debugger that is reachable from outside runs code for everybody.',
);
const REQUESTED_FUNCTION = flaw(
  'Function named by the request',
  'CWE-95',
  'medium',
  'The request names the function that is called: the form of many web shells.',
);
const REQUESTED_INCLUDE = flaw(
  'File included by the request',
  'CWE-98',
  'medium',
  'The request names the file that is run.',
);
const SQL_FROM_REQUEST = flaw('SQL built from the request', 'CWE-89', 'medium', QUERY);
const REQUEST_IN_PAGE = flaw(
  'Request written into the page',
  'CWE-79',
  'medium',
  'Markup in the request becomes part of the page.',
);
const DOWNLOAD_RUN = flaw('Download run at once', 'CWE-494', 'medium', DROPPER);
const ENCODED_RUN = flaw('Encoded text run at once', 'CWE-506', 'medium', DROPPER);
const REVERSE_SHELL = flaw(
  'Connection handed to a shell',
  'CWE-506',
  'medium',
  'A shell at the end of a network connection is how a reverse shell works.',
);
const SHELL_EVALUATION = flaw('Evaluation of text as code', 'CWE-78', 'medium', INJECTION);
const WRITABLE_BY_ALL = flaw(
  'Writable by everybody',
  'CWE-732',
  'low',
  'Any user of the machine can replace the file.',
);
const DOWNLOAD = flaw('Download', 'CWE-494', 'medium', DROPPER);
const ENCODED_COMMAND = flaw('Encoded command', 'CWE-506', 'medium', DROPPER);
const PROTECTION_OFF = flaw(
  'Protection turned off',
  'CWE-693',
  'medium',
  'The script switches off what would examine it.',
);
const REQUESTED_REDIRECT = flaw(
  'Redirect named by the request',
  'CWE-601',
  'medium',
  'The request decides where the visitor is sent.',
);
const WEAK_CIPHER = flaw('Weak cipher', 'CWE-327', 'medium', 'The cipher or its mode is broken.');
const NO_HOST_NAME_CHECK = flaw('Host name check turned off', 'CWE-295', 'medium', CERTIFICATES);
const UNLIMITED_INPUT = flaw(
  'Input without a limit',
  'CWE-242',
  'medium',
  'The function cannot know how long the buffer is.',
);
const UNLIMITED_COPY = flaw(
  'Copy without a limit',
  'CWE-120',
  'medium',
  'The copy is as long as its source, whatever the target holds.',
);
const UNLIMITED_SCAN = flaw(
  'Copy without a limit',
  'CWE-120',
  'medium',
  'The input is as long as its sender likes.',
);
const FORMAT_VARIABLE = flaw(
  'Format from a variable',
  'CWE-134',
  'medium',
  'Text from outside used as a format can read and write memory.',
);
const TEMPORARY_FILE = flaw(
  'Predictable temporary file',
  'CWE-377',
  'low',
  'Somebody else can create the file first.',
);
const SYSTEM_TOOL_DOWNLOAD = flaw('Download or decoding by a system tool', 'CWE-494', 'medium', DROPPER);
const PRIVATE_KEY = flaw('Private key in the source', 'CWE-798', 'medium', SECRET);
const ACCESS_KEY = flaw('Access key in the source', 'CWE-798', 'medium', SECRET);
const PASSWORD = flaw('Password in the source', 'CWE-798', 'low', SECRET);

/** By language; `*` holds for each of them. Kotlin reads as Java, C++ as C. */
export const PATTERN_RULES: Readonly<Record<string, readonly PatternRule[]>> = {
  python: [
    [SHELL_COMMAND, /\bos\.(?:system|popen)\(\s{0,4}(?!\s|\)|["'][^"'\n]{0,200}["']\s{0,4}[),])/g],
    [SUBPROCESS_SHELL, /\bsubprocess\.\w{1,20}\([^\n]{0,300}shell\s{0,4}=\s{0,4}True/g],
    [EVALUATION, /(?<![\w.])(?:eval|exec)\(\s{0,4}(?!\s|\)|["'][^"'\n]{0,200}["']\s{0,4}[),])/g],
    [
      DESERIALISATION,
      /\b(?:c?pickle|marshal|dill|shelve)\.(?:loads?|open)\(|\byaml\.(?:unsafe_load|load\((?![^\n]{0,200}Safe))/g,
    ],
    [SQL_FROM_TEXT, /\.execute(?:many)?\(\s{0,4}(?:f["']|[^\n]{0,200}["']\s{0,4}(?:%\s|\+|\.format\())/g],
    [NO_CERTIFICATE_CHECK, /\bverify\s{0,4}=\s{0,4}False\b|_create_unverified_context|CERT_NONE/g],
    [WEAK_HASH, /\bhashlib\.(?:md5|sha1)\(/g],
    [DEBUG_MODE, /\.run\([^\n]{0,200}debug\s{0,4}=\s{0,4}True/g],
  ],
  php: [
    [
      EVALUATION,
      /\b(?:eval|assert|create_function)\s{0,4}\(\s{0,4}(?:\$|base64_decode|gzinflate|str_rot13|stripslashes)/g,
    ],
    [REQUESTED_FUNCTION, /\$_(?:GET|POST|REQUEST|COOKIE)\[[^\]\n]{1,80}\]\s{0,4}\(/g],
    [SHELL_COMMAND, /\b(?:system|exec|shell_exec|passthru|popen|proc_open)\s{0,4}\([^\n)]{0,200}\$/g],
    [REQUESTED_INCLUDE, /\b(?:include|require)(?:_once)?\b[^\n;]{0,120}\$_(?:GET|POST|REQUEST|COOKIE)/g],
    [
      SQL_FROM_REQUEST,
      /(?:mysqli?_query|->query|->exec)\s{0,4}\([^\n]{0,300}\$_(?:GET|POST|REQUEST|COOKIE)/g,
    ],
    [REQUEST_IN_PAGE, /\b(?:echo|print)\b[^\n;(]{0,120}\$_(?:GET|POST|REQUEST|COOKIE)/g],
    [DESERIALISATION, /\bunserialize\s{0,4}\(\s{0,4}(?:\$|base64_decode)/g],
    [WEAK_HASH, /\b(?:md5|sha1)\s{0,4}\(\s{0,4}\$\w{0,40}pass/g],
  ],
  shell: [
    [DOWNLOAD_RUN, /\b(?:curl|wget)\b[^\n|]{0,300}\|\s{0,4}(?:sudo\s{1,4})?(?:ba|z|k|da)?sh\b/g],
    [
      ENCODED_RUN,
      /\bbase64\s{1,4}(?:-d|-D|--decode)\b[^\n]{0,200}\|\s{0,4}(?:sudo\s{1,4})?(?:ba|z|k|da)?sh\b/g,
    ],
    [REVERSE_SHELL, /\/dev\/(?:tcp|udp)\/|\bnc(?:at)?\b[^\n]{0,80}\s-[a-z]{0,4}e\b/g],
    [SHELL_EVALUATION, /(?:^|[;&|]\s{0,4})eval\s{1,4}["']?\$/gm],
    [
      NO_CERTIFICATE_CHECK,
      /\bcurl\b[^\n]{0,200}\s(?:-[a-zA-Z]{0,4}k\b|--insecure)|\bwget\b[^\n]{0,200}--no-check-certificate/g,
    ],
    [WRITABLE_BY_ALL, /\bchmod\s{1,4}(?:-R\s{1,4})?0?777\b/g],
  ],
  powershell: [
    [EVALUATION, /\b(?:Invoke-Expression|iex)\b/gi],
    [DOWNLOAD, /\.Download(?:String|File|Data)\s{0,4}\(/gi],
    [ENCODED_COMMAND, /\bpowershell(?:\.exe)?\b[^\n]{0,200}\s-e(?:nc|ncodedcommand)?\s|FromBase64String/gi],
    [PROTECTION_OFF, /Set-MpPreference\s[^\n]{0,120}-Disable|AmsiUtils|-ExecutionPolicy\s{1,4}Bypass/gi],
    [NO_CERTIFICATE_CHECK, /ServerCertificateValidationCallback\s{0,4}=|-SkipCertificateCheck/gi],
  ],
  ruby: [
    [EVALUATION, /\b(?:instance_|class_|module_)?eval[\s(]{1,4}(?:params|request|cookies|gets|ARGV|Base64)/g],
    [SHELL_COMMAND, /(?:\b(?:system|exec|popen|spawn)[\s(]{1,4}"[^"\n]{0,200}|`[^`\n]{0,200})#\{/g],
    [DESERIALISATION, /\b(?:Marshal\.load|YAML\.(?:unsafe_)?load)\b/g],
    [SQL_FROM_TEXT, /\.(?:where|find_by_sql|execute|order)[\s(]{1,4}"[^"\n]{0,200}#\{/g],
    [REQUESTED_REDIRECT, /\bredirect_to[\s(]{1,4}params/g],
    [NO_CERTIFICATE_CHECK, /VERIFY_NONE/g],
  ],
  java: [
    [
      SHELL_COMMAND,
      /\.exec\(\s{0,4}(?!"[^"\n]{0,200}"\s{0,4}\))[^\n)]{0,200}\+|Runtime\.getRuntime\(\)\.exec\(\s{0,4}\w/g,
    ],
    [
      SQL_FROM_TEXT,
      /\b(?:executeQuery|executeUpdate|prepareStatement|createQuery|createNativeQuery)\(\s{0,4}"[^"\n]{0,300}"\s{0,4}\+/g,
    ],
    [DESERIALISATION, /\bnew\s{1,4}ObjectInputStream\(|\.readObject\(\)|\bXMLDecoder\(/g],
    [WEAK_CIPHER, /Cipher\.getInstance\(\s{0,4}"(?:DES|DESede|RC4|[A-Z]{1,10}\/ECB)/g],
    [WEAK_HASH, /MessageDigest\.getInstance\(\s{0,4}"(?:MD5|SHA-?1)"/g],
    [NO_HOST_NAME_CHECK, /ALLOW_ALL_HOSTNAME_VERIFIER|NoopHostnameVerifier/g],
  ],
  c: [
    [UNLIMITED_INPUT, /(?<![\w.>])gets\s{0,4}\(/g],
    [UNLIMITED_COPY, /(?<![\w.>])(?:strcpy|strcat|sprintf|vsprintf|wcscpy)\s{0,4}\(/g],
    [UNLIMITED_SCAN, /\bf?s?scanf\s{0,4}\([^\n"]{0,80}"[^"\n]{0,80}%s/g],
    [
      SHELL_COMMAND,
      /(?<![\w.>])(?:system|popen)\s{0,4}\(\s{0,4}(?!\s|\)|["'][^"'\n]{0,200}["']\s{0,4}[),])/g,
    ],
    [FORMAT_VARIABLE, /(?<![\w.>])(?:printf|syslog)\s{0,4}\(\s{0,4}[a-z_]\w{0,60}\s{0,4}\)/g],
    [TEMPORARY_FILE, /(?<![\w.>])(?:mktemp|tmpnam|tempnam)\s{0,4}\(/g],
  ],
  csharp: [
    [SQL_FROM_TEXT, /\bSqlCommand\(\s{0,4}(?:\$"|"[^"\n]{0,300}"\s{0,4}\+)/g],
    [
      DESERIALISATION,
      /\b(?:BinaryFormatter|NetDataContractSerializer|LosFormatter)\b|TypeNameHandling\.(?:All|Auto|Objects)/g,
    ],
    [SHELL_COMMAND, /\bProcess\.Start\([^\n]{0,200}\+/g],
    [WEAK_HASH, /\b(?:MD5|SHA1)\.(?:Create|HashData)\(/g],
    [
      NO_CERTIFICATE_CHECK,
      /ServerCertificateValidationCallback\s{0,4}\+?=[^\n]{0,160}true|DangerousAcceptAnyServerCertificateValidator/g,
    ],
  ],
  go: [
    [SHELL_COMMAND, /\bexec\.Command(?:Context)?\([^\n]{0,80}"(?:\/bin\/)?(?:ba)?sh"\s{0,4},\s{0,4}"-c"/g],
    [SQL_FROM_TEXT, /\bfmt\.Sprintf\(\s{0,4}["`](?:SELECT|INSERT|UPDATE|DELETE)\b[^\n]{0,300}%[sv]/g],
    [NO_CERTIFICATE_CHECK, /InsecureSkipVerify\s{0,4}:\s{0,4}true/g],
    [WEAK_HASH, /\b(?:md5|sha1)\.(?:New|Sum)\(/g],
  ],
  perl: [
    [SHELL_COMMAND, /\b(?:system|exec|qx)[\s({]{1,4}["']?[^\n;]{0,120}\$/g],
    [EVALUATION, /\beval[\s(]{1,4}\$/g],
  ],
  lua: [
    [
      SHELL_COMMAND,
      /\b(?:os\.execute|io\.popen)\s{0,4}\(\s{0,4}(?!\s|\)|["'][^"'\n]{0,200}["']\s{0,4}[),])/g,
    ],
    [EVALUATION, /(?<![\w.])load(?:string)?\s{0,4}\(\s{0,4}(?!\s|\)|["'][^"'\n]{0,200}["']\s{0,4}[),])/g],
  ],
  rust: [
    [SHELL_COMMAND, /Command::new\(\s{0,4}"(?:\/bin\/)?(?:ba)?sh"/g],
    [NO_CERTIFICATE_CHECK, /danger_accept_invalid_(?:certs|hostnames)\(\s{0,4}true/g],
  ],
  vbscript: [
    [EVALUATION, /(?:^|:)\s{0,40}(?:Execute|ExecuteGlobal|Eval)[\s(]/gim],
    [SHELL_COMMAND, /CreateObject\(\s{0,4}"(?:WScript\.Shell|Shell\.Application)"/gi],
    [
      DOWNLOAD,
      /CreateObject\(\s{0,4}"(?:MSXML2\.(?:Server)?XMLHTTP|Microsoft\.XMLHTTP|WinHttp|ADODB\.Stream)/gi,
    ],
  ],
  batch: [
    [
      SYSTEM_TOOL_DOWNLOAD,
      /\b(?:certutil\b[^\n]{0,120}-(?:urlcache|decode)|bitsadmin\b[^\n]{0,120}\/transfer|mshta\s{1,4}(?:http|vbscript|javascript))/gi,
    ],
    [ENCODED_COMMAND, /\bpowershell(?:\.exe)?\b[^\n]{0,200}\s-e(?:nc|ncodedcommand)?\s/gi],
  ],
  sql: [[SHELL_COMMAND, /\bxp_cmdshell\b|\bCOPY\b[^\n]{0,200}\bPROGRAM\b/gi]],
  '*': [
    [PRIVATE_KEY, /-----BEGIN (?:[A-Z]{1,12} ){0,2}PRIVATE KEY-----/g],
    [ACCESS_KEY, /\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}\b|\bxox[abp]-[0-9A-Za-z-]{10,80}/g],
    [
      PASSWORD,
      /\b\w{0,30}(?:passwd|password|pwd|secret|api_?key)\s{0,4}(?:=|:=|=>)\s{0,4}["'][^"'\s$<{]{6,100}["']/gi,
    ],
  ],
};

function flaw(name: string, cweId: Flaw['cweId'], severity: Flaw['severity'], description: string): Flaw {
  return { name, cweId, severity, description: `${description} Found by a text pattern: check it by hand.` };
}
