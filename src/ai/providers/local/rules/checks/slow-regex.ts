import { constantText } from '../constants.js';
import { isAmbiguous } from '../regex-ambiguity.js';
import type { Rule, RuleContext } from '../rule.js';
import { children, type NodePath } from '../syntax.js';

function check(context: RuleContext, path: NodePath, pattern: string, flags: string): void {
  if (isAmbiguous(pattern, flags)) {
    context.report('slowRegex', path, {
      severity: 'medium',
      detail: `the pattern is \`${pattern.slice(0, 120)}\``,
    });
  }
}

/** Regular expressions, also those in strings, that can take exponential time. */
export const slowRegex: Rule = (context) => {
  const constructed = (path: NodePath): void => {
    const [pattern, flags] = children(path, 'arguments');
    const text = context.names.callee(path) === 'RegExp' ? constantText(pattern) : undefined;
    if (text !== undefined) {
      check(context, path, text, constantText(flags) ?? '');
    }
  };
  return {
    RegExpLiteral(path) {
      if (path.node.type === 'RegExpLiteral') {
        check(context, path, path.node.pattern, path.node.flags);
      }
    },
    CallExpression: constructed,
    NewExpression: constructed,
  };
};
