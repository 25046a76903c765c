/**
 * A `Cache` as the driver of a second level of bentocache: texts under keys, in namespaces that nest. There a namespace
 * is a prefix of the key, and clearing one clears those within: an entry carries the tags of all that it lies in.
 */
export class BentocacheDriver {
  type = 'l2';
  #cache;
  #path;

  constructor(cache, path = []) {
    this.#cache = cache;
    this.#path = path;
  }

  namespace(name) {
    return new BentocacheDriver(this.#cache, [...this.#path, name]);
  }

  get(key) {
    return this.#cache.get(this.#keyOf(key));
  }

  async pull(key) {
    const value = await this.get(key);
    await this.delete(key);
    return value;
  }

  async set(key, value, ttlMs) {
    const tags = this.#path.map((_, index) => this.#path.slice(0, index + 1).join(':'));
    await this.#cache.set(this.#keyOf(key), value, { ...(ttlMs !== undefined && { ttlMs }), tags });
    return true;
  }

  async delete(key) {
    return (await this.#cache.delete(this.#keyOf(key))).existed;
  }

  async deleteMany(keys) {
    await Promise.all(keys.map((key) => this.delete(key)));
    return true;
  }

  async clear() {
    if (this.#path.length === 0) await this.#cache.clear();
    else await this.#cache.invalidateTags([this.#path.join(':')]);
  }

  async disconnect() {}

  #keyOf(key) {
    return [...this.#path, key].join(':');
  }
}
