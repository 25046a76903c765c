/** What is said about each kind of flaw. The number is that of the Common Weakness Enumeration. */
export interface Flaw {
  readonly cwe: number;
  readonly name: string;
  readonly harm: string;
  readonly remedy: string;
}

export const FLAWS = {
  sqlInjection: {
    cwe: 89,
    name: 'SQL injection',
    harm: 'A SQL statement is put together from text, so the value can change what the statement does.',
    remedy: 'Use placeholders and pass the values separately.',
  },
  commandInjection: {
    cwe: 78,
    name: 'Command injection',
    harm: 'A shell interprets the value, so it can start other programs.',
    remedy: 'Call execFile or spawn with an argument list and without a shell.',
  },
  evalInjection: {
    cwe: 95,
    name: 'Code injection by dynamic evaluation',
    harm: 'The value is evaluated as JavaScript.',
    remedy: 'Parse the data instead, for example with JSON.parse or an expression parser.',
  },
  codeInjection: {
    cwe: 94,
    name: 'Code injection',
    harm: 'The value decides which code runs; the vm module and vm2 are no security boundary.',
    remedy: 'Never run code from outside in this process.',
  },
  pathTraversal: {
    cwe: 22,
    name: 'Path traversal',
    harm: 'The value is part of a file path and may contain "..", so it can reach files outside the intended folder.',
    remedy: 'Resolve the path and check that it is still inside the folder, or use path.basename.',
  },
  crossSiteScripting: {
    cwe: 79,
    name: 'Cross-site scripting',
    harm: 'The value becomes markup of the page without being escaped.',
    remedy: 'Write it as text (textContent, an escaping template), or sanitise it first.',
  },
  requestForgery: {
    cwe: 918,
    name: 'Server-side request forgery',
    harm: 'The value chooses where the server sends a request, which can reach internal services.',
    remedy: 'Compare the host with a list of allowed hosts before the request.',
  },
  openRedirect: {
    cwe: 601,
    name: 'Open redirect',
    harm: 'The value chooses where the browser is sent, which helps phishing.',
    remedy: 'Redirect only to known paths or hosts.',
  },
  nosqlInjection: {
    cwe: 943,
    name: 'NoSQL injection',
    harm: 'The value may be an object with operators such as $ne or $gt, or code, and change what the query matches.',
    remedy: 'Make it a string or number, or validate the input against a schema.',
  },
  regexInjection: {
    cwe: 1333,
    name: 'Regular expression from outside',
    harm: 'The value becomes a regular expression, which can be made to take exponential time.',
    remedy: 'Escape the value, or search without a regular expression.',
  },
  slowRegex: {
    cwe: 1333,
    name: 'Regular expression with exponential backtracking',
    harm: 'A repeated part can match the same text in several ways, so some texts take exponential time.',
    remedy: 'Remove the nested or overlapping repetition, and bound the length of the text.',
  },
  headerInjection: {
    cwe: 113,
    name: 'Header from outside',
    harm: 'The value becomes a response header without a check.',
    remedy: 'Allow only expected values.',
  },
  templateInjection: {
    cwe: 1336,
    name: 'Template injection',
    harm: 'The value becomes template source, which can run code on the server.',
    remedy: 'Pass the value as data to a fixed template.',
  },
  ldapInjection: {
    cwe: 90,
    name: 'LDAP injection',
    harm: 'The value is part of a directory filter and can change what it matches.',
    remedy: 'Escape the value for LDAP filters.',
  },
  xpathInjection: {
    cwe: 643,
    name: 'XPath injection',
    harm: 'The value is part of an XPath expression and can change what it selects.',
    remedy: 'Use XPath variables.',
  },
  prototypePollution: {
    cwe: 1321,
    name: 'Prototype pollution',
    harm: 'A key such as __proto__ reaches an object shared by the whole program.',
    remedy: 'Refuse __proto__, constructor and prototype, or use a Map or objects without prototype.',
  },
  deserialisation: {
    cwe: 502,
    name: 'Unsafe deserialisation',
    harm: 'Data of unknown origin is turned into live objects, which can run code.',
    remedy: 'Use JSON and validate its shape.',
  },
  externalEntities: {
    cwe: 611,
    name: 'XML external entities',
    harm: 'The parser resolves external entities, which can read files and reach internal services.',
    remedy: 'Switch entity resolution off.',
  },
  certificateCheck: {
    cwe: 295,
    name: 'TLS certificate is not checked',
    harm: 'Anyone on the way can read and change the connection.',
    remedy: 'Leave verification on, and add a private authority to the trusted ones instead.',
  },
  oldTls: {
    cwe: 327,
    name: 'Outdated TLS version',
    harm: 'The protocol version allowed here is broken.',
    remedy: 'Require TLS 1.2 or newer.',
  },
  weakHash: {
    cwe: 328,
    name: 'Weak hash function',
    harm: 'The hash function is broken.',
    remedy: 'Use SHA-256 or better for signatures, and scrypt, argon2 or bcrypt for passwords.',
  },
  fastPasswordHash: {
    cwe: 916,
    name: 'Password hash that is too fast',
    harm: 'A password is hashed with so little work that guessing is cheap.',
    remedy: 'Use scrypt, argon2 or bcrypt with current parameters.',
  },
  weakCipher: {
    cwe: 327,
    name: 'Weak cipher',
    harm: 'The cipher or its mode is broken or derives its key badly.',
    remedy: 'Use AES-256-GCM or ChaCha20-Poly1305 with a random key and nonce.',
  },
  fixedNonce: {
    cwe: 329,
    name: 'Fixed initialisation vector',
    harm: 'Equal texts give equal ciphertexts, and some modes lose all protection.',
    remedy: 'Use fresh random bytes for every message.',
  },
  shortKey: {
    cwe: 326,
    name: 'Key that is too short',
    harm: 'A key of this size can be broken.',
    remedy: 'Use at least 2048 bits for RSA.',
  },
  insecureRandom: {
    cwe: 338,
    name: 'Predictable random value',
    harm: 'Math.random can be predicted, and its result is used as a secret or identifier.',
    remedy: 'Use crypto.randomBytes, randomInt or randomUUID.',
  },
  unverifiedToken: {
    cwe: 347,
    name: 'Token is not verified',
    harm: 'The content of a token is trusted although its signature or age is not checked.',
    remedy: 'Verify with a fixed list of algorithms, and never allow "none".',
  },
  hardcodedSecret: {
    cwe: 798,
    name: 'Hard-coded secret',
    harm: 'A credential stands in the source, where everyone with the code can read it.',
    remedy: 'Revoke it, and read it from the environment or a secret store.',
  },
  exfiltration: {
    cwe: 506,
    name: 'Exfiltration of data',
    harm: 'Environment, account or browser secrets are collected and sent away.',
    remedy: 'Treat the code as malicious until the receiver is known, and revoke exposed credentials.',
  },
  reverseShell: {
    cwe: 506,
    name: 'Reverse shell',
    harm: 'A shell is connected to a network socket.',
    remedy: 'Treat the code as malicious.',
  },
  obfuscation: {
    cwe: 506,
    name: 'Obfuscated code',
    harm: 'The code hides what it does.',
    remedy: 'Deobfuscate and review it before it runs anywhere.',
  },
  timing: {
    cwe: 208,
    name: 'Secret compared in variable time',
    harm: 'How long the comparison takes tells how much of the secret was right.',
    remedy: 'Use crypto.timingSafeEqual.',
  },
  cookieWithoutHttpOnly: {
    cwe: 1004,
    name: 'Cookie readable by scripts',
    harm: 'Scripts in the page can read the cookie.',
    remedy: 'Set httpOnly: true.',
  },
  cookieWithoutSecure: {
    cwe: 614,
    name: 'Cookie sent without encryption',
    harm: 'The cookie also travels over plain HTTP.',
    remedy: 'Set secure: true.',
  },
  permissiveCors: {
    cwe: 942,
    name: 'Permissive cross-origin policy',
    harm: 'Other origins may read the answers.',
    remedy: 'Allow a fixed list of origins.',
  },
  insecureElectron: {
    cwe: 1188,
    name: 'Insecure Electron window',
    harm: 'Content of the window gets more rights than a web page should have.',
    remedy: 'Keep contextIsolation and webSecurity on, and nodeIntegration off.',
  },
} as const satisfies Record<string, Flaw>;

export type FlawName = keyof typeof FLAWS;
