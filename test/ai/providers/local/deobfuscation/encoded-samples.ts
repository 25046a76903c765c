/**
 * Programs hidden by small encoders, one per idea, so that a decoder cannot be tuned to a single spelling.
 */

export interface EncodedSample {
  readonly name: string;
  readonly plain: string;
  readonly code: string;
}

const HOTEL = `function describeRoom(room) {
  const label = 'Room ' + room.number;
  if (room.guests.length === 0) return label + ' is empty';
  return label + ' hosts ' + room.guests.join(' and ');
}
const hotel = [{ number: 12, guests: ['Ingrid', 'Tomasz'] }, { number: 14, guests: [] }];
for (const room of hotel) console.log(describeRoom(room));
console.log('Total rooms:', hotel.length, JSON.stringify({ checkedAt: 'reception desk' }));
`;

const SCORES = `var scoreBoard = { players: {}, award: function (playerName, points) {
  this.players[playerName] = (this.players[playerName] || 0) + points;
  return this;
} };
scoreBoard.award('Mirabelle', 30).award('Octavian', 12).award('Mirabelle', 5);
var ranking = Object.keys(scoreBoard.players).sort(function (a, b) {
  return scoreBoard.players[b] - scoreBoard.players[a];
});
ranking.forEach(function (playerName, index) { console.log('place ' + (index + 1) + ' goes to ' + playerName); });
if (ranking.indexOf('Nobody') === -1) console.log('no unexpected players');
`;

const quote = (text: string): string => JSON.stringify(text);
const codesOf = (text: string): number[] => Array.from(text, (character) => character.charCodeAt(0));
const shifted = (text: string, by: number): string =>
  codesOf(text)
    .map((code) => String.fromCharCode(code + by))
    .join('');
const reversed = (text: string): string => Array.from(text).toReversed().join('');
const base64 = (text: string): string => Buffer.from(text).toString('base64');
const hex = (text: string): string => Buffer.from(text).toString('hex');
const percent = (text: string): string => hex(text).replace(/../g, '%$&');

/** The program with each of its texts replaced by an expression. */
function withTexts(program: string, expression: (text: string) => string): string {
  return program.replace(/'((?:[^'\\]|\\.)*)'/g, (_, text: string) => expression(text));
}

function textsOf(program: string): string[] {
  return [...new Set([...program.matchAll(/'([^']*)'/g)].map(([, text]) => text ?? ''))];
}

function withTable(program: string, lookUp: (index: number) => string): string {
  const texts = textsOf(program);
  return withTexts(program, (text) => lookUp(texts.indexOf(text)));
}

const rotate = (list: readonly string[], by: number): string[] => [...list.slice(-by), ...list.slice(0, -by)];

const OLD_ROTATION =
  "(function(_0x2a,_0x3b){var _0x4c=function(_0x5d){while(--_0x5d){_0x2a['push'](_0x2a['shift']());}};" +
  '_0x4c(++_0x3b);}(_0x1c2b,0x5));';

const OLD_BASE64_DECODER =
  'var _0x5e1a=function(_0x6e,_0x7f){_0x6e=_0x6e-0x0;var _0x8a=_0x1c2b[_0x6e];' +
  "if(_0x5e1a['ready']===undefined){(function(){var _0x9b=Function('return (function() '+" +
  "'{}.constructor(\"return this\")( )'+');');var _0xac=_0x9b();_0xac['atob']||(_0xac['atob']=function(){return '';});}());" +
  "_0x5e1a['data']={};_0x5e1a['ready']=!![];}var _0x23=_0x5e1a['data'][_0x6e];" +
  "if(_0x23===undefined){_0x8a=atob(_0x8a);_0x5e1a['data'][_0x6e]=_0x8a;}else{_0x8a=_0x23;}return _0x8a;};";

const decoders: EncodedSample[] = [
  {
    name: 'caesar decoder with a shift argument',
    plain: HOTEL,
    code:
      "var back=function(t,n){var o='';for(var i=0;i<t.length;i++){o+=String.fromCharCode(t.charCodeAt(i)-n);}return o;};" +
      withTexts(HOTEL, (text) => `back(${quote(shifted(text, 7))}, 7)`),
  },
  {
    name: 'xor decoder with a key list',
    plain: SCORES,
    code:
      'const _k=[13,87,5];function _d(a){return a.map(function(v,i){return String.fromCharCode(v^_k[i%_k.length]);}).join("");}\n' +
      withTexts(
        SCORES,
        (text) => `_d([${codesOf(text).map((code, i) => code ^ ([13, 87, 5][i % 3] ?? 0))}])`,
      ),
  },
  {
    name: 'hexadecimal decoder as a method',
    plain: HOTEL,
    code:
      "var tools={key:3,decode:function(h){var r='';for(var i=0;i<h.length;i+=2)r+=String.fromCharCode(parseInt(h.substr(i,2),16));return r;}};" +
      withTexts(HOTEL, (text) => `tools.decode('${hex(text)}')`),
  },
  {
    name: 'decoder that an immediate function returns',
    plain: SCORES,
    code:
      `const d=(()=>{const t=${quote('')}||${JSON.stringify(textsOf(SCORES).map(base64))};return (i)=>atob(t[i-256]);})();` +
      withTable(SCORES, (index) => `d(${256 + index})`),
  },
  {
    name: 'wrapper and alias around a decoder in a function',
    plain: HOTEL,
    code:
      "(function(){function raw(s){return s.split('').reverse().join('');}function pick(a,b){return raw(b);}var alias=pick;\n" +
      `${withTexts(HOTEL, (text) => `alias(1, ${quote(reversed(text))})`)}})();`,
  },
  {
    name: 'decoder below its calls',
    plain: HOTEL,
    code:
      withTexts(HOTEL, (text) => `z9("${base64(text)}")`) +
      "function z9(q){return Buffer.from(q,'base64').toString('utf8');}",
  },
];

const tables: EncodedSample[] = [
  {
    name: 'rotated table of the old obfuscator',
    plain: SCORES,
    code:
      `var _0x1c2b=${JSON.stringify(rotate(textsOf(SCORES), 5))};${OLD_ROTATION}` +
      'var _0x5e1a=function(_0x6e,_0x7f){_0x6e=_0x6e-0x0;var _0x8a=_0x1c2b[_0x6e];return _0x8a;};' +
      withTable(SCORES, (index) => `_0x5e1a('0x${index.toString(16)}')`),
  },
  {
    name: 'rotated base64 table of the old obfuscator',
    plain: SCORES,
    code:
      `var _0x1c2b=${JSON.stringify(rotate(textsOf(SCORES).map(base64), 5))};${OLD_ROTATION}${OLD_BASE64_DECODER}` +
      withTable(SCORES, (index) => `_0x5e1a('0x${index.toString(16)}')`),
  },
  {
    name: 'table split from one text',
    plain: SCORES,
    code: `var T='${textsOf(SCORES).join('|')}'.split('|');${withTable(SCORES, (index) => `T[${index}]`)}`,
  },
  {
    name: 'table that is reversed before use',
    plain: SCORES,
    code: `var words=${JSON.stringify(textsOf(SCORES).toReversed())};words.reverse();${withTable(SCORES, (index) => `words[${index}]`)}`,
  },
  {
    name: 'table as an object',
    plain: SCORES,
    code:
      `var _0xab12={${textsOf(SCORES).map((text, i) => `k${i}:${quote(text)}`)}};` +
      withTable(SCORES, (index) => `_0xab12['k${index}']`),
  },
];

const expressions: EncodedSample[] = [
  {
    name: 'fromCharCode.apply with arithmetic',
    plain: SCORES,
    code: withTexts(
      SCORES,
      (text) => `String.fromCharCode.apply(null,[${codesOf(text).map((code) => `${code * 2}/2`)}])`,
    ),
  },
  {
    name: 'character codes through map',
    plain: HOTEL,
    code: withTexts(
      HOTEL,
      (text) => `[${codesOf(text).map((code) => code - 1)}].map((c)=>String.fromCharCode(c+1)).join("")`,
    ),
  },
  {
    name: 'shift by a constant variable',
    plain: SCORES,
    code: `const salt=9;${withTexts(SCORES, (text) => `${quote(shifted(text, 9))}.split("").map(c=>String.fromCharCode(c.charCodeAt(0)-salt)).join("")`)}`,
  },
  {
    name: 'junk removed by replace',
    plain: SCORES,
    code: withTexts(SCORES, (text) => `"${Array.from(text).join('#~')}".replace(/#~/g,"")`),
  },
  {
    name: 'pieces joined by concat',
    plain: HOTEL,
    code: withTexts(
      HOTEL,
      (text) => `${quote(text.slice(0, 2))}.concat(${quote(text.slice(2, 4))},${quote(text.slice(4))})`,
    ),
  },
  {
    name: 'unicode escapes',
    plain: HOTEL,
    code: withTexts(
      HOTEL,
      (text) =>
        `'${codesOf(text)
          .map((code) => `\\u${code.toString(16).padStart(4, '0')}`)
          .join('')}'`,
    ),
  },
  {
    name: 'escapes in templates',
    plain: HOTEL,
    code: withTexts(HOTEL, (text) => `\`${hex(text).replace(/../g, '\\x$&')}\``),
  },
  {
    name: 'UTF-8 through atob and escape',
    plain: HOTEL,
    code: withTexts(HOTEL, (text) => `decodeURIComponent(escape(atob("${base64(text)}")))`),
  },
  {
    name: 'computed members in pieces',
    plain: SCORES,
    code: SCORES.replace(
      /\.(players|award|keys|sort|forEach|indexOf|log)\b/g,
      (_, name: string) => `["${name.slice(0, 2)}"+"${name.slice(2)}"]`,
    ),
  },
];

const layers: EncodedSample[] = [
  {
    name: 'eval of character codes',
    plain: HOTEL,
    code: `eval(String.fromCharCode(${codesOf(HOTEL).map((code) => `${code + 3}-3`)}));`,
  },
  {
    name: 'eval of a text built in a loop',
    plain: SCORES,
    code: `var codes=[${codesOf(SCORES).map((code) => code ^ 21)}];var text='';for(var i=0;i<codes.length;i++)text+=String.fromCharCode(codes[i]^21);eval(text);`,
  },
  {
    name: 'function constructor in disguise',
    plain: SCORES,
    code: `[]['fil'+'ter']['const'+'ructor'](atob('${base64(SCORES)}'))();`,
  },
  {
    name: 'three different layers',
    plain: HOTEL,
    code: `eval(${quote(
      reversed(
        `new Function(Buffer.from("${base64(`eval(unescape("${percent(HOTEL)}"))`)}","base64").toString())()`,
      ),
    )}.split("").reverse().join(""))`,
  },
  {
    name: 'eval between other statements',
    plain: `console.log('before');\n${SCORES}console.log('after');`,
    code: `console.log('be'+'fo'+'re');eval(decodeURIComponent("${percent(SCORES)}"));console.log(unescape('${percent('after')}'));`,
  },
  {
    name: 'decoder inside of an eval layer',
    plain: HOTEL,
    code: `eval(atob("${base64(
      `var u=function(t){return t.split('').reverse().join('')};${withTexts(HOTEL, (text) => `u(${quote(reversed(text))})`)}`,
    )}"))`,
  },
];

export const ENCODED_SAMPLES: readonly EncodedSample[] = [...decoders, ...tables, ...expressions, ...layers];
