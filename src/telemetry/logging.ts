import type { Params } from 'nestjs-pino';

/** How Athena logs: structured, one line a request at its end, no body and no credentials ever. */
export interface LoggingOptions {
  readonly level: string;
  readonly format: 'pretty' | 'json';
}

export function loggingParams({ level, format }: LoggingOptions): Params {
  return {
    pinoHttp: {
      level,
      ...(format === 'pretty'
        ? { transport: { target: 'pino-pretty', options: { singleLine: true, ignore: 'pid,hostname' } } }
        : {}),
      redact: ['req.headers.authorization', 'req.headers.cookie'],
      serializers: {
        req: ({ id, method, url }: { id: unknown; method: string; url: string }) => ({ id, method, url }),
        res: ({ statusCode }: { statusCode: number }) => ({ statusCode }),
      },
      // A probe every few seconds says nothing while it succeeds.
      customLogLevel: ({ url }, { statusCode }) => {
        if (statusCode >= 500) return 'error';
        return url?.startsWith('/health') ? 'debug' : 'info';
      },
    },
  };
}
