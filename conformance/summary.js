/** Prints what failed and why, what was skipped and why, and a line for each suite. */
export default class Summary {
  onTestRunEnd(modules, unhandledErrors) {
    for (const error of unhandledErrors) console.error(error);
    const rows = modules.flatMap((module) => {
      for (const error of module.errors()) console.error(module.moduleId, error);
      return [...module.children].map(rowOf);
    });
    console.table(Object.fromEntries(rows));
  }
}

function rowOf(suite) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  if (suite.type === 'suite') for (const error of suite.errors()) console.error(suite.fullName, error);
  for (const test of suite.type === 'suite' ? suite.children.allTests() : [suite]) {
    const { state, errors = [] } = test.result();
    counts[state] += 1;
    if (state === 'failed')
      console.error(
        `failed: ${test.fullName}\n`,
        ...errors.map(({ message, stack }) => `${message}\n${stack}`),
      );
    if (state === 'skipped') console.log(`skipped: ${test.fullName}`);
  }
  return [suite.name, counts];
}
