import { runInThisContext } from 'node:vm';

/**
 * Jest gives a test a realm of its own, and what Node's `fetch` and signals fail with is of the one around it: no
 * `Error` there. Libraries that ask by `instanceof` would take it for something else than in production. Once this is
 * imported, an error is one wherever it was made. Outside of Jest there is one realm, and nothing to do.
 */
const around = runInThisContext('({ Error, TypeError })') as {
  readonly Error: ErrorConstructor;
  readonly TypeError: TypeErrorConstructor;
};

for (const [own, foreign] of [
  [Error, around.Error],
  [TypeError, around.TypeError],
] as const) {
  if (own === foreign) continue;
  Object.defineProperty(own, Symbol.hasInstance, {
    value(this: unknown, value: unknown): boolean {
      const ordinary = Function.prototype[Symbol.hasInstance].call(this as typeof own, value);
      // Classes that extend it inherit this, and have nothing to do with the other realm.
      return ordinary || (this === own && value instanceof foreign);
    },
  });
}
