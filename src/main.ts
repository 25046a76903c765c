import 'reflect-metadata';
import { ConfigService } from '@nestjs/config';
import { NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Logger } from 'nestjs-pino';
import { acceptBodies } from './analysis/bodies.js';
import { AppModule } from './app.module.js';
import { Connections } from './connections.js';
import { configModule, environmentOf, unknownVariables } from './config/config.module.js';
import { InvalidEnvironmentError } from './config/environment.js';

async function bootstrap(): Promise<void> {
  // Nest would log what is wrong with it in a way of its own.
  await configModule;
  const adapter = new FastifyAdapter();
  const app = await NestFactory.create<NestFastifyApplication>(AppModule, adapter, {
    bufferLogs: true,
    abortOnError: false,
    bodyParser: false,
  });
  const logger = app.get(Logger);
  app.useLogger(logger);
  app.flushLogs();
  const config = app.get(ConfigService);
  const environment = environmentOf(config);
  for (const name of unknownVariables(config)) logger.warn(`${name} is set, but Athena has no such variable`);
  await acceptBodies(adapter.getInstance(), {
    maxFileBytes: environment.MAX_FILE_BYTES,
    maxItems: environment.BATCH_MAX_ITEMS,
  });
  closeOnSignals(app, logger, environment.SHUTDOWN_TIMEOUT_MS);
  await app.listen(environment.PORT, environment.HOST);
  logger.log(`Athena listens on ${await app.getUrl()}`);
}

/** SIGTERM and SIGINT: stop accepting, let the running requests finish, close the storages, leave. */
function closeOnSignals(app: NestFastifyApplication, logger: Logger, timeoutMs: number): void {
  let closing = false;
  const connections = new Connections(app.getHttpServer());
  // A client that keeps its connection would keep the server from closing.
  app
    .getHttpAdapter()
    .getInstance()
    .addHook('onSend', async (_request, reply) => {
      if (closing) reply.header('connection', 'close');
    });
  const close = (signal: NodeJS.Signals): void => {
    if (closing) return;
    closing = true;
    connections.close();
    logger.log(`${signal}: finishing the running requests`);
    setTimeout(() => {
      logger.error(`Not finished after ${timeoutMs} ms: leaving`);
      process.exit(1);
    }, timeoutMs).unref();
    app
      .close()
      .then(() => logger.log('Closed'))
      .catch((error: unknown) => {
        logger.error(error);
        process.exit(1);
      });
  };
  process.on('SIGTERM', close);
  process.on('SIGINT', close);
}

bootstrap().catch((error: unknown) => {
  // No logger may exist yet. What an operator can mend needs no stack.
  const expected =
    error instanceof InvalidEnvironmentError || (error as { code?: unknown }).code !== undefined;
  const text = error instanceof Error ? (expected ? error.message : error.stack) : String(error);
  process.stderr.write(`Athena did not start. ${text}\n`);
  process.exit(1);
});
