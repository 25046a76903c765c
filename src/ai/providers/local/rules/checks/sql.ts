import { definition, HOLE, skeleton } from '../constants.js';
import { confidenceIn, provenance, severityFor, type Rule } from '../rule.js';
import { SQL_METHODS, SQL_RECEIVER, SURE_SQL_METHODS } from '../sinks.js';
import { children, objectProperty, type NodePath } from '../syntax.js';
import { threat } from '../trace.js';

const SQL_TEXT = new RegExp(
  [
    /\bselect\s|\b(?:insert|merge|replace)\s+into\b|\bupdate\s+\S+\s+set\b|\bdelete\s+from\b|\btruncate\b/,
    /\b(?:drop|create|alter)\s+(?:table|database|index|schema|user)\b|\bunion\s+(?:all\s+)?select\b/,
    /\bwhere\s|\border\s+by\b|\b(?:call|exec)\s+\w+|\bgrant\s/,
  ]
    .map(({ source }) => source)
    .join('|'),
  'i',
);
const SQL_CONDITION = /(?:=|<|>|\blike\b|\bin\b|\bis\b)\s*\(?['"%]{0,3}\uE000/i;
/** Parameters that name a part of the schema are the program's own wherever nothing says otherwise. */
const SCHEMA_WORDS =
  'table|schema|columns?|cols|fields?|database|keyspace|view|index|prefix|suffix|placeholders?|marks|where|clauses?|' +
  'conditions?|order|set|values|savepoint|sql|query|queries|statement|names?List';
const SCHEMA_NAME = new RegExp(`(?:^|\\.)\\w*(?:${SCHEMA_WORDS})\\w*$`, 'i');

/** SQL put together from text. */
export const sqlInjection: Rule = (context) => {
  const { names, taint } = context;
  const check = (call: NodePath): void => {
    const method = names.method(call);
    if (!SQL_METHODS.test(method)) {
      return;
    }
    const [first] = children(call, 'arguments');
    if (!first) {
      return;
    }
    const options = definition(first);
    const statement = objectProperty(options, 'sql') ?? objectProperty(options, 'text') ?? first;
    const found = threat(taint.of(statement), 'sql');
    if (!found || found.channel === 'browser') {
      return;
    }
    const text = skeleton(statement).replaceAll(HOLE + HOLE, HOLE);
    const isSql =
      SQL_TEXT.test(text) || (/^(?:where|andWhere|orWhere|literal)/.test(method) && SQL_CONDITION.test(text));
    const isDatabase = SURE_SQL_METHODS.test(method) && SQL_RECEIVER.test(names.receiverWords(call));
    // A whole statement that a parameter hands on says nothing; one that a client writes does.
    const isWhole = !found.composed;
    const isReal =
      found.level === 'remote' || found.level === 'local' ? isSql || isDatabase : isSql && !isWhole;
    const origin = found.origin.replace(/^parameter /, '');
    if (!isReal || (found.level === 'dynamic' && SCHEMA_NAME.test(origin))) {
      return;
    }
    context.report('sqlInjection', call, {
      severity: severityFor('high', found),
      confidence: confidenceIn(found),
      detail: provenance(found),
    });
  };
  return { CallExpression: check, OptionalCallExpression: check, NewExpression: check };
};
