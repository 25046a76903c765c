/**
 * Version of the question that providers are asked, the embedded analyser's rules included. It is part of every
 * cache key: raise it with any change that can change an answer, and older answers are not found any more.
 */
export const PROMPT_VERSION = 'v1';
