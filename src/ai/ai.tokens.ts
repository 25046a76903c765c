/** Injection token of the providers that can be used, in order of preference. */
export const AI_PROVIDERS: unique symbol = Symbol('AiProviders');
