import type { MultipartFile } from '@fastify/multipart';
import type { FastifyRequest } from 'fastify';
import { InvalidRequestError, validate } from '../request/validate.js';
import { InvalidMultipartError } from './analysis.errors.js';
import type { AnalysisInput } from './analysis.schema.js';
import { analysisFieldsSchema } from './analysis.schema.js';

interface Form {
  readonly fields: ReadonlyMap<string, unknown>;
  readonly file: { readonly content: Buffer; readonly filename: string } | undefined;
}

/** Reads `multipart/form-data`: one part `file`, and the fields of a JSON request; in any order, all bounded. */
export async function inputFromUpload(request: FastifyRequest): Promise<AnalysisInput> {
  const { fields, file } = await readForm(request);
  if (file === undefined) throw new InvalidRequestError([{ field: 'file', message: 'is missing' }]);
  const { filename = file.filename, ...rest } = validate(analysisFieldsSchema, Object.fromEntries(fields));
  return { ...rest, content: file.content, filename: filename.slice(-255) };
}

/** What is broken the parser tells without a code; what exceeds a limit has one. */
export function formError(error: unknown): unknown {
  if (!(error instanceof Error) || 'code' in error) return error;
  return new InvalidMultipartError(`The form cannot be read: ${error.message}.`, { cause: error });
}

async function readForm(request: FastifyRequest): Promise<Form> {
  const fields = new Map<string, unknown>();
  let file: Form['file'];
  try {
    for await (const part of request.parts()) {
      if (part.type === 'field') fields.set(part.fieldname, part.value);
      else file = await readFile(part);
    }
  } catch (error) {
    throw formError(error);
  }
  return { fields, file };
}

async function readFile(part: MultipartFile): Promise<{ content: Buffer; filename: string }> {
  if (part.fieldname !== 'file') {
    part.file.resume();
    throw new InvalidRequestError([
      { field: part.fieldname, message: 'is not a file of this request; send `file`' },
    ]);
  }
  return { content: await part.toBuffer(), filename: part.filename };
}
