import type { Factory } from '../../src/cache/cache.js';

/** A computation that tells what it is told to, and ends when it is told to, with all that it has told. */
export class Narrated {
  runs = 0;
  isAborted = false;
  private readonly gate = Promise.withResolvers<string>();
  private readonly start = Promise.withResolvers<void>();
  private emit: ((part: string) => void) | undefined;
  private text = '';

  readonly factory: Factory<string> = ({ emit, signal }) => {
    this.runs += 1;
    this.emit = emit;
    signal.addEventListener('abort', () => {
      this.isAborted = true;
      this.gate.reject(signal.reason as Error);
    });
    this.start.resolve();
    return this.gate.promise;
  };

  get begun(): Promise<void> {
    return this.start.promise;
  }

  tell(...parts: readonly string[]): void {
    for (const part of parts) {
      this.text += part;
      this.emit?.(part);
    }
  }

  end(): void {
    this.gate.resolve(this.text);
  }

  fail(error: Error): void {
    this.gate.reject(error);
  }
}

/** What a caller is told, by runs. */
export class Heard {
  readonly runs: string[][] = [];

  readonly onPart = (part: string, run: number): void => {
    if (run < this.runs.length - 1) throw new Error('A former run goes on.');
    (this.runs[run] ??= []).push(part);
  };

  /** Of the last run. */
  get parts(): readonly string[] {
    return this.runs.at(-1) ?? [];
  }

  get text(): string {
    return this.parts.join('');
  }
}

export const never = (): never => {
  throw new Error('This is for another instance to compute.');
};
