import type { ConfigService } from '@nestjs/config';
import { ConfigModule } from '@nestjs/config';
import type { Environment } from './environment.js';
import { InvalidEnvironmentError, parseEnvironment, VARIABLE_NAMES } from './environment.js';

const UNKNOWN_VARIABLES = 'UNKNOWN_VARIABLES';

/**
 * Reads `.env` of the working directory and the process's variables, which win, once at start.
 * @throws InvalidEnvironmentError with every fault; the application does not start.
 */
export const configModule = ConfigModule.forRoot({
  isGlobal: true,
  cache: true,
  skipProcessEnv: true,
  validationSchema: {
    '~standard': {
      version: 1,
      vendor: 'athena',
      validate: (raw) => {
        const result = parseEnvironment(raw as Record<string, unknown>);
        // Thrown, not returned: Nest would flatten the faults into one plain Error.
        if ('faults' in result) throw new InvalidEnvironmentError(result.faults);
        return { value: { ...result.environment, [UNKNOWN_VARIABLES]: result.unknown } };
      },
    },
  },
});

/** The configuration, typed. */
export function environmentOf(config: ConfigService): Environment {
  return Object.fromEntries(VARIABLE_NAMES.map((name) => [name, config.get(name)])) as Environment;
}

/** Variables that look like ours and are none; probably misspelled. */
export function unknownVariables(config: ConfigService): readonly string[] {
  return config.get<readonly string[]>(UNKNOWN_VARIABLES) ?? [];
}
