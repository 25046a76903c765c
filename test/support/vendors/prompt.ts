import { z } from 'zod';

export const contentSchema = z.union([
  z.string(),
  z.array(z.looseObject({ type: z.string(), text: z.string().optional() })),
]);

export const messagesSchema = z.array(z.looseObject({ role: z.string(), content: contentSchema }));

/** The text of a message, without what is no text. */
export const textOf = (content: z.infer<typeof contentSchema>): string =>
  typeof content === 'string' ? content : content.map(({ text }) => text ?? '').join('');

/** The last of the user. */
export const promptOf = (messages: z.infer<typeof messagesSchema>): string =>
  textOf(messages.findLast(({ role }) => role === 'user')?.content ?? '');

export const inputOf = (messages: z.infer<typeof messagesSchema>): string =>
  messages.map(({ content }) => textOf(content)).join('');
