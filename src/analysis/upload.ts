import type { MultipartFile } from '@fastify/multipart';
import type { FastifyRequest } from 'fastify';
import { InvalidRequestError } from './analysis.errors.js';
import type { AnalysisInput } from './analysis.schema.js';
import { analysisFieldsSchema, validate } from './analysis.schema.js';

/** Reads `multipart/form-data`: one part `file`, and the fields of a JSON request; in any order, all bounded. */
export async function inputFromUpload(request: FastifyRequest): Promise<AnalysisInput> {
  const fields = new Map<string, unknown>();
  let file: { readonly content: Buffer; readonly filename: string } | undefined;
  for await (const part of request.parts()) {
    if (part.type === 'field') fields.set(part.fieldname, part.value);
    else file = await readFile(part);
  }
  if (file === undefined) throw new InvalidRequestError([{ field: 'file', message: 'is missing' }]);
  const { filename = file.filename, ...rest } = validate(analysisFieldsSchema, Object.fromEntries(fields));
  return { ...rest, content: file.content, filename: filename.slice(-255) };
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
