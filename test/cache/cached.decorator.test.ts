import { Controller, Get, Inject, Injectable, Module, Param, Scope, SetMetadata } from '@nestjs/common';
import type { Provider } from '@nestjs/common';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { ContextIdFactory, ModuleRef, REQUEST } from '@nestjs/core';
import { Test } from '@nestjs/testing';
import type { TestingModule } from '@nestjs/testing';
import { afterEach, describe, expect, it } from '@jest/globals';
import { ArgumentsNotSerializableError, CachedMethodError } from '../../src/cache/cache.errors.js';
import { Cache } from '../../src/cache/cache.js';
import { CacheModule } from '../../src/cache/cache.module.js';
import { getCacheToken } from '../../src/cache/cache.tokens.js';
import { Cached } from '../../src/cache/cached.decorator.js';
import { MemoryCacheStorage } from '../../src/cache/storage/memory.storage.js';

interface Report {
  readonly id: string;
  readonly run: number;
}

@Injectable()
class Reports {
  readonly log: unknown[][] = [];
  gate: Promise<unknown> | undefined;

  @Cached()
  async find(id: string, limit?: number): Promise<Report> {
    this.log.push([id, limit]);
    await this.gate;
    return { id, run: this.log.length };
  }

  @Cached({
    key: (id: string) => `report:${id}`,
    tags: (report: Report, id: string) => [`run:${report.run}`, id],
    ttlMs: 1000,
  })
  async named(id: string, _more = 0): Promise<Report> {
    return { id, run: this.log.push([id]) };
  }

  @Cached({ tags: ['all'] })
  async untagged(): Promise<number> {
    return this.log.push([]);
  }

  @Cached()
  async abortable(id: string, signal?: AbortSignal): Promise<string> {
    this.log.push([id, signal]);
    await this.gate;
    return `${id} ${signal?.aborted}`;
  }

  @Cached()
  async failing(): Promise<never> {
    this.log.push([]);
    throw new Error(`failure ${this.log.length}`);
  }
}

const opened: TestingModule[] = [];

async function application(providers: Provider[], ...imports: ReturnType<typeof CacheModule.forFeature>[]) {
  @Module({ imports, providers })
  class FeatureModule {}
  const app = await Test.createTestingModule({
    imports: [CacheModule.forRoot({ isGlobal: true }), FeatureModule],
  }).compile();
  opened.push(app);
  return app.init();
}

describe('@Cached', () => {
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((app) => app.close()));
  });

  it('runs a method once for the same arguments', async () => {
    const reports = (await application([Reports])).get(Reports);
    const first = await reports.find('a');
    const second = await reports.find('a');
    expect(second).toEqual(first);
    expect(Object.isFrozen(second)).toBe(true);
    await reports.find('a', 1);
    await reports.find('a', undefined);
    expect(reports.log).toEqual([
      ['a', undefined],
      ['a', 1],
      ['a', undefined],
    ]);
  });

  it('runs it once for all who call meanwhile, and tells all of its failure', async () => {
    const reports = (await application([Reports])).get(Reports);
    const gate = Promise.withResolvers<void>();
    reports.gate = gate.promise;
    const calls = Array.from({ length: 10 }, () => reports.find('a'));
    gate.resolve();
    expect(new Set((await Promise.all(calls)).map(({ run }) => run))).toEqual(new Set([1]));
    const failures = await Promise.allSettled([reports.failing(), reports.failing()]);
    expect(failures.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    await expect(reports.failing()).rejects.toThrow('failure 3');
  });

  it("stores under class, method and arguments, or a key of one's own, with tags", async () => {
    const app = await application([Reports]);
    const cache = app.get(Cache);
    const reports = app.get(Reports);
    await reports.find('a', 1);
    expect(await cache.get('Reports.find("a",1)')).toEqual({ id: 'a', run: 1 });
    await reports.named('b', 5);
    const [stored] = await cache.inspect<Report>(['report:b']);
    expect(stored?.entry.tags).toEqual(['run:2', 'b']);
    expect((stored?.entry.freshUntil ?? 0) - (stored?.entry.createdAt ?? 0)).toBe(1000);
    await reports.named('b', 6);
    await reports.untagged();
    await cache.invalidateTags(['run:2', 'all']);
    await cache.delete('Reports.find("a",1)');
    await Promise.all([reports.named('b'), reports.untagged(), reports.find('a', 1)]);
    expect(reports.log).toHaveLength(6);
  });

  it('keeps to a namespace', async () => {
    @Injectable()
    class Prices {
      runs = 0;
      @Cached({ namespace: 'prices' })
      async of(_product: string): Promise<number> {
        return ++this.runs;
      }
      @Cached()
      async elsewhere(): Promise<number> {
        return ++this.runs;
      }
    }
    const app = await application([Prices], CacheModule.forFeature('prices'));
    const prices = app.get(Prices);
    await prices.of('a');
    await prices.elsewhere();
    expect(await app.get<Cache>(getCacheToken('prices')).get('Prices.of("a")')).toBe(1);
    expect(await app.get(Cache).get('Prices.of("a")')).toBeUndefined();
    await app.get<Cache>(getCacheToken('prices')).clear();
    expect([await prices.of('a'), await prices.elsewhere()]).toEqual([3, 2]);
    await expect(application([Prices])).rejects.toThrow(/CacheModule\.forFeature\("prices"\)/);
  });

  it('leaves an abort signal out of the key, and gives up its caller alone', async () => {
    const reports = (await application([Reports])).get(Reports);
    const gate = Promise.withResolvers<void>();
    reports.gate = gate.promise;
    const leaving = new AbortController();
    const first = reports.abortable('a', leaving.signal);
    const second = reports.abortable('a', new AbortController().signal);
    leaving.abort(new Error('left'));
    await expect(first).rejects.toThrow('left');
    gate.resolve();
    expect(await second).toBe('a false');
    expect(await reports.abortable('a')).toBe('a false');
    expect(reports.log).toHaveLength(1);
  });

  it('names the method whose arguments no key can be made of', async () => {
    const reports = (await application([Reports])).get(Reports);
    const call = reports.find((() => 'a') as unknown as string);
    await expect(call).rejects.toThrow(ArgumentsNotSerializableError);
    await expect(call).rejects.toThrow(/arguments of Reports\.find: argument 1 is a function/);
    expect(reports.log).toEqual([]);
  });

  it('leaves name, length and the notes of other decorators', async () => {
    class Noted {
      @SetMetadata('above', 1)
      @Cached()
      @SetMetadata('below', 2)
      async find(_one: string, _two: string): Promise<void> {}
    }
    const { find } = Noted.prototype;
    expect([find.name, find.length]).toEqual(['find', 2]);
    expect([Reflect.getMetadata('above', find), Reflect.getMetadata('below', find)]).toEqual([1, 2]);
  });

  it('keeps the methods apart that a class inherits', async () => {
    abstract class Repository {
      runs = 0;
      @Cached()
      async find(id: string): Promise<string> {
        this.runs += 1;
        return `${this.constructor.name} ${id}`;
      }
    }
    @Injectable()
    class Users extends Repository {}
    @Injectable()
    class Orders extends Repository {
      @Cached()
      override async find(id: string): Promise<string> {
        return `overridden ${await super.find(id)}`;
      }
    }
    const app = await application([Users, Orders]);
    for (const _ of [1, 2]) {
      expect(await app.get(Users).find('1')).toBe('Users 1');
      expect(await app.get(Orders).find('1')).toBe('overridden Orders 1');
    }
    expect([app.get(Users).runs, app.get(Orders).runs]).toEqual([1, 1]);
  });

  it('works for handlers of a controller', async () => {
    let runs = 0;
    @Controller('reports')
    class ReportsController {
      @Get(':id')
      @Cached({ tags: ['reports'] })
      async find(@Param('id') id: string): Promise<{ id: string; run: number }> {
        return { id, run: ++runs };
      }
    }
    @Module({ imports: [CacheModule.forRoot({})], controllers: [ReportsController] })
    class AppModule {}
    const module = await Test.createTestingModule({ imports: [AppModule] }).compile();
    const app = module.createNestApplication<NestFastifyApplication>(new FastifyAdapter());
    await app.init();
    opened.push(module);
    const get = async (path: string): Promise<unknown> => (await app.inject(path)).json();
    expect([await get('/reports/a'), await get('/reports/a'), await get('/reports/b')]).toEqual([
      { id: 'a', run: 1 },
      { id: 'a', run: 1 },
      { id: 'b', run: 2 },
    ]);
    await app.close();
  });

  it('needs nothing but a `Cache` in a test', async () => {
    const cache = new Cache({ storage: new MemoryCacheStorage({ maxBytes: 2 ** 20 }) });
    const module = await Test.createTestingModule({
      providers: [Reports, { provide: Cache, useValue: cache }],
    }).compile();
    const reports = module.get(Reports);
    await reports.find('a');
    await reports.find('a');
    expect(reports.log).toHaveLength(1);
    expect(await cache.size()).toBe(1);
    await expect(new Reports().find('a')).rejects.toThrow(
      new CachedMethodError('Reports.find', 'its class was not built by Nest'),
    );
  });

  describe('in a request-scoped class', () => {
    @Injectable({ scope: Scope.REQUEST })
    class Tenant {
      constructor(@Inject(REQUEST) readonly request: { readonly tenant: string }) {}
    }

    it('is refused at start: its keys would be shared by all requests', async () => {
      @Injectable()
      class Invoices {
        constructor(readonly tenant: Tenant) {}
        @Cached()
        async all(): Promise<string> {
          return this.tenant.request.tenant;
        }
      }
      await expect(application([Tenant, Invoices])).rejects.toThrow(
        /Invoices\.all can't be @Cached: its class is request-scoped/,
      );
    });

    it('works with a key that tells requests apart', async () => {
      let runs = 0;
      @Injectable()
      class Invoices {
        constructor(readonly tenant: Tenant) {}
        @Cached({
          key(this: Invoices) {
            return `invoices:${this.tenant.request.tenant}`;
          },
        })
        async all(): Promise<string> {
          runs += 1;
          return this.tenant.request.tenant;
        }
      }
      const app = await application([Tenant, Invoices]);
      const ask = async (tenant: string): Promise<string> => {
        const contextId = ContextIdFactory.create();
        app.registerRequestByContextId({ tenant }, contextId);
        return (await app.get(ModuleRef).resolve(Invoices, contextId, { strict: false })).all();
      };
      expect([await ask('a'), await ask('b'), await ask('a')]).toEqual(['a', 'b', 'a']);
      expect(runs).toBe(2);
    });
  });

  it('refuses at start two classes of one name', async () => {
    const declare = (): new () => object => {
      @Injectable()
      class Twin {
        @Cached()
        async find(): Promise<void> {}
      }
      return Twin;
    };
    const [One, Other] = [declare(), declare()];
    await expect(application([One, Other])).rejects.toThrow(/Twin\.find .* another class has the same name/);
    await expect(application([One])).resolves.toBeDefined();
  });

  it("refuses what it can't keep where it is declared", () => {
    expect(() => {
      class Static {
        @Cached()
        static async find(): Promise<void> {}
      }
      return Static;
    }).toThrow(new CachedMethodError('Static.find', 'it is static'));
    expect(() => {
      class Nameless {
        @Cached({ namespace: '' })
        async find(): Promise<void> {}
      }
      return Nameless;
    }).toThrow(/namespace must be a text/);
  });

  it('fits by its types', () => {
    class Types {
      // @ts-expect-error: it returns no promise
      @Cached()
      sync(): number {
        return 1;
      }
      // @ts-expect-error: the key takes a text
      @Cached({ key: (id: string) => id })
      async number(_id: number): Promise<void> {}
      // @ts-expect-error: the tags take a text
      @Cached({ tags: (result: string) => [result] })
      async result(): Promise<number> {
        return 1;
      }
      @Cached({
        key: (id: string) => id,
        tags: (result: number, _id: string, _more: boolean) => [String(result)],
      })
      async all(_id: string, _more: boolean, _most?: object): Promise<number> {
        return 1;
      }
    }
    expect(Types).toBeDefined();
  });
});
