interface VendorError {
  readonly type: string;
  readonly code?: string;
}

const ERRORS: Readonly<Record<number, VendorError>> = {
  400: { type: 'invalid_request_error' },
  401: { type: 'authentication_error', code: 'invalid_api_key' },
  402: { type: 'insufficient_quota', code: 'insufficient_quota' },
  403: { type: 'permission_error' },
  404: { type: 'invalid_request_error', code: 'model_not_found' },
  413: { type: 'invalid_request_error', code: 'context_length_exceeded' },
  429: { type: 'rate_limit_error', code: 'rate_limit_exceeded' },
  503: { type: 'service_unavailable', code: 'service_unavailable' },
};

/** How a status is called; what is not known is a fault of the vendor's. */
export const errorOf = (status: number): VendorError => ERRORS[status] ?? { type: 'server_error' };

/** OpenAI's shape of an error, which the others have taken over. */
export function openaiError(status: number, message: string): Record<string, unknown> {
  const { type, code = null } = errorOf(status);
  return { error: { message, type, param: null, code } };
}
