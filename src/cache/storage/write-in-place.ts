import { closeSync, constants, ftruncateSync, openSync, writeSync } from 'node:fs';

/**
 * Over what the file has, and never shorter first: where the disk is full, a file that was cut to nothing stays empty,
 * and one that keeps its blocks can still be written.
 */
export function writeInPlace(path: string, bytes: Buffer): void {
  const file = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o644);
  try {
    for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at, bytes.length - at, at);
    ftruncateSync(file, bytes.length);
  } finally {
    closeSync(file);
  }
}
