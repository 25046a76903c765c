/** A set of names, written as one text with spaces between them. */
export function wordSet(text: string): ReadonlySet<string> {
  return new Set(text.split(' '));
}
