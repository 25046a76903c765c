/** A text in so many pieces of about one length; fewer where it is short, and no character is cut apart. */
export function piecesOf(text: string, count: number): string[] {
  const length = Math.max(1, Math.ceil(text.length / count));
  const pieces: string[] = [];
  for (let start = 0; start < text.length;) {
    const cut = start + length;
    const end = isHighSurrogate(text, cut - 1) ? cut + 1 : cut;
    pieces.push(text.slice(start, end));
    start = end;
  }
  return pieces;
}

const isHighSurrogate = (text: string, index: number): boolean => {
  const unit = text.charCodeAt(index);
  return unit >= 0xd800 && unit <= 0xdbff;
};
