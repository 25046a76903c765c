import { createHash, timingSafeEqual } from 'node:crypto';

export interface ApiKey {
  readonly tenant: string;
  readonly key: string;
}

/** Known keys by digest: a lookup compares digests of one length in constant time, and holds no key in clear. */
export class ApiKeys {
  private readonly known: readonly { readonly tenant: string; readonly digest: Buffer }[];

  constructor(keys: readonly ApiKey[]) {
    this.known = keys.map(({ tenant, key }) => ({ tenant, digest: sha256(key) }));
  }

  get isEmpty(): boolean {
    return this.known.length === 0;
  }

  /** The tenant that an `Authorization: Bearer` header speaks for. */
  tenantOf(authorization: string | undefined): string | undefined {
    const [, key] = /^Bearer +(\S+)$/i.exec(authorization ?? '') ?? [];
    if (key === undefined) return undefined;
    const digest = sha256(key);
    let tenant: string | undefined;
    for (const candidate of this.known) {
      if (timingSafeEqual(candidate.digest, digest)) tenant = candidate.tenant;
    }
    return tenant;
  }
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
