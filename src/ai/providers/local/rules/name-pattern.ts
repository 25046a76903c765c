/**
 * A pattern for whole dotted names, written as a list: names apart by white space, alternatives in braces, `*` for
 * letters and `**` for anything. A leading dot also stands for any beginning: `.escape` matches `db.escape`.
 *
 *     anyName('eval  fs.{read,write}File{,Sync}  vm.**.run  .unserialize')
 */
export function anyName(list: string): RegExp {
  const alternatives = list
    .trim()
    .split(/\s+/)
    .map((name) => {
      const isSuffix = name.startsWith('.');
      return (isSuffix ? '(?:.*\\.)?' : '') + asExpression(isSuffix ? name.slice(1) : name);
    });
  return new RegExp(`^(?:${alternatives.join('|')})$`);
}

function asExpression(name: string): string {
  return name
    .replaceAll(/[.$()[\]/+?^|\\]/g, String.raw`\$&`)
    .replaceAll('**', '\uE000')
    .replaceAll('*', String.raw`\w*`)
    .replaceAll('\uE000', '.*')
    .replaceAll('{', '(?:')
    .replaceAll('}', ')')
    .replaceAll(',', '|');
}
