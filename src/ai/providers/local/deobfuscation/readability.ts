/**
 * How much a text looks like words: the share of its neighbouring characters that are frequent letter pairs
 * of English and of program text. Enough to tell a decoder from an encoder, which is all it is used for.
 */
const FREQUENT_PAIRS: ReadonlySet<string> = new Set(
  (
    'th he in er an re on at en nd ti es or te of ed is it al ar st to nt ng se ha as ou io le ve co me de hi ri ro ' +
    'ic ne ea ra ce li ch ll be ma si om ur ca el ta la ns di fo ho pe ec pr no ct us ac ot il tr ly nc et ut ss so ' +
    'rs un lo wa ge ie wh ee wi em ad ol rt po we na ul ni ts mo ow pa im mi ai sh ir su id os iv ia am fi ci vi pl ' +
    'ig tu ev ld ry mp fe bl ab gh ty op wo sa ay ex ke fr oo av ag if ap gr od bo sp rd do uc bu ei ov by rm ep tt ' +
    'oc fa ef cu rn sc gi da yo cr cl du ga qu ue ff ba ey ls va um pp ua up lu go ht ru ug ds lt pi rc rr eg au ck'
  ).split(' '),
);

export function readability(text: string): number {
  if (text.length < 2) return 0;
  let frequent = 0;
  const lower = text.toLowerCase();
  for (let i = 0; i + 1 < lower.length; i++) {
    if (FREQUENT_PAIRS.has(lower.slice(i, i + 2))) frequent++;
  }
  return frequent / (lower.length - 1);
}
