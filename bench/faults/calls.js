const KEPT_KEYS = 100;
/** More than one state takes calls: what has been compared once need not be compared again. */
export const COMPARED_KEYS = 6000;

export const OPERATIONS = ['get, in L1', 'get, to be compared', 'get, a miss', 'set'];

const VALUE = { id: 'a value of some 100 bytes', text: 'x'.repeat(80) };

/** The calls of one kind after the other, on one cache. */
export class Calls {
  #count = 0;

  constructor(cache) {
    this.cache = cache;
  }

  /** Puts there what is read later; the instance knows all of it. */
  async prepare() {
    await this.#write('kept', KEPT_KEYS);
    await this.#write('compared', COMPARED_KEYS);
  }

  /** After a gap of what is told everything has to be compared; not these any more. */
  async warm() {
    for (let index = 0; index < KEPT_KEYS; index += 1) await this.cache.get(`kept:${index}`);
  }

  next() {
    const nth = this.#count;
    this.#count += 1;
    const operation = OPERATIONS[nth % OPERATIONS.length];
    const turn = Math.floor(nth / OPERATIONS.length);
    return { operation, call: () => this.#call(operation, turn) };
  }

  #call(operation, turn) {
    switch (operation) {
      case 'get, in L1':
        return this.cache.get(`kept:${turn % KEPT_KEYS}`);
      case 'get, to be compared':
        return this.cache.get(`compared:${turn % COMPARED_KEYS}`);
      case 'get, a miss':
        return this.cache.get(`missing:${turn}`);
      default:
        return this.cache.set(`written:${turn}`, VALUE);
    }
  }

  async #write(name, count) {
    for (let index = 0; index < count; index += 100) {
      const keys = Array.from(
        { length: Math.min(100, count - index) },
        (_, step) => `${name}:${index + step}`,
      );
      await Promise.all(keys.map((key) => this.cache.set(key, VALUE)));
    }
  }
}
