import 'reflect-metadata';
import multipart from '@fastify/multipart';
import { ConfigService } from '@nestjs/config';
import { NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Logger } from 'nestjs-pino';
import { AppModule } from './app.module.js';
import { environmentOf, unknownVariables } from './config/config.module.js';
import type { Environment } from './config/environment.js';
import { InvalidEnvironmentError } from './config/environment.js';

/** JSON may spell one byte of a file in six (`\u0000`); the file itself is bounded by `MAX_FILE_BYTES`. */
const JSON_BYTES_PER_FILE_BYTE = 6;
const ENVELOPE_BYTES = 64 * 1024;
/** In-flight requests may finish; whoever hangs longer is cut off. */
const SHUTDOWN_TIMEOUT_MS = 10_000;

async function bootstrap(): Promise<void> {
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
  await acceptBodies(app, environment);
  closeOnSignals(app, logger);
  await app.listen(environment.PORT, environment.HOST);
  logger.log(`Athena listens on ${await app.getUrl()}`);
}

async function acceptBodies(app: NestFastifyApplication, { MAX_FILE_BYTES }: Environment): Promise<void> {
  app.useBodyParser('application/json', {
    bodyLimit: MAX_FILE_BYTES * JSON_BYTES_PER_FILE_BYTE + ENVELOPE_BYTES,
  });
  await app.register(multipart, {
    limits: { fileSize: MAX_FILE_BYTES, files: 1, fields: 8, fieldSize: 1024, parts: 16, headerPairs: 100 },
  });
}

/** SIGTERM and SIGINT: stop accepting, let the running requests finish, close the storages, leave. */
function closeOnSignals(app: NestFastifyApplication, logger: Logger): void {
  let closing = false;
  const close = (signal: NodeJS.Signals): void => {
    if (closing) return;
    closing = true;
    logger.log(`${signal}: finishing the running requests`);
    setTimeout(() => {
      logger.error(`Not finished after ${SHUTDOWN_TIMEOUT_MS} ms: leaving`);
      process.exit(1);
    }, SHUTDOWN_TIMEOUT_MS).unref();
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
