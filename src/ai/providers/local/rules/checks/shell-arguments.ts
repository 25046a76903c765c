import { anyName } from '../name-pattern.js';
import { constantBoolean, constantText, definition } from '../constants.js';
import { confidenceIn, provenance, severityFor, type Rule } from '../rule.js';
import { children, objectProperty, type NodePath } from '../syntax.js';
import { threat } from '../trace.js';

const SPAWNER = anyName(
  '{child_process.,}{spawn,execFile}{,Sync} cross-spawn{,.sync} execa{,.execa,.sync,.execaSync}',
);
const SHELL = /^(?:.*[/\\])?(?:sh|bash|zsh|dash|ksh|cmd|cmd\.exe|powershell|powershell\.exe|pwsh)$/i;
const COMMAND_FLAG = /^(?:-c|-lc|-ec|\/c|\/s|-command)$/i;

/** Processes started through a shell in spite of separate arguments: `shell: true`, or `spawn('sh', ['-c', x])`. */
export const shellArguments: Rule = (context) => {
  const { names, taint } = context;
  const check = (call: NodePath): void => {
    if (!SPAWNER.test(names.callee(call))) {
      return;
    }
    const args = children(call, 'arguments');
    const options = args
      .map((each) => definition(each))
      .find((each) => each.node.type === 'ObjectExpression');
    const shell = objectProperty(options, 'shell');
    const usesShell = shell !== undefined && constantBoolean(shell) !== false;
    const list = args[1] && definition(args[1]);
    const [flag] = list?.node.type === 'ArrayExpression' ? children(list, 'elements') : [];
    const isShellCommand =
      SHELL.test(constantText(args[0]) ?? '') && COMMAND_FLAG.test(constantText(flag) ?? '');
    if (!usesShell && !isShellCommand) {
      return;
    }
    const found = args.map((each) => threat(taint.of(each), 'command')).find((each) => each !== undefined);
    if (found && (found.composed || found.level !== 'dynamic' || isShellCommand)) {
      context.report('commandInjection', call, {
        severity: severityFor('high', found),
        confidence: confidenceIn(found),
        detail: provenance(found),
      });
    }
  };
  return { CallExpression: check };
};
