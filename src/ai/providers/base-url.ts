/** Where an API begins: a URL without a path gets the `/v1` that all of these servers have. */
export function apiRoot(baseUrl: string | undefined, vendorUrl = ''): string {
  const url = new URL(baseUrl ?? vendorUrl);
  return url.pathname === '/' ? new URL('/v1', url).href : url.href.replace(/\/+$/, '');
}
