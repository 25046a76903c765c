# Athena as an image: docker build -t athena .
#
# Debian, not Alpine: the analyser evaluates samples on threads, and musl gives a thread 128 KiB of stack where glibc
# gives 8 MiB. Samples that recurse or nest deeply would come out less readable, without any error. The native
# packages (isolated-vm, lmdb, msgpackr-extract) bring their binaries for x64 and arm64: no compiler is needed.

FROM node:24-slim AS build
WORKDIR /app

# The dependencies change less often than the sources: a layer of their own. No package's install script is run.
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund

COPY .swcrc ./
COPY src ./src
RUN npm run build \
  && npm prune --omit=dev --ignore-scripts --no-audit --no-fund \
  && mkdir /data

FROM node:24-slim
WORKDIR /app

# HOST is open because a container's loopback cannot be published; so Athena starts with ATHENA_API_KEYS, or with
# AUTH_DISABLED=true said aloud, and not otherwise.
ENV NODE_ENV=production HOST=0.0.0.0 PORT=3000 CACHE_DIR=/data/cache

# Root owns the program, so the process cannot change it; `node` owns the directory of CACHE_LOCAL=disk.
COPY --from=build --chown=node:node /data /data
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist

USER node
EXPOSE 3000

# The image has no curl. Ready means that a storage and a provider can serve; Redis is not among it.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/health/ready`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]

# The exec form: Node is process 1 and gets SIGTERM itself. A shell or npm in between would swallow it.
CMD ["node", "--enable-source-maps", "dist/main.js"]
