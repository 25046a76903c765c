const FLAP_MS = 1000;

/** Turns the server off and on until it is told to stop; it is up then. */
function flap({ server }) {
  const stopped = new AbortController();
  const pause = () => waitFor(FLAP_MS, stopped.signal);
  const flapping = (async () => {
    while (!stopped.signal.aborted) {
      await server.kill();
      await pause();
      await server.up();
      await pause();
    }
  })();
  return () => {
    stopped.abort();
    return flapping;
  };
}

function waitFor(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

function slow(roundTripMs) {
  return ({ proxy }) => {
    proxy.delay(roundTripMs / 2);
    return () => proxy.pass();
  };
}

/** What becomes of Redis. `begin` returns how it ends; `isRemote`: there is a proxy between. */
export const states = [
  { name: 'up', label: 'up', begin: () => () => {} },
  {
    name: 'stopped',
    label: 'stopped (SIGSTOP)',
    begin: ({ server }) => {
      server.freeze();
      return () => server.thaw();
    },
  },
  {
    name: 'killed',
    label: 'killed',
    begin: async ({ server }) => {
      await server.kill();
      return () => server.up();
    },
  },
  { name: 'flapping', label: 'flapping (down 1 s, up 1 s)', begin: flap },
  { name: 'slow-100', label: 'slow, 100 ms', begin: slow(100), isRemote: true },
  { name: 'slow-400', label: 'slow, 400 ms', begin: slow(400), isRemote: true },
];
