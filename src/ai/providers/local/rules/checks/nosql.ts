import { anyName } from '../name-pattern.js';
import { definition } from '../constants.js';
import { provenance, severityFor, type Rule, type RuleContext } from '../rule.js';
import { child, children, isFunction, objectProperty, propertyName, type NodePath } from '../syntax.js';
import { threat, type Trace } from '../trace.js';

const FILTER_METHODS = anyName(`
  find findOne findOneAnd{Update,Delete,Replace,Remove} findAndModify exists distinct aggregate where mapReduce group
  update updateOne updateMany replaceOne remove deleteOne deleteMany count countDocuments
`);

function operatorIn(context: RuleContext, value: NodePath, depth = 0): Trace | undefined {
  const inner = definition(value);
  if (inner.node.type === 'ObjectExpression' && depth < 4) {
    // `{ where: … }` belongs to a SQL mapper, which takes no operators from strings.
    if (objectProperty(inner, 'where')) {
      return undefined;
    }
    for (const property of children(inner, 'properties')) {
      const part =
        property.node.type === 'SpreadElement' ? child(property, 'argument') : child(property, 'value');
      const isWrapped = /^\$(?:eq|in|nin|regex|options|search)$/.test(propertyName(property) ?? '');
      const found = part && !isWrapped ? operatorIn(context, part, depth + 1) : undefined;
      if (found) {
        return found;
      }
    }
    return undefined;
  }
  if (inner.node.type === 'ArrayExpression' && depth < 4) {
    return children(inner, 'elements')
      .map((each) => operatorIn(context, each, depth + 1))
      .find((each) => each !== undefined);
  }
  const found = threat(context.taint.of(value), 'nosql');
  return found?.level === 'remote' && found.channel !== 'browser' ? found : undefined;
}

function checkFilter(context: RuleContext, call: NodePath): void {
  const [filter] = children(call, 'arguments');
  if (!filter || !FILTER_METHODS.test(context.names.method(call)) || !context.names.receiver(call)) {
    return;
  }
  const value = definition(filter);
  if (isFunction(value) || value.node.type === 'StringLiteral' || value.node.type === 'ArrayExpression') {
    return;
  }
  // These are also methods of hashes, sets and lists.
  const isAmbiguous = /^(?:update|where|count|group|exists|distinct|remove)$/.test(
    context.names.method(call),
  );
  const isQuery = value.node.type === 'ObjectExpression' || !isAmbiguous;
  const found = isQuery ? operatorIn(context, filter) : undefined;
  if (found) {
    context.report('nosqlInjection', call, {
      severity: severityFor('medium', found),
      confidence: 'medium',
      detail: provenance(found),
    });
  }
}

/** Operators that take JavaScript. */
function checkCode(
  context: RuleContext,
  where: NodePath,
  name: string | undefined,
  value: NodePath | undefined,
): void {
  const isCode = /^\$(?:where|function|accumulator)$/.test(name ?? '');
  const found = isCode ? threat(context.taint.of(value), 'code') : undefined;
  if (found && (found.composed || found.level === 'remote')) {
    context.report('nosqlInjection', where, {
      severity: severityFor('medium', found),
      detail: provenance(found),
    });
  }
}

/** Queries of document databases that take operators or code from outside. */
export const nosqlInjection: Rule = (context) => ({
  CallExpression: (path) => checkFilter(context, path),
  ObjectProperty: (path) => checkCode(context, path, propertyName(path), child(path, 'value')),
  AssignmentExpression(path) {
    const left = child(path, 'left');
    checkCode(context, path, left && propertyName(left), child(path, 'right'));
  },
});
