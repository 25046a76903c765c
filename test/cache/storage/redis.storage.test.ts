import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { StorageUnavailableError } from '../../../src/cache/cache.errors.js';
import { RedisConnection } from '../../../src/cache/redis/connection.js';
import { EnvelopeCodec } from '../../../src/cache/storage/envelope.js';
import { MemoryCacheStorage } from '../../../src/cache/storage/memory.storage.js';
import { RedisCacheStorage } from '../../../src/cache/storage/redis.storage.js';
import { ReplicatedCacheStorage } from '../../../src/cache/storage/replicated.storage.js';
import { RedisServer } from '../../support/redis-server.js';
import { describeStorageContract, entryOf } from './storage-contract.js';

let server: RedisServer;
beforeAll(async () => {
  server = await RedisServer.start(['--appendfsync', 'no']);
});
afterAll(() => server.close());

async function connect(): Promise<RedisConnection> {
  const connection = new RedisConnection({
    mode: 'standalone',
    host: '127.0.0.1',
    port: server.port,
    db: 0,
    tls: false,
    keyPrefix: 'test:',
    commandTimeoutMs: 2000,
    connectTimeoutMs: 2000,
  });
  await connection.settled(2000);
  await connection.run((client) => client.flushall());
  return connection;
}

const realTime = { now: Date.now, pass: (ms: number) => sleep(ms) };

describeStorageContract('RedisCacheStorage', async () => ({
  storage: new RedisCacheStorage({ connection: await connect(), codec: new EnvelopeCodec() }),
  ...realTime,
}));

describeStorageContract('RedisCacheStorage, encrypted', async () => {
  const codec = new EnvelopeCodec({ encryptionKeys: [{ id: 'k1', key: Buffer.alloc(32, 1) }] });
  return { storage: new RedisCacheStorage({ connection: await connect(), codec }), ...realTime };
});

describeStorageContract('ReplicatedCacheStorage over Redis', async () => {
  const shared = new RedisCacheStorage({ connection: await connect(), codec: new EnvelopeCodec() });
  const local = new MemoryCacheStorage({ maxBytes: 100 * 2 ** 20 });
  return { storage: new ReplicatedCacheStorage(local, shared), ...realTime };
});

describe('RedisCacheStorage', () => {
  it('leaves foreign keys alone, and never uses what would not', async () => {
    const connection = await connect();
    const storage = new RedisCacheStorage({ connection, codec: new EnvelopeCodec() });
    await connection.run((client) =>
      client.mset('foreign', '1', 'test:default:e:', '2', 'test:default', '3'),
    );
    await storage.set('key', entryOf(1, Date.now()));
    await storage.clear();
    expect(await connection.run((client) => client.dbsize())).toBe(3);
    const commands = await connection.run((client) => client.info('commandstats'));
    expect(commands).not.toMatch(/cmdstat_(keys|flushdb)\b/);
    await storage.close();
  });

  it('sets expiries in milliseconds, absolute', async () => {
    const connection = await connect();
    const storage = new RedisCacheStorage({ connection, codec: new EnvelopeCodec() });
    const entry = entryOf('value', Date.now(), 12_345);
    await storage.set('key', entry);
    expect(await connection.run((client) => client.pexpiretime('test:default:e:{key}'))).toBe(
      entry.expiresAt,
    );
    await storage.close();
  });

  it('counts what it cannot read as a miss', async () => {
    const connection = await connect();
    const storage = new RedisCacheStorage({ connection, codec: new EnvelopeCodec() });
    await storage.set('key', entryOf('value', Date.now()));
    await connection.run((client) => client.setrange('test:default:e:{key}', 95, 'damage'));
    expect(await storage.get('key')).toBeUndefined();
    await connection.run((client) => client.set('test:default:e:{key}', 'foreign'));
    expect(await storage.get('key')).toBeUndefined();
    expect(storage.stats().corrupt).toBe(2);
    await storage.close();
  });

  it('says that Redis is away, where it is used alone', async () => {
    const connection = await connect();
    const storage = new RedisCacheStorage({ connection, codec: new EnvelopeCodec() });
    await connection.run((client) => client.rpush('test:default:e:{list}', 'x'));
    await expect(storage.get('list')).rejects.toThrow(StorageUnavailableError);
    await storage.close();
  });
});

describe('ReplicatedCacheStorage', () => {
  it('follows what Redis says while it answers, and stands in while it does not', async () => {
    const connection = await connect();
    const codec = new EnvelopeCodec();
    const local = new MemoryCacheStorage({ maxBytes: 2 ** 20 });
    const storage = new ReplicatedCacheStorage(local, new RedisCacheStorage({ connection, codec }));
    const other = new RedisCacheStorage({ connection, codec });

    expect(await storage.set('key', entryOf('mine', Date.now()))).toBe('redis');
    await other.set('key', entryOf('theirs', Date.now()));
    expect(await storage.get('key')).toMatchObject({ entry: { value: 'theirs' }, tier: 'redis' });
    expect(local.peek('key')).toMatchObject({ entry: { value: 'theirs' } });

    await other.delete('key');
    expect(await storage.get('key')).toBeUndefined();
    expect(local.peek('key')).toBeUndefined();

    await storage.set('kept', entryOf('kept', Date.now()));
    server.freeze();
    expect(await storage.get('kept')).toMatchObject({ entry: { value: 'kept' }, tier: 'memory' });
    expect(await storage.set('away', entryOf('away', Date.now()))).toBe('local');
    expect(await storage.getMany(['away', 'kept'])).toHaveLength(2);
    expect(storage.peek('away')).toMatchObject({ tier: 'memory' });
    expect(await storage.delete('kept')).toBe(true);
    expect(await storage.size()).toBe(1);
    expect(storage.stats().faults).toBeGreaterThan(0);
    await storage.clear();
    expect(await storage.get('away')).toBeUndefined();
    server.thaw();
    await storage.close();
  });
});
