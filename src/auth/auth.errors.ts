/** No key, or one that is not known. */
export class UnauthorizedError extends Error {
  readonly code = 'unauthorized';
  constructor() {
    super('Send a known key as "Authorization: Bearer <key>".');
    this.name = 'UnauthorizedError';
  }
}

/** The caller is not an administrator, or this instance has none. */
export class AdminForbiddenError extends Error {
  readonly code = 'admin_forbidden';
  constructor() {
    super('Cache administration is closed: set ATHENA_ADMIN_KEYS and send one of them.');
    this.name = 'AdminForbiddenError';
  }
}
