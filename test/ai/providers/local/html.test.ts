import { describe, expect, it } from '@jest/globals';
import { blankMarkup, extractScripts, replaceScripts } from '../../../../src/ai/providers/local/html.js';

function codes(html: string): string[] {
  return extractScripts(html).scripts.map(({ code }) => code);
}

describe('extractScripts', () => {
  it('finds inline scripts, in whatever case and with whatever attributes', () => {
    const html = `<html><SCRIPT type="text/javascript">a()</SCRIPT ><p>x</p>
      <script data-x="a > b" async>b()</script><script type=module>c()</script></html>`;
    expect(codes(html)).toEqual(['a()', 'b()', 'c()']);
  });

  it('leaves out data, other languages, and what is loaded from elsewhere, and says so', () => {
    const { scripts, limits } = extractScripts(
      `<script type="application/json">{}</script><script language="VBScript">x</script>
       <script src="//cdn.example/x.js"></script><a onclick="go()" href="javascript:go()">x</a>`,
    );
    expect(scripts).toEqual([]);
    expect(limits.join('\n')).toMatch(/1 scripts that the page loads/);
    expect(limits.join('\n')).toMatch(/2 script elements that do not hold JavaScript/);
    expect(limits.join('\n')).toMatch(/About 1 event handler/);
    expect(limits.join('\n')).toMatch(/About 1 "javascript:"/);
  });

  it('takes an unclosed script to the end, and an unclosed tag for a script of nothing', () => {
    expect(codes('<script>a()')).toEqual(['a()']);
    expect(codes('<script src="')).toEqual([]);
  });

  it('takes time in proportion to the length of the page', () => {
    for (const part of ['<script', '<script>', '<script "', '</script', ' onx="', '<script type="']) {
      extractScripts(part.repeat(Math.ceil(1_000_000 / part.length)));
    }
  }, 5_000);

  it('takes no more than a few dozen', () => {
    const { scripts, limits } = extractScripts('<script>a()</script>'.repeat(100));
    expect(scripts).toHaveLength(64);
    expect(limits.join()).toMatch(/36 scripts beyond the first 64/);
  });
});

describe('blankMarkup', () => {
  it('keeps the line of every statement', () => {
    const html = '<html>\r\n<body>\n<script>\nfirst()\n</script> <p>\n\n</p><script>second()</script>\n';
    const lines = blankMarkup(html, extractScripts(html).scripts).split('\n');
    expect(lines[3]).toBe('first()');
    expect(lines.findIndex((line) => line.includes('second()'))).toBe(6);
    expect(lines.join('')).not.toMatch(/[<p]/);
  });
});

describe('replaceScripts', () => {
  it('puts code in place, and does not let it end its element', () => {
    const html = '<p><script>a</script><script>b</script></p>';
    const [, second] = extractScripts(html).scripts;
    if (second === undefined) throw new Error('no second script');
    const replaced = replaceScripts(html, new Map([[second, 'write("</script>")']]));
    expect(replaced).toBe('<p><script>a</script><script>\nwrite("<\\/script>")\n</script></p>');
    expect(codes(replaced)).toEqual(['a', '\nwrite("<\\/script>")\n']);
  });
});
