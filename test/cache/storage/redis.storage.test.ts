import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { StorageUnavailableError } from '../../../src/cache/cache.errors.js';
import { RedisConnection } from '../../../src/cache/redis/connection.js';
import { RedisRemote } from '../../../src/cache/redis/redis-remote.js';
import { WEEK_MS } from '../../../src/cache/replication/replica.js';
import { EnvelopeCodec } from '../../../src/cache/storage/envelope.js';
import { RedisCacheStorage } from '../../../src/cache/storage/redis.storage.js';
import { RedisServer } from '../../support/redis-server.js';
import { describeStorageContract, entryOf } from './storage-contract.js';

let server: RedisServer;
beforeAll(async () => {
  server = await RedisServer.start(['--appendfsync', 'no']);
});
afterAll(() => server.close());

async function connect(commandTimeoutMs = 2000): Promise<RedisConnection> {
  const connection = new RedisConnection({
    mode: 'standalone',
    host: '127.0.0.1',
    port: server.port,
    db: 0,
    tls: false,
    keyPrefix: 'test:',
    commandTimeoutMs,
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

describe('RedisCacheStorage', () => {
  it('leaves foreign keys alone, and never uses what would not', async () => {
    const connection = await connect();
    const storage = new RedisCacheStorage({ connection, codec: new EnvelopeCodec() });
    await connection.run((client) =>
      client.mset('foreign', '1', 'test:default:e:', '2', 'test:default', '3'),
    );
    await storage.set('key', entryOf(1, Date.now()));
    await storage.clear();
    const left = await connection.run((client) =>
      client.exists('foreign', 'test:default:e:', 'test:default', 'test:default:e:{key}'),
    );
    expect(left).toBe(3);
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

  it('overwrites what is no entry at all', async () => {
    const connection = await connect();
    const storage = new RedisCacheStorage({ connection, codec: new EnvelopeCodec() });
    await connection.run((client) => client.rpush('test:default:e:{list}', 'x'));
    await connection.run((client) => client.rpush('test:default:g:{list}', 'x'));
    expect(await storage.get('list')).toBeUndefined();
    expect(await storage.set('list', entryOf('value', Date.now()))).toBe('redis');
    expect(await storage.get('list')).toMatchObject({ entry: { value: 'value' } });
    await storage.close();
  });

  it('says that Redis is away, where it is used alone', async () => {
    const connection = await connect(100);
    const storage = new RedisCacheStorage({ connection, codec: new EnvelopeCodec() });
    server.freeze();
    await expect(storage.get('key')).rejects.toThrow(StorageUnavailableError);
    await expect(storage.set('key', entryOf(1, Date.now()))).rejects.toThrow(StorageUnavailableError);
    server.thaw();
    await storage.close();
  });

  it('follows what others have cleared and invalidated', async () => {
    const connection = await connect();
    const codec = new EnvelopeCodec();
    const storage = new RedisCacheStorage({ connection, codec });
    const remote = new RedisRemote({ connection, namespace: 'default', maxLifeMs: WEEK_MS });
    await storage.set('a', entryOf(1, Date.now(), 60_000, ['red']));
    await storage.set('b', entryOf(1, Date.now(), 60_000, ['blue']));
    const { version } = entryOf(1, Date.now());
    await remote.exchangeMarks(new Map([['tag:red', version]]), '0-1');
    expect(await storage.getMany(['a', 'b'])).toMatchObject([undefined, { entry: { value: 1 } }]);
    expect(await storage.size()).toBe(1);
    await remote.exchangeMarks(new Map([['clear', version]]), '0-1');
    expect(await storage.getMany(['a', 'b'])).toEqual([undefined, undefined]);
    expect(await storage.size()).toBe(0);
    await storage.close();
  });
});
