/** `0.4`, `252`, `11182`: as many digits as mean something. */
export const milliseconds = (ms) => (ms < 9.95 ? ms.toFixed(1) : String(Math.round(ms)));

export const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;

function asMarkdown({ title, note, columns, rows }) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  const rule = columns.map((_, index) => (index === 0 ? '---' : '---:'));
  return [`### ${title}`, note, [columns, rule, ...rows].map(line).join('\n')].filter(Boolean).join('\n\n');
}

function asPlainText({ title, columns, rows }) {
  const lines = [columns, ...rows];
  const widths = columns.map((_, index) => Math.max(...lines.map((cells) => cells[index].length)));
  const pad = (cell, index) => (index === 0 ? cell.padEnd(widths[index]) : cell.padStart(widths[index]));
  return [title, ...lines.map((cells) => `  ${cells.map(pad).join('  ')}`)].join('\n');
}

export const markdown = (tables) => tables.map(asMarkdown).join('\n\n');
export const plainText = (tables) => tables.map(asPlainText).join('\n\n');
