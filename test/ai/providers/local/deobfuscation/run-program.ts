import { execFile } from 'node:child_process';

/** What a (benign) program prints in a process of its own; `TIMEOUT` where it does not end. */
export function runProgram(code: string): Promise<string> {
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      ['--input-type=commonjs', '-'],
      { timeout: 8_000 },
      (error, stdout) => {
        resolve(error?.killed === true ? 'TIMEOUT' : stdout);
      },
    );
    child.stdin?.end(code);
  });
}
