/** The JavaScript inside an HTML page, found without a browser: tags are matched as text. */

export interface InlineScript {
  /** Offsets of the code between the tags. */
  readonly start: number;
  readonly end: number;
  readonly code: string;
}

export interface ScriptsOfPage {
  readonly scripts: readonly InlineScript[];
  readonly limits: readonly string[];
}

const NO_SCRIPT = 'The page has no inline script that could be analysed.';
const MAX_SCRIPTS = 64;
/** The longest start tag that is looked at; a longer one is cut off there. */
const MAX_TAG_CHARS = 4_096;

const JAVASCRIPT_TYPE =
  /^(?:module|(?:text|application)\/(?:x-)?(?:javascript|ecmascript|jscript|babel|jsx)|text\/(?:javascript|jscript)1\.\d)$/i;

export function extractScripts(html: string): ScriptsOfPage {
  const scripts: InlineScript[] = [];
  const left = { external: 0, foreign: 0, excess: 0 };
  const startTag = /<script(?=[\s/>])/gi;
  for (let match = startTag.exec(html); match !== null; match = startTag.exec(html)) {
    const tagEnd = endOfTag(html, match.index);
    const attributes = html.slice(match.index, tagEnd);
    const end = endOfScript(html, tagEnd);
    startTag.lastIndex = Math.max(end, tagEnd);
    const code = html.slice(tagEnd, end);
    if (!isJavaScript(attributes)) left.foreign += 1;
    else if (code.trim() === '') left.external += /\ssrc\s*=/i.test(attributes) ? 1 : 0;
    else if (scripts.length >= MAX_SCRIPTS) left.excess += 1;
    else scripts.push({ start: tagEnd, end, code });
  }
  return { scripts, limits: [...(scripts.length === 0 ? [NO_SCRIPT] : []), ...limitsOf(html, left)] };
}

/**
 * The page with everything but the given scripts blanked out, so that a line number in the result is one of
 * the page. A semicolon ends what one script leaves open before the next begins.
 */
export function blankMarkup(html: string, scripts: readonly InlineScript[]): string {
  let result = '';
  let position = 0;
  for (const script of scripts) {
    result += onlyLineBreaks(html.slice(position, script.start)) + script.code + ';';
    position = script.end;
  }
  return result;
}

/** Puts other code in place of scripts; `</script` in it would end the element early, so it is escaped. */
export function replaceScripts(html: string, codes: ReadonlyMap<InlineScript, string>): string {
  let result = '';
  let position = 0;
  for (const [script, code] of codes) {
    result += `${html.slice(position, script.start)}\n${code.replaceAll(/<\/(?=script)/gi, '<\\/')}\n`;
    position = script.end;
  }
  return result + html.slice(position);
}

function onlyLineBreaks(text: string): string {
  return text.replaceAll(/[^\n\r\u2028\u2029]+/g, '');
}

/** The index after the `>` that ends the tag; quoted attribute values may contain one. */
function endOfTag(html: string, from: number): number {
  let quote = '';
  const limit = Math.min(html.length, from + MAX_TAG_CHARS);
  for (let index = from; index < limit; index += 1) {
    const char = html.charAt(index);
    if (quote !== '') quote = char === quote ? '' : quote;
    else if (char === '"' || char === "'") quote = char;
    else if (char === '>') return index + 1;
  }
  return limit;
}

function endOfScript(html: string, from: number): number {
  const endTag = /<\/script(?=[\s/>])/gi;
  endTag.lastIndex = from;
  return endTag.exec(html)?.index ?? html.length;
}

function isJavaScript(attributes: string): boolean {
  const language = /\slanguage\s{0,8}=\s{0,8}["']?([\w.]{1,40})/i.exec(attributes)?.[1];
  if (language !== undefined && !/^j(?:ava)?script/i.test(language)) return false;
  const type = /\stype\s{0,8}=\s{0,8}(?:"([^"]{0,100})"|'([^']{0,100})'|([^\s>"']{1,100}))/i.exec(attributes);
  const name = (type?.[1] ?? type?.[2] ?? type?.[3] ?? '').split(';')[0]?.trim() ?? '';
  return name === '' || JAVASCRIPT_TYPE.test(name);
}

function limitsOf(html: string, left: { external: number; foreign: number; excess: number }): string[] {
  const limits = ['Only the inline scripts of the page were analysed; its markup and styles were not.'];
  const handlers = html.match(/\son[a-z]{3,24}\s{0,8}=\s{0,8}["']/gi)?.length ?? 0;
  const urls = html.match(/["'\s=]javascript:/gi)?.length ?? 0;
  if (left.external > 0)
    limits.push(`${left.external} scripts that the page loads from elsewhere were not analysed.`);
  if (left.foreign > 0)
    limits.push(`${left.foreign} script elements that do not hold JavaScript were not analysed.`);
  if (left.excess > 0)
    limits.push(`${left.excess} scripts beyond the first ${MAX_SCRIPTS} were not analysed.`);
  if (handlers > 0) limits.push(`About ${handlers} event handler attributes were not analysed.`);
  if (urls > 0) limits.push(`About ${urls} "javascript:" addresses were not analysed.`);
  return limits;
}
