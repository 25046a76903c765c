import { describe, expect, it } from '@jest/globals';
import { Budget } from '../../../../../src/ai/providers/local/deobfuscation/budget.js';
import { inlineConstantLayers } from '../../../../../src/ai/providers/local/deobfuscation/inline-layers.js';
import { unwrapLayer } from '../../../../../src/ai/providers/local/deobfuscation/unwrap-layers.js';

const unwrap = (source: string) => unwrapLayer(source, new Budget(4_000));

const inline = (source: string) => inlineConstantLayers(source)?.code.replace(/\s+/g, ' ');

describe('unwrapping', () => {
  it.each([
    ['eval(atob("cnVuKCk="));', 'eval'],
    ['(0, eval)(atob("cnVuKCk="));', 'eval'],
    ['Function(atob("cnVuKCk="))();', 'Function'],
    ['new Function(atob("cnVuKCk=")).call(null);', 'Function'],
    ['(function () {}).constructor(atob("cnVuKCk="))();', 'Function'],
    ['(function* () {}).constructor.constructor(atob("cnVuKCk="))();', 'Function'],
    ['setTimeout(atob("cnVuKCk="), 10);', 'timer'],
    ['document.write("<script>" + atob("cnVuKCk=") + "</script>");', 'document.write'],
    ['var g = window; g["ev" + "al"](atob("cnVuKCk="));', 'eval'],
  ])('%s', async (source, via) => {
    expect(await unwrap(source)).toEqual({ code: 'run()', layer: { via, bytes: expect.any(Number) } });
  });

  it.each([
    ['does other things as well', 'console.log("x"); eval("run()");'],
    ['reads where it runs', 'eval(location.hash || "run()");'],
    ['asks where it runs', 'eval(typeof window === "undefined" ? "a()" : "b()");'],
    ['asks what day it is', 'eval(new Date().getDay() ? "a()" : "b()");'],
    ['defines what the inner code uses', 'var key = 5; eval("run(key)");'],
    ['runs several texts', 'eval("a()"); eval("b()");'],
    ['runs no text', 'function evaluate() { return eval; }'],
  ])('keeps a script that %s', async (_, source) => {
    expect(await unwrap(source)).toBeUndefined();
  });
});

describe('code in the place where it runs', () => {
  it.each([
    ['start(); eval("var a = 1; run(a)");', 'start(); var a = 1; run(a);'],
    ['x = eval("1 + 2");', 'x = 1 + 2;'],
    ['const add = new Function("a", "b", "return a + b");', 'const add = function (a, b) { return a + b; };'],
    ['go(); setTimeout("run()", 5);', 'go(); setTimeout(function () { run(); }, 5);'],
  ])('%s', (source, expected) => {
    expect(inline(source)).toBe(expected);
  });

  it.each([
    ['a local variable would be caught', 'function f(run) { return new Function("return run()"); }'],
    ['eval is somebody else', 'function f(eval) { eval("run()"); }'],
    ['strict code keeps its own variables', '"use strict"; eval("var a = 1"); log(typeof a);'],
    ['a name is taken', 'let a = 2; { eval("var b = 1"); } eval("let a = 1; run(a)");'],
    ['the text is no program', 'eval("not a program {");'],
    ['it is a debugger trap', '(function () {}).constructor("debugger")();'],
  ])('leaves the text where %s', (_, source) => {
    expect(inline(source)).toBeUndefined();
  });
});
