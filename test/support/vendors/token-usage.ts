const CHARACTERS_PER_TOKEN = 4;

/** In tokens. */
export interface TokenUsage {
  readonly inputTokens: number;
  readonly outputTokens: number;
}

/** A token is four characters, begun ones count; schemas and the names of roles cost nothing. */
export const tokensOf = (text: string): number => Math.ceil(text.length / CHARACTERS_PER_TOKEN);
