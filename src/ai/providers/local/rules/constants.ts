import { child, children, unwrap, type NodePath } from './syntax.js';

/** Bounds the work for one text: variables that double each other would otherwise take exponential time. */
const MAX_STEPS = 400;
const MAX_DEPTH = 12;
/** Stands for a part of a text that is not known; a character for private use, so no text has it. */
export const HOLE = '\uE000';

function initialiser(path: NodePath): NodePath | undefined {
  if (path.node.type !== 'Identifier') {
    return undefined;
  }
  const binding = path.scope.getBinding(path.node.name);
  return binding?.path.node.type === 'VariableDeclarator' && binding.path.node.id.type === 'Identifier'
    ? child(binding.path, 'init')
    : undefined;
}

/** The initialiser of a variable that is never assigned again; otherwise the expression itself. */
export function definition(path: NodePath): NodePath {
  const inner = unwrap(path);
  if (inner.node.type !== 'Identifier') {
    return inner;
  }
  const binding = inner.scope.getBinding(inner.node.name);
  const init = binding?.constant ? initialiser(inner) : undefined;
  return init ? unwrap(init) : inner;
}

/** Operands of a chain of `+`, and pieces of a template, in order. Loops: such chains can be very long. */
export function pieces(path: NodePath): NodePath[] | undefined {
  const whole = unwrap(path);
  if (whole.node.type === 'TemplateLiteral') {
    const expressions = children(whole, 'expressions');
    return children(whole, 'quasis').flatMap((quasi, index) => {
      const expression = expressions[index];
      return expression ? [quasi, expression] : [quasi];
    });
  }
  if (whole.node.type !== 'BinaryExpression' || whole.node.operator !== '+') {
    return undefined;
  }
  const operands: NodePath[] = [];
  let current = whole;
  while (current.node.type === 'BinaryExpression' && current.node.operator === '+') {
    const left = child(current, 'left');
    const right = child(current, 'right');
    if (!left || !right) {
      break;
    }
    operands.push(right);
    current = unwrap(left);
  }
  operands.push(current);
  return operands.toReversed();
}

/** A text with `HOLE` for what is unknown; follows variables, also what is appended to them. */
export function skeleton(path: NodePath, depth = 0, budget = { steps: MAX_STEPS }): string {
  budget.steps -= 1;
  const whole = unwrap(path);
  const { node } = whole;
  if (node.type === 'StringLiteral') {
    return node.value;
  }
  if (node.type === 'NumericLiteral') {
    return String(node.value);
  }
  if (node.type === 'TemplateElement') {
    return node.value.cooked ?? node.value.raw;
  }
  if (depth > MAX_DEPTH || budget.steps < 0) {
    return HOLE;
  }
  const parts = pieces(whole);
  if (parts) {
    return parts
      .slice(0, 200)
      .map((part) => skeleton(part, depth + 1, budget))
      .join('');
  }
  if (node.type === 'Identifier') {
    return variableSkeleton(whole, node.name, depth, budget);
  }
  if (node.type === 'ConditionalExpression' || node.type === 'LogicalExpression') {
    const branch = child(whole, node.type === 'LogicalExpression' ? 'right' : 'consequent');
    return HOLE + (branch ? skeleton(branch, depth + 1, budget) : '');
  }
  return HOLE;
}

function variableSkeleton(path: NodePath, name: string, depth: number, budget: { steps: number }): string {
  const binding = path.scope.getBinding(name);
  const init = initialiser(path);
  const appended = (binding?.constantViolations ?? []).slice(0, 20).map((violation) => {
    const right = violation.node.type === 'AssignmentExpression' ? child(violation, 'right') : undefined;
    return right ? skeleton(right, depth + 1, budget) : HOLE;
  });
  if (!init && appended.length === 0) {
    return HOLE;
  }
  return (init ? skeleton(init, depth + 1, budget) : '') + appended.join('');
}

/** The value of an expression that can only be one text. */
export function constantText(path: NodePath | undefined): string | undefined {
  if (!path) {
    return undefined;
  }
  const whole = unwrap(path);
  if (whole.node.type === 'Identifier') {
    const defined = definition(whole);
    return defined === whole ? undefined : constantText(defined);
  }
  const text = skeleton(whole);
  return text.includes(HOLE) ? undefined : text;
}

export function constantNumber(path: NodePath | undefined): number | undefined {
  const node = path && definition(path).node;
  return node?.type === 'NumericLiteral' ? node.value : undefined;
}

export function constantBoolean(path: NodePath | undefined): boolean | undefined {
  const node = path && definition(path).node;
  if (node?.type === 'UnaryExpression' && node.operator === '!' && node.argument.type === 'NumericLiteral') {
    return node.argument.value === 0;
  }
  return node?.type === 'BooleanLiteral' ? node.value : undefined;
}
